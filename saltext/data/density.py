"""Density maps from fixated pixels: the Gaussian blur with which SJTU-TIS made its maps, at any size."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from saltext.data.geometry import Size

_SMALL, _LARGE = 500, 575
_SIGMA_SMALL, _SIGMA_LARGE = 16.0, 32.0


def sigma_for(size: Size) -> float:
    """Standard deviation, in pixels, of the blur of SJTU-TIS's maps for an image of this size.

    32 where the longer side is at least 575, 16 where it is at most 500: measured on all 600 images, correlation of
    the refit .9999. No published image lies between; such a size gets the value of the nearer bound.

    Args:
        size: Native height and width.
    """
    return _SIGMA_SMALL if max(size) < (_SMALL + _LARGE) / 2 else _SIGMA_LARGE


def density_from_points(
    points: Sequence[Tensor], size: Size, sigma: float | Sequence[float], cut: float | None = None
) -> Tensor:
    r"""Sum of a Gaussian at each fixated pixel, zero outside the image, scaled to a maximum of 1.

    .. math:: D(y, x) \propto \sum_i e^{-(y - y_i)^2 / 2 \sigma^2} \, e^{-(x - x_i)^2 / 2 \sigma^2}

    A Gaussian is separable, so an image's map is the product of a (height, n) and an (n, width) matrix: exact, without
    the tails that a convolution's kernel cuts off.

    Args:
        points: For each map, the (y, x) of its fixations in pixels counted from 0, int64 (n, 2); one listed twice
            counts twice.
        size: Height and width of the maps.
        sigma: Deviation in pixels of these maps, positive: one for all, or one for each. 32 px on an image 640 px wide
            are 19.2 px on a map 384 px wide.
        cut: Rows and columns farther than this many deviations (rounded to whole pixels) from a fixation get nothing
            of it, as with a convolution's square kernel. None: no cut.

    Returns:
        float32 maps in 0..1, shape (len(points), 1, height, width), on the points' device. Without fixations a map is
        zero.

    Raises:
        ValueError: A point is no pair of whole numbers or lies outside the map, or a sigma or cut is not positive.
    """
    deviations = [float(sigma)] * len(points) if isinstance(sigma, int | float) else [float(s) for s in sigma]
    _check_arguments(points, size, deviations, cut)
    if not points:
        return torch.zeros(0, 1, *size)
    padded = pad_sequence([p.double() for p in points], batch_first=True, padding_value=math.inf)
    spread = torch.tensor(deviations, dtype=torch.float64, device=padded.device)[:, None, None]
    down, across = (_gaussian_profiles(padded[..., axis], size[axis], spread, cut) for axis in (0, 1))
    maps = down.transpose(1, 2) @ across
    high = maps.amax(dim=(1, 2), keepdim=True)
    return (maps / torch.where(high > 0, high, 1.0)).float()[:, None]


def grey_map(points: npt.NDArray[np.integer], size: Size, sigma: float) -> npt.NDArray[np.uint8]:
    """A density map of fixations (y, x), shape (n, 2), like the published ones: uint8, maximum 255, shape ``size``."""
    (density,) = density_from_points([torch.from_numpy(points).long()], size, sigma)
    return in_8_bits(density[0].numpy())


def in_8_bits(density: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """A map with maximum 1 scaled to 0..255, rounded, uint8."""
    levels: npt.NDArray[np.uint8] = (255 * density).round().astype(np.uint8)
    return levels


def _gaussian_profiles(centres: Tensor, length: int, sigma: Tensor, cut: float | None) -> Tensor:
    """Gaussians along one axis, float64 (maps, fixations, length); zero for a padded centre, which is at infinity."""
    distance = torch.arange(length, dtype=torch.float64, device=centres.device) - centres[..., None]
    profiles = torch.exp(-0.5 * (distance / sigma).square())
    return profiles if cut is None else profiles.masked_fill(distance.abs() > (cut * sigma).round(), 0.0)


def _check_arguments(points: Sequence[Tensor], size: Size, sigma: Sequence[float], cut: float | None) -> None:
    if len(sigma) != len(points):
        raise ValueError(f"expected one sigma for all maps or one for each of {len(points)}, got {len(sigma)}")
    if any(not s > 0 for s in sigma) or (cut is not None and not cut > 0):
        raise ValueError(f"expected positive numbers, got sigma={sorted(set(sigma))} and cut={cut}")
    for number, of_map in enumerate(points):
        if of_map.ndim != 2 or of_map.shape[1] != 2 or of_map.is_floating_point():
            raise ValueError(
                f"expected whole numbers (y, x) of shape (fixations, 2) as points of map {number}, got shape "
                f"{tuple(of_map.shape)} and dtype {of_map.dtype}"
            )
        if bool(((of_map < 0) | (of_map >= torch.tensor(size, device=of_map.device))).any()):
            raise ValueError(f"a point of map {number} lies outside its {size[0]} x {size[1]} pixels (height x width)")


def fitted_sigma(points: Tensor, density: Tensor) -> float:
    """Fit the standard deviation, in pixels, of the Gaussian that blurred a map's fixations.

    For data sets that do not document it.

    Args:
        points: (y, x) of the map's fixations, int64 (n, 2), n at least 1.
        density: The map, not constant, shape (height, width).

    Returns:
        The standard deviation, between 1 pixel and half of the longer side, that maximises the correlation of the
        blurred fixations with the map; precise to about 1 %.
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]  # half a second

    height, width = density.shape
    target = density.flatten().double()

    def misfit(log_sigma: float) -> float:
        blurred = density_from_points([points], (height, width), math.exp(log_sigma))
        return -float(torch.corrcoef(torch.stack([blurred.flatten().double(), target]))[0, 1])

    best = minimize_scalar(misfit, bounds=(0.0, math.log(max(height, width) / 2)), options={"xatol": 0.01})
    return math.exp(best.x)
