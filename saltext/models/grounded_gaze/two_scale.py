"""Features of an image at two input scales: the whole scene, and its objects from close by."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.freezing import FrozenModulesMixin, is_frozen
from saltext.models.image.base import Encoder
from saltext.models.image.vit import VitEncoder
from saltext.models.inference import Inference

TwoScaleFeatures = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Features of the half-size image at strides 8, 16 and 32, and of the full-size image at strides 16 and 32."""


class TwoScale(FrozenModulesMixin):
    """An encoder run on the image and on the image at half its size.

    A classifier was trained on one object that fills the image. At half size the whole scene has that scale; at full
    size a lamp in the corner is large enough to be recognised.

    BatchNorm keeps the encoder's original statistics even if it trains, since those of the two scales differ.

    Args:
        encoder: The encoder, run on both scales.

    Attributes:
        coarse_channels: Channels of all five features.
        fine_channels: Channels of the two that are twice as fine as the others.
        inference: How it computes where it is frozen, see :data:`saltext.models.inference.Inference`.
    """

    inference: Inference = "reference"

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        c8, c16, c32 = encoder.channels
        self.coarse_channels = c8 + c16 + c32 + c16 + c32
        self.fine_channels = c8 + c16

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for BatchNorm and frozen modules."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Tensor) -> TwoScaleFeatures:
        """Encode both scales.

        Args:
            images: Normalised, float, shape ``(batch, 3, height, width)``.

        Returns:
            See :data:`TwoScaleFeatures`. Half precision if the encoder is frozen: they take half the disk in the
            feature cache, and are equal whether computed or read back.
        """
        half_size = F.avg_pool2d(images, 2, ceil_mode=True)
        x8, x16, x32 = self.encoder(half_size)
        _, y16, y32 = self.encoder(images)
        if not is_frozen(self):
            return x8, x16, x32, y16, y32
        return x8.half(), x16.half(), x32.half(), y16.half(), y32.half()

    def coarse(self, features: Sequence[Tensor]) -> Tensor:
        """All features concatenated, on the full-size image's grid at stride 32."""
        rows, columns = features[-1].shape[2:]
        return torch.cat([resize_to_grid(feature, (rows, columns)) for feature in features], dim=1)

    def fine(self, features: Sequence[Tensor]) -> Tensor:
        """The two finest features concatenated, on a grid twice as fine as that of :meth:`coarse`."""
        x8, _, _, y16, y32 = features
        size = (2 * y32.shape[2], 2 * y32.shape[3])
        return torch.cat([resize_to_grid(x8, size), resize_to_grid(y16, size)], dim=1)

    def last(self, features: Sequence[Tensor]) -> Tensor:
        """The feature of the full-size image that grounders read, on the grid of :meth:`coarse`."""
        return features[-1]


class TwoScaleVit(FrozenModulesMixin):
    """A vision transformer run on the image, and on the image at half its size for one more feature of the last block.

    Args:
        encoder: The transformer, run on both scales.

    Attributes:
        coarse_channels: As of :class:`TwoScale`: of all blocks, averaged over two by two patches, and of the last block
            at half size.
        fine_channels: As of :class:`TwoScale`: of the last block but one that the encoder gives, or of its only one.
        inference: As of :class:`TwoScale`.
    """

    inference: Inference = "reference"

    def __init__(self, encoder: VitEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.coarse_channels = sum(encoder.channels) + encoder.channels[-1]
        self.fine_channels = encoder.channels[-2:][0]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode both scales.

        Args:
            images: Normalised, float, shape ``(batch, 3, height, width)``.

        Returns:
            The last block at half size, the coarse and the fine feature of the full-size image, see the attributes.
            Half precision if the encoder is frozen, as of :class:`TwoScale`.
        """
        *_, half_size = self.encoder(F.avg_pool2d(images, 2, ceil_mode=True))
        blocks = self.encoder(images)
        height, width = images.shape[2:]
        grid = (-(-height // 32), -(-width // 32))
        pooled = torch.cat([F.adaptive_avg_pool2d(block, grid) for block in blocks], dim=1)
        features = (half_size, pooled, blocks[-2:][0])
        return tuple(feature.half() for feature in features) if is_frozen(self) else features

    def coarse(self, features: Sequence[Tensor]) -> Tensor:
        """As of :class:`TwoScale`."""
        half_size, pooled, _ = features
        return torch.cat([pooled, resize_to_grid(half_size, (pooled.shape[2], pooled.shape[3]))], dim=1)

    def fine(self, features: Sequence[Tensor]) -> Tensor:
        """As of :class:`TwoScale`."""
        _, pooled, block = features
        return resize_to_grid(block, (2 * pooled.shape[2], 2 * pooled.shape[3]))

    def last(self, features: Sequence[Tensor]) -> Tensor:
        """As of :class:`TwoScale`; of the last block."""
        dim = self.encoder.channels[-1]
        return features[1][:, -dim:]


def resize_to_grid(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """A feature on another grid, float: averaged where the grid is coarser, interpolated where it is finer."""
    feature = feature.float()
    if (feature.shape[2], feature.shape[3]) == size:
        return feature
    if feature.shape[2] > size[0]:
        return F.interpolate(feature, size=size, mode="area")
    return F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
