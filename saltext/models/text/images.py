"""Image input of text encoders that also read the image."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from saltext.models.normalize import Renormalize

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of CLIP's training images (Radford et al. 2021); BLIP and ImageReward use the same."""


class ImageInput(Renormalize):
    """Converts the input images of a saliency network to those a vision tower was trained on.

    Undoes the saliency network's normalisation, resizes to a square (with antialiasing, cut to [0, 1], the aspect ratio
    not kept), and applies the tower's own normalisation.

    # DISCREPANCY: TranBlend's script resizes the image file itself to the tower's square; here it is the network's
    # input, resized before. So one augmentation serves both towers, and no second image travels with each sample.

    Args:
        size: Side of the tower's input, in pixels.
        mean: Mean of its RGB channels in [0, 1].
        std: Standard deviation of the channels, above 0.
        interpolation: ``bicubic`` or ``bilinear``.

    Raises:
        ConfigError: Not three numbers each, or a deviation that is not positive.
    """

    def __init__(
        self,
        size: int,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
        interpolation: Literal["bicubic", "bilinear"] = "bicubic",
    ) -> None:
        super().__init__(mean, std)
        self.size = size
        self.interpolation = interpolation

    def forward(self, images: Tensor) -> Tensor:
        """Convert a batch.

        Args:
            images: Normalised as :meth:`set_input_normalization` says, float, shape ``(batch, 3, height, width)``.

        Returns:
            Shape ``(batch, 3, size, size)``, RGB, of the same dtype, without gradient to ``images``.
        """
        pixels = self.pixels(images.detach())
        if pixels.shape[2:] != (self.size, self.size):
            # Bicubic weights overshoot at edges; image files cannot hold such values.
            pixels = F.interpolate(pixels, (self.size, self.size), mode=self.interpolation, antialias=True).clamp(0, 1)
        return (pixels - self.target.mean) / self.target.std

    def extra_repr(self) -> str:
        """Show the size."""
        return f"size={self.size}"
