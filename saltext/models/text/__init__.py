"""Text encoders: ``TinyText``, ``MiniLM``, ``OpenCLIP``, and ``Blip``, which reads the image along."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.text.tiny import TinyText

if TYPE_CHECKING:
    from saltext.models.text.blip import Blip
    from saltext.models.text.minilm import MiniLM
    from saltext.models.text.open_clip import OpenCLIP

__all__ = ["Blip", "MiniLM", "OpenCLIP", "TextEncoder", "TextFeatures", "TinyText"]

# Late, since they bring transformers or open_clip, which take seconds and which a network without them does not need.
_LATE = {"Blip": "blip", "MiniLM": "minilm", "OpenCLIP": "open_clip"}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
