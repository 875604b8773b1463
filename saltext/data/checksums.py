"""Folders of a cache: complete or not there, and whether their files are still what was written."""

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
    """A folder to write files into, which becomes ``folder`` at the end, with their checksums.

    Safe with several processes: each builds in a folder of its own and renames it; who comes second drops its copy. A
    damaged folder is moved out of the way; who has its files open keeps them.

    Args:
        folder: Named by a digest of all that its files depend on. Its parent must be there.

    Raises:
        OSError: Something cannot be written.
    """
    _remove_abandoned(folder.parent)
    part = folder.with_name(f"{_BUILDING}{folder.name}-{uuid.uuid4().hex}")
    try:
        part.mkdir()
        yield part
        record(part)
        _take_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _take_place(part: Path, folder: Path) -> None:
    """Rename what was built, and what is damaged in its place out of the way; another process may do the same."""
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if not damage(folder, [path.name for path in part.iterdir() if path.name != _LIST]):
            return  # another process was first; its files are the same
        damaged = folder.with_name(f"{_BUILDING}damaged-{uuid.uuid4().hex}")
        folder.rename(damaged)
        part.rename(folder)
        shutil.rmtree(damaged, ignore_errors=True)


def _remove_abandoned(caches: Path) -> None:
    """Drop what builds that were killed left behind."""
    for part in caches.glob(f"{_BUILDING}*"):
        try:
            abandoned = time.time() - part.stat().st_mtime > _ABANDONED_AFTER_S
        except FileNotFoundError:
            continue
        if abandoned:
            shutil.rmtree(part, ignore_errors=True)


def record(folder: Path) -> None:
    """Write down size and checksums (CRC-32 of each block) of every file of a folder, in ``checksums.json`` there."""
    paths = sorted(path for path in folder.iterdir() if path.name != _LIST)
    found = {path.name: {"bytes": path.stat().st_size, "crc32": _checksums(path)} for path in paths}
    write_json(folder / _LIST, found)


def damage(folder: Path, names: Sequence[str]) -> str:
    """What is wrong with a folder that :func:`record` has seen; empty if nothing is. Every byte is read.

    Args:
        folder: See there. It may not be there at all.
        names: Files that it must have.
    """
    try:
        recorded = _read(folder / _LIST)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return f"{_LIST} is missing or damaged"
    missing = [name for name in names if name not in recorded]
    if missing:
        return f"{', '.join(missing)} not in {_LIST}"
    for name, (size, checksums) in recorded.items():
        path = folder / name
        try:
            found = path.stat().st_size
            if found != size:
                return f"{name} has {found} bytes, expected {size}"
            if _checksums(path) != checksums:
                return f"{name} has another checksum than when it was written"
        except OSError as error:
            return f"{name}: {error.strerror}"
    return ""


def _read(path: Path) -> dict[str, tuple[int, list[int]]]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {Path(name).name: (int(entry["bytes"]), list(entry["crc32"])) for name, entry in content.items()}


def _checksums(path: Path) -> list[int]:
    def of_block(start: int) -> int:
        with path.open("rb") as stream:
            stream.seek(start)
            return zlib.crc32(stream.read(_BLOCK))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(of_block, range(0, path.stat().st_size, _BLOCK)))
