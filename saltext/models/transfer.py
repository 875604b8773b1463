"""Values that the host gives a device, without waiting for it."""

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Move values to a device.

    On a CUDA device the copy is queued behind what runs there, and the host goes on. Elsewhere it waits, since a value
    could be read before it is there.

    Args:
        values: Any tensor; one on the device stays there.
        device: Where the values are needed.
        dtype: Their type; None: as it is.

    Example:
        >>> to_device(torch.tensor([1, 0]), torch.device("cpu"), torch.bool)
        tensor([ True, False])
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device=device, dtype=dtype, non_blocking=device.type == "cuda")


def select_rows(values: Tensor, indices: Sequence[int]) -> Tensor:
    """``values[list(indices)]`` where the host knows the indices; ``values`` itself, not a copy, for all in order.

    Example:
        >>> select_rows(torch.tensor([1.0, 2.0, 3.0]), [2, 0])
        tensor([3., 1.])
    """
    if list(indices) == list(range(len(values))):
        return values
    return values.index_select(0, to_device(torch.tensor(indices), values.device))
