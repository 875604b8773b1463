"""The one way to write a file that a later start reads: beside its place, then replaced.

Whoever reads such a file finds the old content or the new one, never a part of it, also after a killed process or on a
full disk. A symbolic link is replaced, not followed. Logs are appended to instead.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PART = ".part"


@contextmanager
def replacing(path: Path | str, *, durable: bool = False) -> Iterator[Path]:
    """A new file beside ``path`` to write to, which takes its place when the block ends without an error.

    The new file lies in the same folder, so that replacing is one step on every file system; ``TMPDIR`` plays no part.

    Args:
        path: File to create or replace. Its folder must exist.
        durable: Whether the content is on the disk (``fsync``) before it takes its place: for what cannot be made
            again, such as checkpoints, the state of a run and scores.

    Yields:
        Path to write to; it has the suffix ``.part`` and does not exist yet.

    Raises:
        OSError: It cannot be written. ``path`` is as before, and nothing is left beside it.

    Example::

        with replacing(folder / "scores.csv", durable=True) as part:
            scores.to_csv(part, index=False)
    """
    path = Path(path)
    part = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:12]}{_PART}")
    try:
        yield part
        if durable:
            _flush(part)
        part.replace(path)
        if durable:
            _flush(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_text(path: Path | str, text: str, *, durable: bool = False) -> None:
    """Create or replace a UTF-8 text file, see :func:`replacing`."""
    with replacing(path, durable=durable) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: Path | str, content: bytes, *, durable: bool = False) -> None:
    """Create or replace a file, see :func:`replacing`."""
    with replacing(path, durable=durable) as part:
        part.write_bytes(content)


def write_json(path: Path | str, value: Any, *, durable: bool = False) -> None:
    """Create or replace a JSON file, see :func:`replacing`."""
    write_text(path, json.dumps(value, indent=1) + "\n", durable=durable)


def remove_parts(folder: Path | str) -> None:
    """Delete what killed processes left beside the files they were writing, in a folder and all below it.

    Only where no other process can be writing: in the folder of a run whose lock is held.
    """
    for part in Path(folder).rglob(f".*{_PART}"):
        with suppress(OSError):
            part.unlink()


def _flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
