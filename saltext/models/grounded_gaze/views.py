"""What a frozen image encoder sees of an image: all of it at once, and its parts from close by."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.freezing import KeepsFrozenParts, is_frozen
from saltext.models.image.base import Encoder

Views = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Features of the small view at strides 8, 16 and 32, and of the full view at strides 16 and 32."""


class TwoViews(KeepsFrozenParts):
    """An encoder run on the image and on the image at half its size.

    A classifier was trained on one object that fills the picture. The small view shows it the scene so; in the full
    view a lamp in the corner is large enough to be told.

    BatchNorm keeps the statistics the encoder came with even if it trains, since the two views differ in theirs.

    Args:
        encoder: Run on both.

    Attributes:
        coarse_channels: Channels of all five features.
        fine_channels: Channels of the two that are twice as fine as the others.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        c8, c16, c32 = encoder.channels
        self.coarse_channels = c8 + c16 + c32 + c16 + c32
        self.fine_channels = c8 + c16

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for BatchNorm and frozen parts."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self

    def forward(self, images: Tensor) -> Views:
        """Encode both views.

        Args:
            images: Normalised, float, shape ``(batch, 3, height, width)``.

        Returns:
            See :data:`Views`. Half precision if the encoder is frozen: they take half the disk in the feature
            cache, and are equal whether computed or read back.
        """
        small = F.avg_pool2d(images, 2, ceil_mode=True)
        x8, x16, x32 = self.encoder(small)
        _, y16, y32 = self.encoder(images)
        if not is_frozen(self):
            return x8, x16, x32, y16, y32
        return x8.half(), x16.half(), x32.half(), y16.half(), y32.half()


def coarse(views: Views) -> Tensor:
    """All features side by side on the grid of the full view at stride 32, ``(batch, channels, rows, columns)``."""
    rows, columns = views[-1].shape[2:]
    return torch.cat([_to_grid(view, (rows, columns)) for view in views], dim=1)


def fine(views: Views) -> Tensor:
    """The two finest features side by side, twice as fine as :func:`coarse`."""
    x8, _, _, y16, y32 = views
    size = (2 * y32.shape[2], 2 * y32.shape[3])
    return torch.cat([_to_grid(x8, size), _to_grid(y16, size)], dim=1)


def _to_grid(feature: Tensor, size: tuple[int, int]) -> Tensor:
    feature = feature.float()
    if (feature.shape[2], feature.shape[3]) == size:
        return feature
    if feature.shape[2] > size[0]:
        return F.interpolate(feature, size=size, mode="area")
    return F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
