"""Cache folders that are complete or absent, with checksums of their files."""

import json
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saltext.storage import write_json

_LIST = "checksums.json"
_BLOCK = 16 * 2**20  # bytes that a thread takes at a time: about a second for 1 GB in all on two cores
_BUILDING = ".building-"
_ABANDONED_AFTER_S = 6 * 3600


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A temporary folder to write files into, which is renamed to ``folder`` at the end, with their checksums.

    Safe with several processes: each builds in a separate folder and renames it; the second one drops its copy. A
    damaged folder is moved away first; processes that have its files open keep them.

    Args:
        folder: The final folder, named by a digest of all that its files depend on. Its parent must exist.

    Raises:
        OSError: Something cannot be written.
    """
    _remove_abandoned(folder.parent)
    temporary = folder.with_name(f"{_BUILDING}{folder.name}-{uuid.uuid4().hex}")
    try:
        temporary.mkdir()
        yield temporary
        record(temporary)
        _rename_or_replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_or_replace(temporary: Path, folder: Path) -> None:
    """Rename ``temporary`` to ``folder``, and a damaged ``folder`` away first; another process may do the same."""
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if not damage(folder, [path.name for path in temporary.iterdir() if path.name != _LIST]):
            return  # another process was first; its files are the same
        damaged = folder.with_name(f"{_BUILDING}damaged-{uuid.uuid4().hex}")
        folder.rename(damaged)
        temporary.rename(folder)
        shutil.rmtree(damaged, ignore_errors=True)


def _remove_abandoned(caches: Path) -> None:
    """Delete the folders of builds that were killed."""
    for temporary in caches.glob(f"{_BUILDING}*"):
        try:
            abandoned = time.time() - temporary.stat().st_mtime > _ABANDONED_AFTER_S
        except FileNotFoundError:
            continue
        if abandoned:
            shutil.rmtree(temporary, ignore_errors=True)


def record(folder: Path) -> None:
    """Write size and checksums (CRC-32 of each block) of every file of a folder to ``checksums.json`` in it."""
    paths = sorted(path for path in folder.iterdir() if path.name != _LIST)
    files = {path.name: {"bytes": path.stat().st_size, "crc32": _block_checksums(path)} for path in paths}
    write_json(folder / _LIST, files)


def damage(folder: Path, names: Sequence[str]) -> str:
    """What is wrong with a folder whose checksums :func:`record` wrote; empty if nothing. Every byte is read.

    Args:
        folder: The folder; it may not exist.
        names: Files that it must have.
    """
    try:
        content: dict[str, Any] = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        recorded = {Path(name).name: (int(entry["bytes"]), list(entry["crc32"])) for name, entry in content.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return f"{_LIST} is missing or damaged"
    missing = [name for name in names if name not in recorded]
    if missing:
        return f"{', '.join(missing)} not in {_LIST}"
    for name, (size, checksums) in recorded.items():
        path = folder / name
        try:
            actual = path.stat().st_size
            if actual != size:
                return f"{name} has {actual} bytes, expected {size}"
            if _block_checksums(path) != checksums:
                return f"{name} has another checksum than when it was written"
        except OSError as error:
            return f"{name}: {error.strerror}"
    return ""


def _block_checksums(path: Path) -> list[int]:
    def block_checksum(start: int) -> int:
        with path.open("rb") as stream:
            stream.seek(start)
            return zlib.crc32(stream.read(_BLOCK))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(block_checksum, range(0, path.stat().st_size, _BLOCK)))
