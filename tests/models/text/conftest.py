"""Tiny text encoders, and a vocabulary that fits on a line."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltext.models.text.blip import Blip
from saltext.models.text.open_clip import OpenCLIP

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS += ["a", "red", "dog", "cat", "runs", "##ning", "on", "the", "grass", "word"]
VISION = {
    "num_hidden_layers": 3,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_attention_heads": 2,
    "patch_size": 8,
}
TEXT = {
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "vocab_size": len(WORDS) + 2,
}
CLIP = {
    "embed_dim": 12,
    "vision_cfg": {"layers": 1, "width": 64, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 14, "width": 16, "heads": 2, "layers": 3},
}


@pytest.fixture
def words() -> list[str]:
    """The vocabulary, in order of the ids."""
    return list(WORDS)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    """The same as a file, as BERT's comes."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tiny_blip(vocabulary: Path) -> Callable[..., Blip]:
    """Builds a BLIP of a few thousand parameters, in evaluation mode; any argument can be given."""

    def build(**arguments: Any) -> Blip:
        sizes = {"vision": VISION, "text": TEXT, "vocabulary": vocabulary, "image_size": 32}
        return Blip(**{**sizes, **arguments}).eval()

    return build


@pytest.fixture
def clip_sizes() -> dict[str, Any]:
    """Configuration of a small CLIP with the real vocabulary."""
    return copy.deepcopy(CLIP)


@pytest.fixture
def tiny_clip() -> Callable[..., OpenCLIP]:
    """Builds that CLIP's text tower, in evaluation mode; any argument can be given."""

    def build(**arguments: Any) -> OpenCLIP:
        return OpenCLIP(**{"name": CLIP, **arguments}).eval()

    return build
