"""Normalisation of stored pixels to the input that a network was trained on."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from saltext.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """Scale pixels to [0, 1], subtract a mean and divide by a deviation, by channel.

    # DISCREPANCY: TranSalNet's own scripts feed [0, 1] without mean and deviation, in RGB order in training and in BGR
    # order in the demonstration; TranBlend feeds the same weights ImageNet-normalised RGB. `mean=(0, 0, 0)`,
    # `std=(1, 1, 1)` and `order=bgr` give the former.

    Args:
        mean: Mean of the RGB channels in [0, 1], for any ``order``.
        std: Standard deviation of the RGB channels, above 0.
        order: Order of the output channels.

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
            f"{name}: expected three numbers, got {list(values)}"
            for name, values in (("mean", mean), ("std", std))
            if len(values) != 3
        ]
        if any(value <= 0 for value in std):
            problems.append(f"std: expected positive deviations, got {list(std)}")
        if order not in ("rgb", "bgr"):
            problems.append(f"order: expected rgb or bgr, got {order!r}")
        if problems:
            raise ConfigError("normalize: " + "; ".join(problems))
        self.order = order
        # Not in the state dict: they are configuration, and a network's checkpoint must not depend on them.
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
            raise ValueError(f"expected images of shape (batch, 3, height, width), got {tuple(images.shape)}")
        scaled = (images.float() / 255 - self.mean) / self.std
        return scaled.flip(1) if self.order == "bgr" else scaled

    def extra_repr(self) -> str:
        """Show the order."""
        return f"order={self.order}"


class Renormalize(nn.Module):
    """Converts images as a network gets them to what one of its modules was trained on.

    Args:
        mean: Mean of the RGB channels in [0, 1] of the module's images.
        std: Standard deviation of the channels, above 0.
        order: Order of the channels that the module expects.

    Raises:
        ConfigError: As for :class:`Normalize`.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], order: Literal["rgb", "bgr"] = "rgb") -> None:
        super().__init__()
        self.target = Normalize(mean, std, order)
        self.given = Normalize()

    def set_input_normalization(
        self, mean: Sequence[float], std: Sequence[float], order: Literal["rgb", "bgr"] = "rgb"
    ) -> None:
        """Set how the given images are normalised, see :class:`Normalize`; as ImageNet's if this is not called."""
        # In the mode of this module: the key of cached features has it.
        self.given = Normalize(mean, std, order).to(self.target.mean.device).train(self.training)

    def pixels(self, images: Tensor) -> Tensor:
        """RGB in [0, 1] of given images."""
        rgb = images.flip(1) if self.given.order == "bgr" else images
        pixels: Tensor = rgb * self.given.std + self.given.mean
        return pixels

    def forward(self, images: Tensor) -> Tensor:
        """Convert a batch.

        Args:
            images: Normalised as :meth:`set_input_normalization` says, float, shape ``(batch, 3, height, width)``.

        Returns:
            Same shape and dtype.
        """
        converted: Tensor = (self.pixels(images) - self.target.mean) / self.target.std
        return converted.flip(1) if self.target.order == "bgr" else converted


class Deferred(Tensor):
    """Images that are normalised when an operation first reads them.

    A network whose features are all cached reads only the shape, type and device of its images, which are known
    without normalisation. Every operation gets the normalised images.

    Args:
        normalize: Converts uint8 images to float32 images of the same shape.
        pixels: Its input, shape ``(batch, 3, height, width)``; must not change before the first operation.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    _normalize: nn.Module
    _pixels: Tensor
    _images: Tensor | None

    @staticmethod
    def __new__(cls, normalize: nn.Module, pixels: Tensor) -> "Deferred":
        """Create a tensor without memory."""
        deferred: Deferred = Tensor._make_wrapper_subclass(cls, pixels.shape, dtype=torch.float32, device=pixels.device)
        deferred._normalize, deferred._pixels, deferred._images = normalize, pixels, None
        return deferred

    def __init__(self, normalize: nn.Module, pixels: Tensor) -> None:
        super().__init__()

    def normalized(self) -> Tensor:
        """The normalised images, computed once."""
        if self._images is None:
            with torch.no_grad():
                self._images = self._normalize(self._pixels)
        return self._images

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on the normalised images."""
        args, kwargs = tree_map_only(cls, cls.normalized, (args, kwargs or {}))
        return func(*args, **kwargs)
