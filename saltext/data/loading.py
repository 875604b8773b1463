"""Loader processes, which help where there is room for what they hand over and are done without elsewhere."""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.data import DataLoader

from saltext.errors import DataError

_log = logging.getLogger(__name__)

PREFETCHED = 2
"""Batches that each loader process makes ahead; torch's own number."""

TIMEOUT = 300.0
"""Seconds to wait for a batch of a loader process: one that has no room, or that the system ended, never sends it."""

_SHARED = Path("/dev/shm")  # noqa: S108  # where Linux has the memory that processes share
_HELD = 2  # batches that the training holds besides: the one in work, and the next one
_USABLE = 0.9  # of what is free: other programs use it, too
_PAGE = 4096
_LONGEST_TMPDIR = (107 if sys.platform == "linux" else 103) - len("/pymp-12345678/listener-12345678")
"""Bytes: a process hands batches over through a socket in a folder of its own there, and their paths are bounded."""

_REPORTED_WITHIN = 2.0  # seconds
_CONNECTION = "the connection to a loader process broke"
# How torch says that a loader process is gone or stuck, or has no room.
_LOST = (
    _CONNECTION,
    "DataLoader timed out",
    "DataLoader worker (pid",
    "Pin memory thread exited",
    "unable to write to file </torch_",
    "shared memory",
)

_T_co = TypeVar("_T_co", covariant=True)


class PatientLoader(DataLoader[_T_co]):
    """A DataLoader that says in words when its processes no longer send anything.

    Raises:
        DataError: While batches are taken, see :func:`lost_workers_said`.
    """

    def __iter__(self) -> Any:
        """Batches; the processes start at once, as torch's do."""
        with lost_workers_said():
            batches = super().__iter__()
        return _said(batches, handed_over=self.num_workers > 0)


def _said(batches: Iterator[Any], handed_over: bool) -> Iterator[Any]:
    with lost_workers_said():
        try:
            yield from batches
        except (OSError, EOFError) as error:
            # What a data set raises comes with "Caught"; other errors are those of the connection to a process.
            if not handed_over or str(error).startswith("Caught "):
                raise
            # The system reports the end of a process after its connections broke, and torch then raises wherever the
            # program is: that shall be here.
            time.sleep(_REPORTED_WITHIN)
            raise RuntimeError(f"{_CONNECTION}: {error or type(error).__name__}") from error


@contextmanager
def lost_workers_said() -> Iterator[None]:
    """Around everything that takes batches, since torch reports an ended process wherever the program is.

    Raises:
        DataError: Loader processes were ended (by the system where memory is short), are stuck, or have no room to hand
            batches over; says what to set.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _LOST):
            raise
        first = str(error).splitlines()[0]
        raise DataError(
            f"Expected a batch from the loader processes, but they stopped sending ({first}). They were ended for lack "
            "of memory, have too little shared memory (docker run --shm-size=2g), or wait for a disk. Set "
            "data.num_workers=0 to load without them, or a smaller data.batch_size and data.eval_batch_size."
        ) from error


def batch_bytes(sample: Mapping[str, Any], size: int) -> int:
    """Shared memory that a batch takes on its way from a loader process.

    Args:
        sample: The largest one, as the data set gives it.
        size: Samples of a batch.
    """
    # Each tensor has whole pages; those of samples are stacked, except some.
    return size * sum(value.nbytes + _PAGE for value in sample.values() if isinstance(value, Tensor))


def free_shared_memory() -> float:
    """Bytes that processes of this machine can share in addition; infinite where the system sets no bound."""
    if sys.platform != "linux":
        return float("inf")
    try:
        found = os.statvfs(_SHARED)
    except OSError:
        return 0.0
    return float(found.f_bavail * found.f_frsize) if os.access(_SHARED, os.W_OK | os.X_OK) else 0.0


def workers_that_fit(asked: int, batches: Iterable[int], ranks: int = 1) -> int:
    """How many processes each loader of a run can have, so that all of them together find room for their batches.

    Processes stay until the end of a run, so its loaders count together. None fits where ``TMPDIR`` is too long for
    their sockets. Says once where it is fewer than asked for; results do not depend on it.

    Args:
        asked: Processes of a loader.
        batches: Bytes of a batch of each loader.
        ranks: Processes of this machine that have such loaders.
    """
    if not asked:
        return 0
    temporary = tempfile.gettempdir()
    if len(os.fsencode(temporary)) > _LONGEST_TMPDIR:
        _say_once(
            f"data.num_workers={asked} needs a folder for temporary files whose path has at most {_LONGEST_TMPDIR} "
            f"bytes, got {temporary}: loading with no process instead (set TMPDIR to a shorter path)"
        )
        return 0
    total, free = sum(batches) * ranks, free_shared_memory()
    fitting = next((n for n in range(asked, 0, -1) if total * (n * PREFETCHED + _HELD) <= _USABLE * free), 0)
    if fitting < asked:
        needed = total * (asked * PREFETCHED + _HELD)
        _say_once(
            f"data.num_workers={asked} needs {needed / 2**20:.0f} MiB of shared memory, and {free / 2**20:.0f} MiB are "
            f"free in {_SHARED}: loading with {fitting or 'no'} process{'es' if fitting > 1 else ''} instead (docker "
            "run --shm-size=2g gives more)"
        )
    return fitting


@cache
def _say_once(words: str) -> None:
    _log.info(words)
