"""Text encoders: ``TinyText``, ``MiniLM``."""

from typing import TYPE_CHECKING, Any

from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.text.tiny import TinyText

if TYPE_CHECKING:
    from saltext.models.text.minilm import MiniLM

__all__ = ["MiniLM", "TextEncoder", "TextFeatures", "TinyText"]


def __getattr__(name: str) -> Any:
    # Late, since it brings transformers, which takes seconds and which a network without it does not need.
    if name == "MiniLM":
        from saltext.models.text.minilm import MiniLM

        return MiniLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
