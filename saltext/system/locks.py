"""Keep other processes from what one is doing, also on file systems that know no locks."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

_log = logging.getLogger(__name__)

# What flock answers on such file systems (some network, FUSE and object store mounts).
_WITHOUT_LOCKS = frozenset((errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK))


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Hold a lock.

    The system gives it back when the process ends, however it does. On a file system without locks (said once), a file
    beside it that names the process takes its place; one that a process of this machine left is not obeyed once that
    process is gone.

    Args:
        path: Of the lock file; its folder must exist.
        timeout: Seconds to wait for another process that has it; -1: as long as it takes.

    Raises:
        filelock.Timeout: Another process has it; ``lock_file`` is what it holds.
        OSError: The file cannot be made.
    """
    lock = _acquired(path, timeout)
    try:
        yield
    finally:
        lock.release()


def _acquired(path: Path, timeout: float) -> BaseFileLock:
    lock: BaseFileLock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        _say_once(path.parent)
        lock = SoftFileLock(f"{path}.held")
        lock.acquire(timeout=timeout)
    return lock


@cache
def _say_once(folder: Path) -> None:
    _log.warning(
        "%s is on a file system without locks; files named .held stand in for them. One that a killed process of "
        "another machine left has to be deleted by hand.",
        folder,
    )
