"""TranBlend's first variant: the text feature, resized to the image feature, times the image feature."""

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.blending.base import Blend, text_projection
from saltext.models.text.base import TextFeatures

Mode = Literal["nearest", "bilinear", "bicubic"]


class UpsampleBlend(Blend):
    """Multiply the image feature with the pooled text feature, interpolated to its shape.

    The paper stretches a feature of shape (1, 1, C) to (C, rows, columns) and does not say how. As the authors' script
    lays it out for the learned up-sampling, it is here a 1xC image that is interpolated to rows x (columns * C) and
    then re-read in memory order as C x rows x columns. So a channel of the image meets several features of the text,
    and the modes differ.

    Args:
        channels: Channels of the image feature.
        text_dim: Size of the text feature; where it is not ``channels``, a learned linear map comes first.
        grid: Not used: the feature's own size decides.
        mode: Interpolation.

    Raises:
        ConfigError: An unknown mode.
    """

    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int], mode: Mode = "nearest") -> None:
        super().__init__()
        if mode not in get_args(Mode):
            raise ConfigError(f"upsample blend: expected mode {', '.join(get_args(Mode))}, got {mode!r}")
        self.mode = mode
        self.projection = text_projection(text_dim, channels)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`."""
        batch, channels, rows, columns = x.shape
        laid_out = self.projection(text.pooled).view(batch, 1, 1, channels)
        smooth = None if self.mode == "nearest" else False
        stretched = F.interpolate(laid_out, size=(rows, columns * channels), mode=self.mode, align_corners=smooth)
        return x * stretched.reshape(x.shape)
