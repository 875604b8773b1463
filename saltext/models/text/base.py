"""What a text encoder gives, whichever it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from saltext.models.freezing import KeepsFrozenParts


@dataclass(frozen=True)
class TextFeatures:
    """Features of a batch of texts.

    Attributes:
        pooled: One vector a text, float, shape ``(batch, dim)``.
        tokens: One vector a token, float, shape ``(batch, tokens, dim)``; values at padding are undefined.
        mask: True at real tokens, bool, shape ``(batch, tokens)``; every text has at least one.
        saw_image: Whether the encoder read the image along with the text.
        evidence: Where the image shows what the text names, float, shape ``(batch, maps, rows, columns)``; None
            without a bridge (:mod:`saltext.models.tranblend.bridge`).
    """

    pooled: Tensor
    tokens: Tensor
    mask: Tensor
    saw_image: bool = False
    evidence: Tensor | None = None


class TextEncoder(KeepsFrozenParts):
    """Base of the text encoders.

    Attributes:
        dim: Size of the feature vectors.
        reads_image: Whether ``forward`` needs the images.
    """

    dim: int
    reads_image: bool = False

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        """Encode texts.

        Args:
            texts: Any strings; the empty one is legal (free viewing).
            images: The image of each text, as the saliency network gets them, shape ``(batch, 3, height, width)``.

        Returns:
            Features on the device of the encoder's parameters.
        """
        raise NotImplementedError
