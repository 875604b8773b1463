"""Recognising out-of-memory errors of any device."""

import torch

from saltext.errors import SaltextError

# MPS, cuDNN, cuBLAS and the CPU's allocator have no class of their own for it.
_SIGNS = ("out of memory", "STATUS_ALLOC_FAILED", "can't allocate memory")


class OutOfMemoryError(SaltextError):
    """A batch does not fit into the memory of the device."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS))
