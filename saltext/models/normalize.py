"""From stored pixels to what a network was trained on."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from saltext.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """Scale pixels to [0, 1], subtract a mean and divide by a deviation, by channel.

    # DISCREPANCY: TranSalNet's own scripts feed [0, 1] without mean and deviation, in RGB order in training and in BGR
    # order in the demonstration; TranBlend feeds the same weights ImageNet-normalised RGB. `mean=(0, 0, 0)`,
    # `std=(1, 1, 1)` and `order=bgr` give the former.

    Args:
        mean: Of the RGB channels in [0, 1], whatever ``order`` is.
        std: Their deviation, above 0.
        order: Order of the channels that come out.

    Raises:
        ConfigError: Not three numbers each, a deviation that is not positive, or an unknown order.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        order: Literal["rgb", "bgr"] = "rgb",
    ) -> None:
        super().__init__()
        problems = [
            f"three numbers expected for {name}, {list(values)} came"
            for name, values in (("mean", mean), ("std", std))
            if len(values) != 3
        ]
        if any(value <= 0 for value in std):
            problems.append(f"positive deviations expected for std, {list(std)} came")
        if order not in ("rgb", "bgr"):
            problems.append(f"order rgb or bgr expected, {order!r} came")
        if problems:
            raise ConfigError("normalize: " + "; ".join(problems))
        self.order = order
        # Not in the state dict: it is configuration, and a network's checkpoint shall not depend on it.
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise a batch.

        Args:
            images: RGB in 0..255, uint8 or float, shape ``(batch, 3, height, width)``.

        Returns:
            float32 of the same shape, channels in ``order``.

        Raises:
            ValueError: Another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images of shape (batch, 3, height, width) expected, {tuple(images.shape)} came")
        scaled = (images.float() / 255 - self.mean) / self.std
        return scaled.flip(1) if self.order == "bgr" else scaled
