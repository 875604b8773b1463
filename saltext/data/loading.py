"""Loader processes: as many as shared memory allows, and errors that say why they stopped."""

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
"""Batches that each loader process prepares ahead; torch's own default."""

TIMEOUT = 300.0
"""Seconds to wait for a batch: a loader process that has no memory, or was killed, never sends one."""

_SHARED = Path("/dev/shm")  # noqa: S108  # Linux's shared memory
_HELD = 2  # batches that the training holds besides: the current one and the next one
_USABLE = 0.9  # of the free shared memory: other programs use it, too
_PAGE = 4096
_LONGEST_TMPDIR = (107 if sys.platform == "linux" else 103) - len("/pymp-12345678/listener-12345678")
"""Maximum length of ``TMPDIR`` in bytes: processes send batches through sockets below it, whose paths are limited."""

_REPORTED_WITHIN = 2.0  # seconds
_CONNECTION = "the connection to a loader process broke"
# Messages of torch for a loader process that died, is stuck, or has no shared memory.
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
    """A DataLoader whose errors say why its processes stopped sending batches.

    Raises:
        DataError: While batches are taken, see :func:`explain_lost_workers`.
    """

    def __iter__(self) -> Any:
        """Batches; the processes start at once, as torch's do."""
        with explain_lost_workers():
            batches = super().__iter__()
        return _with_described_errors(batches, from_processes=self.num_workers > 0)


def _with_described_errors(batches: Iterator[Any], from_processes: bool) -> Iterator[Any]:
    """The batches; an error of the connection to a loader process becomes a DataError."""
    with explain_lost_workers():
        try:
            yield from batches
        except (OSError, EOFError) as error:
            # Errors of the data set start with "Caught"; others are errors of the connection to a process.
            if not from_processes or str(error).startswith("Caught "):
                raise
            # The system reports the end of a process only after its connections broke, and torch then raises wherever
            # the program is: wait, so that it raises here.
            time.sleep(_REPORTED_WITHIN)
            raise RuntimeError(f"{_CONNECTION}: {error or type(error).__name__}") from error


@contextmanager
def explain_lost_workers() -> Iterator[None]:
    """Replace torch's errors about loader processes; use it around all code that takes batches.

    Torch reports a process that died wherever the program is at that time.

    Raises:
        DataError: Loader processes were killed (by the system where memory is short), are stuck, or have too little
            shared memory; names the settings to change.
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
    """Shared memory of a batch that a loader process sends, in bytes.

    Args:
        sample: The largest sample of the data set.
        size: Number of samples in a batch.
    """
    # Each tensor has whole pages; those of samples are stacked, except some.
    return size * sum(value.nbytes + _PAGE for value in sample.values() if isinstance(value, Tensor))


def free_shared_memory() -> float:
    """Free shared memory of this machine in bytes; infinite where the system sets no limit."""
    if sys.platform != "linux":
        return float("inf")
    try:
        status = os.statvfs(_SHARED)
    except OSError:
        return 0.0
    return float(status.f_bavail * status.f_frsize) if os.access(_SHARED, os.W_OK | os.X_OK) else 0.0


def workers_that_fit(asked: int, batches: Iterable[int], ranks: int = 1) -> int:
    """How many processes each loader of a run can have, so that the batches of all of them fit into shared memory.

    Processes live until the end of a run, so all its loaders count together. The number is 0 where ``TMPDIR`` is too
    long for their sockets. A number smaller than ``asked`` is logged once; results do not depend on it.

    Args:
        asked: Requested number of processes of each loader.
        batches: Bytes of a batch of each loader.
        ranks: Training processes on this machine that have such loaders.
    """
    if not asked:
        return 0
    temporary = tempfile.gettempdir()
    if len(os.fsencode(temporary)) > _LONGEST_TMPDIR:
        _log_once(
            f"data.num_workers={asked} needs a folder for temporary files whose path has at most {_LONGEST_TMPDIR} "
            f"bytes, got {temporary}: loading with no process instead (set TMPDIR to a shorter path)"
        )
        return 0
    total, free = sum(batches) * ranks, free_shared_memory()
    fitting = next((n for n in range(asked, 0, -1) if total * (n * PREFETCHED + _HELD) <= _USABLE * free), 0)
    if fitting < asked:
        needed = total * (asked * PREFETCHED + _HELD)
        _log_once(
            f"data.num_workers={asked} needs {needed / 2**20:.0f} MiB of shared memory, and {free / 2**20:.0f} MiB are "
            f"free in {_SHARED}: loading with {fitting or 'no'} process{'es' if fitting > 1 else ''} instead (docker "
            "run --shm-size=2g gives more)"
        )
    return fitting


@cache
def _log_once(words: str) -> None:
    _log.info(words)
