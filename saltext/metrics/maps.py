"""What the metrics read: batches of maps and of fixations, with the passes over the pixels that several metrics share.

Every metric takes plain tensors. One who calls several of them on the same maps wraps the tensors once, and what the
metrics have in common (sums, deviations, the sorted pixels) is computed once: see :class:`Maps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from saltext.metrics import passes

_Value = TypeVar("_Value")


class _once(Generic[_Value]):  # noqa: N801 - named as a decorator
    """``functools.cached_property`` without its lock, which Python 3.11 holds for all instances of a class while one of
    them computes: no two threads would sort at the same time."""

    def __init__(self, compute: Callable[[Any], _Value]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> _Value:
        if instance is None:
            return self  # type: ignore[return-value]
        value = instance.__dict__[self.name] = self.compute(instance)
        return value


def metric_device(device: torch.device) -> torch.device:
    """Where metrics of tensors on a device are computed and kept: there, or on the CPU for mps, which lacks float64.

    Example:
        >>> metric_device(torch.device("mps"))
        device(type='cpu')
    """
    return torch.device("cpu") if device.type == "mps" else device


class Maps:
    """A batch of real-valued maps.

    Args:
        maps: Shape ``(batch, 1, height, width)``, any real dtype. Comparisons are made in the map's own precision
            (float32 or float64; half precision is widened), sums in float64. From a device without float64 they are
            copied to the CPU, through which gradients pass; see :func:`metric_device`.
        name: What error messages call it.
        validate: Refuse NaN and infinite values when they are first met. A training step passes False: nothing then
            synchronises with the device, and a NaN reaches the loss, where a gradient scaler expects it.
        first: Number of the first map in the caller's batch, for error messages.

    Raises:
        ValueError: The shape is another one, or values are complex.

    Example:
        >>> from saltext.metrics import Maps, cc, kl
        >>> density = Maps(torch.tensor([[[[1.0, 1.0], [2.0, 4.0]]]]), "density")
        >>> pred = Maps(torch.ones(1, 1, 2, 2), "pred")  # for both scores, its sum and deviation are computed once
        >>> cc(pred, density), kl(pred, density)
        (tensor([0.], dtype=torch.float64), tensor([0.1733], dtype=torch.float64))
    """

    def __init__(self, maps: Tensor, name: str, *, validate: bool = True, first: int = 0) -> None:
        if maps.ndim != 4 or maps.shape[1] != 1 or maps.shape[2:].numel() == 0:
            raise ValueError(
                f"expected {name} of shape (batch, 1, height, width) with at least one pixel, got "
                f"{tuple(maps.shape)}: add the axes that are missing (maps[:, None]) or choose one channel"
            )
        if maps.is_complex():
            raise ValueError(f"expected real values in {name}, got {maps.dtype}")
        self.shape = tuple(maps.shape)
        self.name = name
        self._maps = maps.to(metric_device(maps.device))
        self._validate = validate
        self._first = first
        self._products: tuple[Maps, Tensor] | None = None

    @classmethod
    def of(cls, maps: Tensor | Maps, name: str) -> Maps:
        """Wrap a tensor, or keep maps that are wrapped already; checked, unless they were wrapped unchecked.

        Raises:
            ValueError: A map has NaN or infinite values.
        """
        wrapped = maps if isinstance(maps, Maps) else cls(maps, name)
        if wrapped._validate:
            _ = wrapped._checked
        return wrapped

    @_once
    def _checked(self) -> bool:
        # One bad value spoils the sum. A sum may also overflow by itself, so the values have the last word.
        if not math.isfinite(float(self.flat.detach().sum())):
            bad = ~(torch.isfinite(self.low.detach()) & torch.isfinite(self.high.detach()))
            self._raise_at(bad, "NaN or infinite values", "find out where they come from; no score would mean anything")
        return True

    @property
    def tensor(self) -> Tensor:
        """The maps as they were given, shape ``(batch, 1, height, width)``."""
        return self._maps

    @property
    def pixels(self) -> int:
        """Number of pixels of each map."""
        return self.shape[2] * self.shape[3]

    @_once
    def flat(self) -> Tensor:
        """Pixel values for comparisons, float32 or float64, shape ``(batch, pixels)``."""
        flat = self._maps.flatten(1)
        if flat.dtype in (torch.float32, torch.float64):
            return flat
        return flat.float() if flat.is_floating_point() else flat.double()

    @_once
    def wide(self) -> Tensor:
        """Pixel values in float64, shape ``(batch, pixels)``."""
        return self.flat.double()

    @_once
    def low(self) -> Tensor:
        """Smallest value of each map, shape ``(batch,)``."""
        return self.flat.amin(1)

    @_once
    def high(self) -> Tensor:
        """Largest value of each map, shape ``(batch,)``."""
        return self.flat.amax(1)

    @_once
    def scored_on_cpu(self) -> bool:
        """Whether sums over the pixels may be taken by :mod:`saltext.metrics.passes`: on a CPU, without gradient."""
        return self._validate and self.flat.device.type == "cpu" and not self.flat.requires_grad

    @_once
    def _sums(self) -> tuple[Tensor, Tensor]:
        return passes.sums(self.flat)

    def sum_with(self, other: Maps) -> Tensor:
        """Sum of the products of the two maps' pixels, float64 ``(batch,)``, and, on the way, the sums of both."""
        if self._products is None or self._products[0] is not other:
            self._sums, other._sums, products = passes.joint_sums(self.flat, other.flat)
            self._products = other, products
        return self._products[1]

    @_once
    def total(self) -> Tensor:
        """Sum of each map, float64, shape ``(batch,)``."""
        if not self.scored_on_cpu:
            return self.wide.sum(1)
        return self._sums[0] if "_sums" in self.__dict__ else passes.totals(self.flat)

    @property
    def mean(self) -> Tensor:
        """Mean of each map, float64, shape ``(batch,)``."""
        return self._moments[0]

    @property
    def std(self) -> Tensor:
        """Population deviation of each map, float64, shape ``(batch,)``; 0 for a constant map, exactly."""
        return self._moments[1]

    @_once
    def constant(self) -> Tensor:
        """Whether each map has one value only, to double precision; bool, shape ``(batch,)``."""
        return self.std == 0

    @_once
    def well_spread(self) -> bool:
        """Whether the deviations are large enough for sums of products to be taken without subtracting the mean first.

        The difference of the mean square and the squared mean has then lost at most 4 of its 16 digits, and a pass over
        the pixels is saved. False where that would wait for the device, or hide a gradient.
        """
        if not self._validate or self.flat.requires_grad:
            return False
        variance = self._mean_square - (self.total / self.pixels).square()  # in this order: one pass gives both
        return bool((self._mean_square < 1e4 * variance).all())

    @_once
    def _mean_square(self) -> Tensor:
        if self.scored_on_cpu:
            return self._sums[1] / self.pixels
        squares: Tensor = torch.linalg.vector_norm(self.wide, dim=1).square()
        return squares / self.pixels

    @_once
    def _moments(self) -> tuple[Tensor, Tensor]:
        well_spread = self.well_spread  # first: it needs both sums, which one pass gives
        mean = self.total / self.pixels
        if well_spread:
            return mean, (self._mean_square - mean.square()).sqrt()
        # Rounding moves a mean out of the values' range: a constant map would not be constant any more.
        mean = mean.clamp(self.low.detach().double(), self.high.detach().double())
        norm: Tensor = torch.linalg.vector_norm(self.wide - mean[:, None], dim=1)
        return mean, norm / math.sqrt(self.pixels)

    @_once
    def centred(self) -> Tensor:
        """Values minus their map's mean, float64, shape ``(batch, pixels)``."""
        return self.wide - self.mean[:, None]

    def safe_std(self, min_std: float) -> Tensor:
        """The deviation to divide by: not below ``min_std``, and 1 where it would be 0."""
        if min_std > 0:
            return self.std.clamp_min(min_std)
        return torch.where(self.constant, 1.0, self.std)

    @_once
    def inverse_total(self) -> Tensor:
        """What to multiply each map with to make its sum 1, float64, shape ``(batch,)``; 1 for an all-zero map.

        Raises:
            ValueError: A map has negative values.
        """
        if self._validate and bool((self.low < 0).any()):
            self._raise_at(
                self.low < 0,
                "negative values, which no distribution has",
                "apply a sigmoid or a softmax, or subtract the minimum",
            )
        return torch.where(self.total == 0, 1.0, self.total).reciprocal()

    @_once
    def distribution(self) -> Tensor:
        """Maps divided by their sums, float64, shape ``(batch, pixels)``; an all-zero map stays zero.

        Raises:
            ValueError: A map has negative values.
        """
        return self.wide * self.inverse_total[:, None]

    @_once
    def ascending(self) -> Tensor:
        """Sorted pixel values, shape ``(batch, pixels)``, without gradient."""
        return ascending(self.flat)

    @_once
    def salient_fifth(self) -> Tensor:
        """Pixels strictly above the value at rank floor(0.8 N) of each map, bool, shape ``(batch, pixels)``.

        Ties with that value stay outside, so the set may be smaller than a fifth, and of a constant map it is empty.
        """
        rank = int(0.8 * self.pixels)
        if self.flat.device.type != "cpu":
            return self.flat.detach() > self.ascending[:, rank, None]
        # numpy's comparison is vectorised, torch's takes several times as long.
        values = self.flat.detach().numpy()
        is_sorted = "ascending" in self.__dict__
        threshold = self.ascending.numpy()[:, rank] if is_sorted else np.partition(values, rank, axis=1)[:, rank]
        return torch.from_numpy(values > threshold[:, None])

    def same_size(self, other: Maps | Fixations) -> None:
        """Raise ValueError unless the other one has the same number of maps of the same size."""
        if self.shape == other.shape:
            return
        if self.shape[0] != other.shape[0]:
            raise ValueError(
                f"expected a map for each image, got {self.shape[0]} in {self.name} and {other.shape[0]} in "
                f"{other.name}"
            )
        size, needed = (f"{maps.shape[2]} x {maps.shape[3]}" for maps in (self, other))
        raise ValueError(
            f"{self.name} is {size} pixels and {other.name} {needed}: resize {self.name} to {needed}. Ground truth "
            "keeps its size; fixations that must move are moved as coordinates, never by resizing their map"
        )

    def _raise_at(self, bad: Tensor, what: str, remedy: str) -> None:
        if bool(bad.any()):
            raise ValueError(
                f"{self.name} has {what} (first in map {self._first + int(bad.nonzero()[0])} of the batch, "
                f"counted from 0): {remedy}"
            )


def covariance(one: Maps, other: Maps) -> Tensor:
    """Population covariance of two maps of equal shape, float64, shape ``(batch,)``.

    Example:
        >>> one = Maps(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), "one")
        >>> covariance(one, one)  # 5 / 4
        tensor([1.2500], dtype=torch.float64)
    """
    on_cpu = one.scored_on_cpu and other.scored_on_cpu
    products = one.sum_with(other) if on_cpu else None  # first: the pass gives the sums of both, too
    if one.well_spread and other.well_spread:
        if products is None:
            products = torch.linalg.vecdot(one.wide, other.wide)
        return products / one.pixels - one.mean * other.mean
    centred: Tensor = torch.linalg.vecdot(one.centred, other.centred)
    return centred / one.pixels


def paired(pred: Tensor | Maps, density: Tensor | Maps) -> tuple[Maps, Maps]:
    """Prediction and ground-truth map, wrapped and of equal size.

    Raises:
        ValueError: Shapes differ, or a map has NaN or infinite values.

    Example:
        >>> p, g = paired(torch.rand(2, 1, 3, 4), torch.rand(2, 1, 3, 4))
        >>> p.shape, g.name
        ((2, 1, 3, 4), 'density')
    """
    p, g = Maps.of(pred, "pred"), Maps.of(density, "density")
    p.same_size(g)
    return p, g


def scored_at(pred: Tensor | Maps, fixations: Tensor | Fixations) -> tuple[Maps, Fixations]:
    """Prediction and fixations, wrapped and of equal size.

    Raises:
        ValueError: Shapes differ, the prediction has NaN or infinite values, or ``fixations`` holds no counts.

    Example:
        >>> p, f = scored_at(torch.rand(1, 1, 2, 2), torch.tensor([[[[0, 2], [0, 1]]]]))
        >>> f.each.values(p.flat).shape  # three fixations
        torch.Size([1, 3])
    """
    p, f = Maps.of(pred, "pred"), Fixations.of(fixations)
    p.same_size(f)
    return p, f


class Fixations:
    """Where viewers looked, in a batch of images.

    Made by :meth:`from_points` (fast) or :meth:`from_counts`.

    Args:
        each: The pixels of all fixations; a pixel fixated twice is listed twice.
        shape: ``(batch, 1, height, width)``.
        name: What error messages call it.

    Example:
        >>> from saltext.metrics import Fixations, nss
        >>> points = [torch.tensor([[1, 1], [1, 1], [0, 1]])]  # (y, x) of the fixations on one image
        >>> fixations = Fixations.from_points(points, size=(2, 2))
        >>> fixations.counts
        tensor([[[[0., 1.],
                  [0., 2.]]]])
        >>> nss(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), fixations)  # (2 * 1.3416 - 0.4472) / 3
        tensor([0.7454], dtype=torch.float64)
    """

    def __init__(self, each: PixelLists, shape: tuple[int, ...], name: str) -> None:
        self.each = each
        self.shape = shape
        self.name = name

    @classmethod
    def from_counts(cls, counts: Tensor, name: str = "fixations") -> Fixations:
        """Fixations given as their number at each pixel.

        Args:
            counts: Shape ``(batch, 1, height, width)``, any real dtype, values 0, 1, 2, ...
            name: What error messages call it.

        Raises:
            ValueError: A value is no count. A blurred or resized fixation map is not a map of counts.
        """
        counts = counts.to(metric_device(counts.device))
        shape = Maps(counts, name).shape
        flat = counts.detach().flatten(1)
        # A fixation is one pixel in hundreds, so everything after this works on lists of fixated pixels.
        row, pixel = flat.nonzero(as_tuple=True)
        count = flat[row, pixel].double()
        if bool(((count < 0) | (count != count.round()) | ~torch.isfinite(count)).any()):
            raise ValueError(
                f"expected counts (0, 1, 2, ...) in {name}, got other values: give the number of fixations at each "
                "pixel, made from coordinates, not a blurred or resized fixation map"
            )
        count = count.long()
        points = PixelLists.padded(row.repeat_interleave(count), pixel.repeat_interleave(count), shape[0])
        return cls(points, shape, name)

    @classmethod
    def from_points(cls, points: Sequence[Tensor], size: tuple[int, int], name: str = "fixations") -> Fixations:
        """Fixations given as coordinates.

        Args:
            points: For each image, the (y, x) of its fixations in pixels counted from 0, int64 (fixations, 2).
            size: Height and width of the maps.
            name: What error messages call it.

        Raises:
            ValueError: A point lies outside the map, or is not a pair of whole numbers.
        """
        for number, of_image in enumerate(points):
            if of_image.ndim != 2 or of_image.shape[1] != 2 or of_image.is_floating_point():
                raise ValueError(
                    f"expected whole numbers (y, x) of shape (fixations, 2) as {name} of map {number}, got shape "
                    f"{tuple(of_image.shape)} and dtype {of_image.dtype}"
                )
        every = torch.cat(list(points)).long() if len(points) else torch.empty(0, 2, dtype=torch.long)
        row = torch.arange(len(points)).repeat_interleave(torch.tensor([len(p) for p in points], dtype=torch.long))
        last = torch.tensor(size, device=every.device) - 1
        if len(every) and bool(((every.amin(0) < 0) | (every.amax(0) > last)).any()):
            outside = ((every < 0) | (every > last)).any(1)
            first = int(outside.nonzero()[0])
            y_out, x_out = every[first].tolist()
            raise ValueError(
                f"{int(outside.sum())} of {len(every)} {name} lie outside the {size[0]} x {size[1]} pixels (first: "
                f"y={y_out}, x={x_out} in map {int(row[first])}): points are (y, x), counted from 0, in pixels of the "
                "map"
            )
        y, x = every.unbind(1)
        pixels = PixelLists.padded(row.to(every.device), y * size[1] + x, len(points))
        return cls(pixels, (len(points), 1, *size), name)

    @classmethod
    def of(cls, counts: Tensor | Fixations, name: str = "fixations") -> Fixations:
        """Fixations of a map of counts, or fixations as they are."""
        return counts if isinstance(counts, Fixations) else cls.from_counts(counts, name)

    def images(self, start: int, stop: int) -> Fixations:
        """The fixations of some of the images."""
        return Fixations(self.each.images(start, stop), (stop - start, *self.shape[1:]), self.name)

    def to(self, device: torch.device | str) -> Fixations:
        """The same fixations on a device."""
        return Fixations(PixelLists(self.each.index.to(device), self.each.valid.to(device)), self.shape, self.name)

    @_once
    def counts(self) -> Tensor:
        """Number of fixations at each pixel, float32, shape ``(batch, 1, height, width)``."""
        flat = torch.zeros(self.shape[0], self.shape[2] * self.shape[3], device=self.each.index.device)
        return flat.scatter_add_(1, self.each.index, self.each.valid.float()).view(self.shape)

    @_once
    def distinct(self) -> PixelLists:
        """All fixated pixels, each once."""
        pixels = self.each.index.masked_fill(~self.each.valid, -1).sort(1).values
        first = torch.ones_like(self.each.valid)
        first[:, 1:] = pixels[:, 1:] != pixels[:, :-1]
        return PixelLists(pixels.clamp_min(0), first & (pixels >= 0))


class PixelLists:
    """Pixels of each image of a batch, in lists of one length with gaps.

    Args:
        index: Flat pixel numbers, int64, shape ``(batch, longest)``; any pixel where there is a gap.
        valid: Where there is no gap, bool, same shape.
        number: Points of each image, int64, shape ``(batch,)``; counted where it is not given.

    All lie where the maps do that they are looked up in, see :func:`metric_device`.

    Example:
        >>> pixels = PixelLists.padded(torch.tensor([0, 0, 1]), torch.tensor([3, 5, 2]), batch=2)
        >>> pixels.number
        tensor([2, 1])
        >>> pixels.values(torch.arange(12.0).view(2, 6))
        tensor([[3., 5.],
                [8., inf]])
    """

    def __init__(self, index: Tensor, valid: Tensor, number: Tensor | None = None) -> None:
        device = metric_device(index.device)
        self.index = index.to(device)
        self.valid = valid.to(device)
        self.number = self.valid.sum(1) if number is None else number.to(device)

    @classmethod
    def padded(cls, row: Tensor, pixel: Tensor, batch: int) -> PixelLists:
        """From the image's number (ascending) and the flat pixel number of each point, int64 ``(points,)``."""
        number = torch.bincount(row, minlength=batch)
        longest = max(1, int(number.max())) if batch else 1
        valid = torch.arange(longest, device=row.device) < number[:, None]
        return cls(pixel.new_zeros(batch, longest).masked_scatter(valid, pixel), valid, number)

    @_once
    def _gaps(self) -> Tensor | None:
        """Where there is no point; None where there is one everywhere, which is asked on a CPU alone."""
        if self.number.device.type == "cpu" and bool((self.number == self.index.shape[1]).all()):
            return None
        return ~self.valid

    def images(self, start: int, stop: int) -> PixelLists:
        """The points of some of the images."""
        return PixelLists(self.index[start:stop], self.valid[start:stop], self.number[start:stop])

    def values(self, flat: Tensor) -> Tensor:
        """The maps' values there, shape ``(batch, longest)``, without gradient; +inf in gaps."""
        values = flat.detach().gather(1, self.index)
        return values if self._gaps is None else values.masked_fill_(self._gaps, torch.inf)

    def ascending(self, flat: Tensor) -> Tensor:
        """The maps' values there, each row sorted, shape ``(batch, longest)``, without gradient; +inf at the end."""
        values = self.values(flat)
        if values.device.type != "cpu":
            return values.sort(dim=1).values
        values.numpy().sort(axis=1)  # in place
        return values

    def mean(self, flat: Tensor, origin: Tensor) -> Tensor:
        """Mean of the maps' values there minus ``origin`` (both ``(batch,)``), differentiable; 0 for an empty list."""
        values = flat.gather(1, self.index).double() - origin[:, None]
        return values.masked_fill(~self.valid, 0.0).sum(1) / self.number.clamp_min(1)


def ascending(values: Tensor) -> Tensor:
    """Each row sorted. Gradients do not pass.

    Example:
        >>> ascending(torch.tensor([[3.0, 1.0, 2.0]]))
        tensor([[1., 2., 3.]])
    """
    values = values.detach()
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    # numpy's vectorised sort takes a tenth of the time of torch.sort, which carries indices along.
    return torch.from_numpy(np.sort(values.numpy(), axis=1))
