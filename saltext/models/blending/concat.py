"""CLIP-SalGAN's blending: the text is concatenated to every position of the image feature."""

import torch
from torch import Tensor, nn

from saltext.models.text.base import TextFeatures


class Concat(nn.Conv2d):
    """A 3x3 convolution over the image feature and the pooled text feature, spread over all positions.

    No activation follows, as in the paper. It is a convolution itself, so that its parameters have the published names.

    Args:
        channels: Channels of the image feature.
        text_dim: Size of the text feature.
        grid: Not used: every position is treated alike.
    """

    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int]) -> None:
        super().__init__(channels + text_dim, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:  # type: ignore[override]
        """Blend, see :class:`saltext.models.blending.base.Blend`."""
        spread = text.pooled[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return super().forward(torch.cat([x, spread], dim=1))
