"""Content digests of a data set's files, computed again only where a file's size or times changed."""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from saltext.storage import write_json

_DIGEST = re.compile(r"[0-9a-f]{32}")


def digest_files(files: Iterable[tuple[str, Path]], root: Path, cache_dir: Path) -> dict[Path, str]:
    """Content digest of every file, cached between runs while a file's size and times stay the same.

    Args:
        files: Kind and path of each; files are recognised by kind and name below ``root``.
        root: Folder of the data set.
        cache_dir: Folder of the file with the digests; if it cannot be written, they are computed again next time.

    Returns:
        Path -> digest.
    """
    root_digest = hashlib.blake2b(str(root.resolve()).encode(), digest_size=8).hexdigest()
    digest_file = cache_dir / f"digests-{root_digest}.json"
    known = _read_known_digests(digest_file)
    inode_of: dict[Path, tuple[int, int, Path | None]] = {}
    digest_of_inode: dict[tuple[int, int, Path | None], str] = {}  # published copies of one image may be hard links
    stamps: dict[str, tuple[Path, list[int]]] = {}
    for kind, path in files:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        name = f"{kind}/{str(path).removeprefix(str(root))}"  # names alone repeat where conditions have folders
        stamps[name] = path, stamp
        inode_of[path] = status.st_dev, status.st_ino, None if status.st_ino else path
        *old_stamp, old_digest = known.get(name, [""])
        if old_stamp == stamp and _DIGEST.fullmatch(old_digest):
            digest_of_inode[inode_of[path]] = old_digest
    missing = {inode: path for path, inode in inode_of.items() if inode not in digest_of_inode}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digest_of_inode.update(zip(missing, pool.map(_digest_file, missing.values()), strict=True))
    digests = {path: digest_of_inode[inode] for path, inode in inode_of.items()}
    current = {name: [*stamp, digests[path]] for name, (path, stamp) in stamps.items()}
    current = known | current  # scoring reads only some of the files
    if current != known:
        with suppress(OSError):  # a read-only folder, or a full disk
            cache_dir.mkdir(parents=True, exist_ok=True)
            write_json(digest_file, {"crc32": _checksum(current), "files": current})
    return digests


def _digest_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _read_known_digests(path: Path) -> dict[str, list[Any]]:
    """Digests that an earlier run wrote; empty where the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files: dict[str, list[Any]] = content["files"]
        return files if content["crc32"] == _checksum(files) else {}
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return {}


def _checksum(files: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(files, sort_keys=True).encode())
