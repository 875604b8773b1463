"""Ground truth: fixations and human maps of image-text pairs, at native resolution."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from statistics import median
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saltext.data.density import density_from_points, fitted_sigma, sigma_for
from saltext.data.geometry import Size
from saltext.metrics import Fixations

_MAPS_FOR_BLUR_FIT = 5


class ImageTextPair(Protocol):
    """One image under one condition; :class:`saltext.data.pairs.Pair` is one."""

    @property
    def image_id(self) -> str:
        """ID of the image; equal for all conditions of one image."""

    @property
    def task(self) -> str:
        """Name of the condition."""

    @property
    def text(self) -> str:
        """The text that was read; empty for free viewing."""

    @property
    def name(self) -> str:
        """Unique in the data set; the stem of its files."""


class FixationData(Protocol):
    """Fixations and maps by index of the pair; :class:`saltext.data.cache.DecodedCache` is an implementation."""

    def __len__(self) -> int: ...

    def native_size(self, pair: int) -> Size:
        """Height and width."""

    def native_density(self, pair: int) -> npt.NDArray[Any]:
        """The published map of blurred fixations, uint8 or float32, non-negative, shape: the native size."""

    def points(self, pair: int) -> npt.NDArray[np.integer]:
        """(y, x) of the fixations, shape (n, 2)."""


def fitted_blur(fixation_data: FixationData) -> Callable[[Size], float]:
    """Fit the blur of a data set's maps: a standard deviation that is a fraction of the image's longer side.

    Args:
        fixation_data: At least one pair. Those at :func:`indices_for_blur_fit` are used, and read on the first call of
            the result.

    Returns:
        Size of an image -> standard deviation in pixels.
    """

    @cache
    def fraction() -> float:
        fractions = []
        for index in indices_for_blur_fit(len(fixation_data)):
            density = torch.from_numpy(fixation_data.native_density(index).astype(np.float64))
            points = torch.from_numpy(fixation_data.points(index).astype(np.int64))
            fractions.append(fitted_sigma(points, density) / max(fixation_data.native_size(index)))
        return median(fractions)

    return lambda size: fraction() * max(size)


def indices_for_blur_fit(pairs: int) -> list[int]:
    """Indices of the pairs to which the blur of a data set of ``pairs`` pairs is fitted: a few, evenly spread."""
    indices: list[int] = np.unique(np.linspace(0, pairs - 1, _MAPS_FOR_BLUR_FIT).round().astype(int)).tolist()
    return indices


class GroundTruth:
    """Ground truth of a data set at native resolution.

    Args:
        pairs: All pairs of the data set.
        fixation_data: Fixations and maps of the pairs, in the same order.
        sigma: Size of an image -> standard deviation in pixels of the Gaussian that blurred the data set's maps.

    Raises:
        ValueError: ``pairs`` and ``fixation_data`` differ in length.
    """

    def __init__(
        self, pairs: Sequence[ImageTextPair], fixation_data: FixationData, sigma: Callable[[Size], float] = sigma_for
    ) -> None:
        if len(pairs) != len(fixation_data):
            raise ValueError(
                f"{len(pairs)} pairs and {len(fixation_data)} recordings; open the recordings of these pairs"
            )
        self.pairs = pairs
        self._fixation_data = fixation_data
        self._sigma = sigma

    def __len__(self) -> int:
        return len(self.pairs)

    def native_size(self, index: int) -> Size:
        """Height and width of a pair's image."""
        return self._fixation_data.native_size(index)

    def native_density(self, index: int) -> npt.NDArray[Any]:
        """A pair's published map: uint8 of 0..255 or float32, non-negative, shape: its native size."""
        return self._fixation_data.native_density(index)

    def points(self, index: int) -> npt.NDArray[np.integer]:
        """(y, x) of a pair's fixations, in pixels counted from 0, shape (n, 2)."""
        return self._fixation_data.points(index)

    @staticmethod
    def moved(points: Tensor, size: Size, target: Size) -> Tensor:
        """Fixations (y, x), int64 (n, 2), scaled from an image of ``size`` to one of size ``target``.

        A point keeps its relative position: y becomes floor((y + 0.5) * target height / height).
        """
        # In integers: a rounding error before the floor would move a point by a pixel.
        return (2 * points + 1) * torch.tensor(target) // (2 * torch.tensor(size))

    def fixations(self, indices: Sequence[int], size: Size) -> Fixations:
        """The fixations of pairs, scaled to images of ``size`` where theirs differ."""
        points = [torch.from_numpy(self.points(index).astype(np.int64)) for index in indices]
        native = [self.native_size(index) for index in indices]
        return Fixations.from_points([self.moved(p, n, size) for p, n in zip(points, native, strict=True)], size)

    def density(self, indices: Sequence[int]) -> Tensor:
        """The published maps of pairs of one native size, 8-bit ones divided by 255, float32 (n, 1, h, w).

        Raises:
            ValueError: Sizes differ.
        """
        sizes = {self.native_size(index) for index in indices}
        if len(sizes) > 1:
            raise ValueError(f"pairs of native sizes {sorted(sizes)}; ask for the maps of one size at a time")
        return torch.stack([in_unit_range(self.native_density(index)) for index in indices])[:, None]

    def blurred(self, points: Sequence[Tensor], size: Size) -> Tensor:
        """Density maps of any fixations on images of ``size``, blurred like the data set's maps.

        Args:
            points: For each map, (y, x) in its pixels, int64 (n, 2).
            size: Height and width of the maps: the native size of the images.

        Returns:
            float32 maps with maximum 1, shape (len(points), 1, height, width).
        """
        return density_from_points(points, size, self._sigma(size))

    @cached_property
    def tasks(self) -> Mapping[str, Sequence[int]]:
        """Indices of the pairs of each task, ascending."""
        return _indices_by_name([pair.task for pair in self.pairs])

    @cached_property
    def _indices_by_image(self) -> Mapping[str, Sequence[int]]:
        return _indices_by_name([pair.image_id for pair in self.pairs])

    def siblings(self, index: int) -> dict[str, int]:
        """Task -> index, of the other pairs of the same image."""
        same_image = self._indices_by_image[self.pairs[index].image_id]
        return {self.pairs[other].task: other for other in same_image if other != index}

    def free_viewing(self, index: int) -> int | None:
        """Index of another pair of the same image without a text; the first of several, or None."""
        return next((other for other in self.siblings(index).values() if not self.pairs[other].text), None)


def _indices_by_name(names: Sequence[str]) -> dict[str, list[int]]:
    indices: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        indices.setdefault(name, []).append(index)
    return indices


def in_unit_range(density: npt.NDArray[Any]) -> Tensor:
    """A published map as float32 of the same shape: 8-bit maps are divided by 255, others are unchanged."""
    values = torch.from_numpy(density.astype(np.float32))
    return values / 255 if density.dtype == np.uint8 else values
