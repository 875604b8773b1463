"""The interface of a text encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from saltext.models.freezing import FrozenModulesMixin
from saltext.models.transfer import to_device


@dataclass(frozen=True)
class TextFeatures:
    """Features of a batch of texts.

    Attributes:
        pooled: One vector per text, float, shape ``(batch, dim)``.
        tokens: One vector per token, float, shape ``(batch, tokens, dim)``; values at padding are undefined.
        mask: True at real tokens, bool, shape ``(batch, tokens)``; every text has at least one.
        saw_image: Whether the encoder read the image along with the text.
        grounding: Grounding maps, where the image shows what the text names, float, shape ``(batch, maps, rows,
            columns)``; None without a grounder (:mod:`saltext.models.grounding.class_names`).
    """

    pooled: Tensor
    tokens: Tensor
    mask: Tensor
    saw_image: bool = False
    grounding: Tensor | None = None


class TextEncoder(FrozenModulesMixin):
    """Base of the text encoders.

    The four properties name the modules whose layers a fix rate counts, starting from the input. Other modules (a last
    norm, a projection) follow the last layer.

    Attributes:
        dim: Size of the feature vectors.
        reads_image: Whether ``forward`` needs the images.
        sharpness: By what cosines of its sentence features are multiplied before a softmax. Those of a CLIP are all
            large, and differ by little: it was trained with a factor of its own, about 100.
        unit_length: Whether its sentence features have length 1.
    """

    dim: int
    reads_image: bool = False
    sharpness: float = 20.0
    unit_length: bool = False

    @property
    def text_embeddings(self) -> nn.Module:
        """Embeddings of the token ids, before the first layer."""
        return nn.ModuleList()

    @property
    def text_layers(self) -> list[nn.Module]:
        """Layers over the tokens, in the order of data flow."""
        return []

    @property
    def vision_embeddings(self) -> nn.Module:
        """Embeddings of the image, before the first block; empty where the features do not depend on the image."""
        return nn.ModuleList()

    @property
    def vision_blocks(self) -> list[nn.Module]:
        """Blocks over the image patches, in the order of data flow; empty likewise."""
        return []

    def pooled_list(self, texts: Sequence[str]) -> Tensor:
        """Sentence features of a long list of texts, such as class names, shape ``(texts, dim)``."""
        return self(texts).pooled  # type: ignore[no-any-return]

    def encode_ahead(self, texts: Sequence[str]) -> None:
        """Encode texts that will be read, where features are cached."""

    def set_input_normalization(
        self, mean: Sequence[float], std: Sequence[float], order: Literal["rgb", "bgr"] = "rgb"
    ) -> None:
        """Set how the images given to ``forward`` are normalised, so that an encoder that reads them can undo it.

        Args:
            mean: See :class:`saltext.models.normalize.Normalize`; ImageNet's if this is not called.
            std: Likewise.
            order: Likewise.
        """

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        """Encode texts.

        Args:
            texts: Any strings, also empty ones (free viewing). Texts that are too long for the encoder are cut.
            images: The image of each text, as the saliency network gets them, shape ``(batch, 3, height, width)``.

        Returns:
            Features on the device of the encoder's parameters.
        """
        raise NotImplementedError


def pad_rows(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack rows of unequal length, padded with zeros.

    Args:
        rows: Shapes ``(length, ...)``, all on one device, length at least 1.

    Returns:
        Shape ``(rows, longest, ...)``, and a bool mask of shape ``(rows, longest)``, False at padding.
    """
    padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = to_device(torch.tensor([len(row) for row in rows]), padded.device)
    return padded, torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
