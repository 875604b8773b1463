"""Sums over the pixels of maps, for scoring on a CPU.

An array as large as a batch costs more to allocate than the arithmetic on it takes, since the system hands out fresh
pages one by one. Here a thread computes in the same few arrays again and again, in pieces of the batch: short enough
for the processor's cache, and long enough for the threads of :func:`saltext.metrics.score` not to wait for the
interpreter. Every sum is taken in float64. Gradients do not pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

PIECE = 2**18
"""Pixels at a time. Between operations threads hand the interpreter on, which takes as long as 50,000 pixels do."""

_TINY, _HUGE = 1e-18, 1e18  # factors between these keep float32 products clear of where float32 ends

_Values = npt.NDArray[np.floating[Any]]


class _Arrays(threading.local):
    """The arrays of a thread, by purpose and dtype; what they hold is undefined."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Any], _Values] = {}

    def get(self, purpose: str, shape: tuple[int, ...], dtype: Any) -> _Values:
        key = purpose, dtype
        if key not in self._kept:
            self._kept[key] = np.empty(PIECE, dtype)
        return self._kept[key][: shape[0] * shape[1]].reshape(shape)


_arrays = _Arrays()


def totals(flat: Tensor) -> Tensor:
    """Sum of each row, see :func:`sums`.

    Example:
        >>> totals(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([3., 7.], dtype=torch.float64)
    """
    return _summed(lambda piece: [_widened(piece).sum(1)], flat)[0]


def sums(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of each row, and of its squares.

    Args:
        flat: float32 or float64, shape ``(batch, pixels)``.

    Returns:
        Both float64, shape ``(batch,)``.

    Example:
        >>> sums(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        (tensor([3., 7.], dtype=torch.float64), tensor([ 5., 25.], dtype=torch.float64))
    """

    def of_piece(piece: _Values) -> list[Any]:
        wide = _widened(piece)
        return [wide.sum(1), _products(wide, wide)]

    total, squares = _summed(of_piece, flat)
    return total, squares


def joint_sums(one: Tensor, other: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    """The sums of two batches, see :func:`sums`, and the sum of the products of each two rows, float64 ``(batch,)``.

    Example:
        >>> joint_sums(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))[2]
        tensor([11.], dtype=torch.float64)
    """

    def of_pieces(piece: _Values, other_piece: _Values) -> list[Any]:
        a, b = _widened(piece), _widened(other_piece, "second")
        return [a.sum(1), _products(a, a), b.sum(1), _products(b, b), _products(a, b)]

    total, squares, other_total, other_squares, products = _summed(of_pieces, one, other)
    return (total, squares), (other_total, other_squares), products


def shared_mass(p: Tensor, p_factors: Tensor, g: Tensor, g_factors: Tensor) -> Tensor:
    """Sum of the smaller one of each two pixels of ``p`` and ``g`` times their factors.

    Factors have shape ``(batch,)``, the rest as for :func:`sums`. The products of float32 maps are float32: right to
    seven digits, at half the cost.

    Example:
        >>> ones = torch.ones(1, dtype=torch.float64)
        >>> shared_mass(torch.tensor([[1.0, 2.0]]), ones, torch.tensor([[3.0, 1.0]]), ones)
        tensor([2.], dtype=torch.float64)
    """

    def of_pieces(*pieces: _Values) -> list[Any]:
        a, b = _scaled(*pieces)
        return [_widened(np.minimum(a, b, out=a)).sum(1)]

    return _summed(of_pieces, p, p_factors[:, None], g, g_factors[:, None])[0]


def divergence(p: Tensor, p_factors: Tensor, g: Tensor, g_factors: Tensor, eps: float) -> Tensor:
    """Sum of ``g ln(eps + g / (p + eps))`` of ``p`` and ``g`` times their factors, see :func:`shared_mass`.

    Example:
        >>> half = torch.tensor([0.5], dtype=torch.float64)
        >>> divergence(torch.tensor([[1.0, 1.0]]), half, torch.tensor([[0.0, 2.0]]), half, 1e-16)  # ln 2
        tensor([0.6931], dtype=torch.float64)
    """

    def of_pieces(*pieces: _Values) -> list[Any]:
        a, b = _scaled(*pieces)
        a += eps
        np.divide(b, a, out=a)
        a += eps
        torch.from_numpy(a).log_()  # faster than numpy's
        a *= b
        return [_widened(a).sum(1)]

    with torch.no_grad():
        return _summed(of_pieces, p, p_factors[:, None], g, g_factors[:, None])[0]


def _summed(of_pieces: Callable[..., list[Any]], *batches: Tensor) -> list[Tensor]:
    """What a function gives for pieces of the rows of batches, summed over each row: float64, shape ``(batch,)``.

    Of arrays with one column, which hold something for each row, every piece is the same.
    """
    arrays = [batch.detach().numpy() for batch in batches]
    rows, pixels = arrays[0].shape
    height, width = max(1, PIECE // pixels), min(PIECE, pixels)
    found: list[_Values] = []
    for top in range(0, max(1, rows), height):
        here = slice(top, top + height)
        for left in range(0, pixels, width):
            pieces = (a[here, left : left + width] if a.shape[1] == pixels else a[here] for a in arrays)
            for number, sums in enumerate(of_pieces(*pieces)):
                if number == len(found):
                    found.append(np.zeros(rows))
                found[number][here] += sums
    return [torch.from_numpy(sums) for sums in found]


def _products(one: _Values, other: _Values) -> list[float]:
    # By torch: numpy's BLAS would start threads of its own.
    rows = zip(torch.from_numpy(one), torch.from_numpy(other), strict=True)
    return [float(torch.dot(row, other_row)) for row, other_row in rows]


def _widened(piece: _Values, purpose: str = "first") -> _Values:
    """A piece in float64: itself, or copied into an array of the thread."""
    if piece.dtype == np.float64:
        return piece
    wide = _arrays.get(f"{purpose}, widened", piece.shape, np.float64)
    np.copyto(wide, piece)
    return wide


def _scaled(p: _Values, p_factors: _Values, g: _Values, g_factors: _Values) -> Iterator[_Values]:
    """Pieces of two batches times the factors of their rows, in arrays of the thread."""
    narrow = p.dtype == g.dtype == np.float32 and all(
        _TINY < f < _HUGE for factors in (p_factors, g_factors) for f in factors[:, 0]
    )
    dtype = np.float32 if narrow else np.float64
    for piece, factors, purpose in ((p, p_factors, "first"), (g, g_factors, "second")):
        yield np.multiply(piece, factors.astype(dtype), out=_arrays.get(purpose, piece.shape, dtype))
