"""Atomic writing of files: a temporary file in the same folder, then a rename. All files that are read back use it.

A reader finds the old content or the new one, never a part of it, also after a killed process or on a full disk. A
symbolic link is replaced, not followed. Logs are appended to instead.

Files are checked when they are read back: a JSON file for its keys, a table for its number of rows, which
``rows.json`` in its folder records.
"""

import csv
import io
import json
import os
import stat
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saltext.errors import DamagedFileError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_PART = ".part"
_ROWS = "rows.json"
_MAX_FIELD = 2**24  # characters; csv's own limit is 128 KiB
_MAX_TEXT, _MAX_TABLE = 2**20, 2**30  # bytes

MAX_JSON = 2**26
"""Largest JSON file that is read, in bytes: a split of a million names."""


@contextmanager
def replacing(path: Path | str, *, durable: bool = False, keep: Path | None = None) -> Iterator[Path]:
    """A new file to write to, which replaces ``path`` when the block ends without an error.

    The new file is in the same folder, not in ``TMPDIR``, so that the rename is atomic on every file system.

    Args:
        path: File to create or replace. Its folder must exist.
        durable: Flush the content to the disk (``fsync``) before the rename: for files that cannot be computed again,
            such as checkpoints, the state of a run and scores.
        keep: New name, in the same folder, of the old file, if there is one; it is renamed right before the
            replacement.

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
            _fsync(part)
        if keep is not None:
            with suppress(FileNotFoundError):
                path.replace(keep)
        part.replace(path)
        if durable:
            _fsync(path.parent)
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


def write_figure(path: Path | str, figure: "Figure", dpi: int, **how: Any) -> None:
    """Create or replace a PNG of a figure, see :func:`replacing`; ``how`` is for ``Figure.savefig``."""
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=dpi, **how)


def read_text(path: Path | str, most: int = _MAX_TEXT) -> str:
    """The text of a small regular file, which anybody may have written.

    Raises:
        DamagedFileError: The file is missing, is no regular file (reading a pipe would wait forever), is larger than
            ``most`` bytes, or is not UTF-8.
    """
    try:
        return _read_regular(path, most).decode("utf-8")
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"{path} cannot be read: {error}") from error


def _read_regular(path: Path | str, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes; ValueError for any other."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("expected a regular file")
        if status.st_size > most:
            raise ValueError(f"expected at most {most} bytes, got {status.st_size}")
        content = stream.read(most + 1)  # it may have grown, or tell no size, like those of the kernel
    if len(content) > most:
        raise ValueError(f"expected at most {most} bytes, got more")
    return content


def read_json(path: Path | str, kind: type[dict[str, Any]] | type[list[Any]], keys: Collection[str] = ()) -> Any:
    """The content of a file that :func:`write_json` wrote.

    Args:
        path: The file.
        kind: Expected type, ``dict`` or ``list``.
        keys: Required keys of a dictionary.

    Raises:
        DamagedFileError: It is missing, empty, truncated, no JSON, of another type, no regular file, or larger than
            64 MiB.
    """
    try:
        content = json.loads(_read_regular(path, MAX_JSON).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(_unreadable(path, "JSON", error)) from error
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if not isinstance(content, kind) or missing:
        lacks = f" without {', '.join(missing)}" if missing else ""
        raise DamagedFileError(f"{path} is damaged: expected a {kind.__name__}, got a {type(content).__name__}{lacks}")
    return content


def write_csv(
    path: Path | str, table: "pd.DataFrame", *, float_format: str | None = "%.17g", durable: bool = False
) -> None:
    """Create or replace a table as CSV without its index, see :func:`replacing`, and record how many rows it has."""
    path = Path(path)
    with replacing(path, durable=durable) as part:
        table.to_csv(part, index=False, float_format=float_format, lineterminator="\n")
    record = path.with_name(_ROWS)
    # If the process is killed before this, the old number remains: the table counts as damaged and is written again.
    write_json(record, {**_recorded_rows(record), path.name: len(table)}, durable=durable)


def check_csv(path: Path | str) -> None:
    """Check that a table has as many rows as were written.

    Any table is also checked for a truncated last line: one without a line end, or with too few fields.

    Raises:
        DamagedFileError: It is missing, empty, truncated, no CSV, no regular file, or larger than 1 GiB.
    """
    path = Path(path)
    expected = _recorded_rows(path.with_name(_ROWS)).get(path.name)
    try:
        text = _read_regular(path, _MAX_TABLE).decode("utf-8")
        if not text:
            raise ValueError("empty")
        fields_per_line = _count_fields(text)
    except (OSError, ValueError, csv.Error) as error:
        raise DamagedFileError(_unreadable(path, "a table", error)) from error
    rows = len(fields_per_line) - 1
    if not text.endswith("\n") or len(set(fields_per_line)) > 1:
        raise DamagedFileError(f"{path} is damaged: expected a whole table, got {rows} rows, the last of them cut")
    if isinstance(expected, int) and rows != expected:
        raise DamagedFileError(f"{path} is damaged: expected {expected} rows, got {rows}")


def _count_fields(text: str) -> list[int]:
    """Number of fields of each line of a CSV table, its heading included."""
    old_limit = csv.field_size_limit(_MAX_FIELD)
    try:
        return [len(row) for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
    finally:
        csv.field_size_limit(old_limit)


def _recorded_rows(record: Path) -> dict[str, Any]:
    """Name of a table -> its number of rows, of all tables in a folder; empty if the record is missing or damaged."""
    try:
        rows: dict[str, Any] = read_json(record, dict)
    except DamagedFileError:
        return {}
    return rows


def _unreadable(path: Path | str, expected: str, error: Exception) -> str:
    """What is wrong with a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return f"{path} is missing: expected {expected}"
    with suppress(OSError):
        if Path(path).stat().st_size == 0:
            return f"{path} is damaged: expected {expected}, got an empty file"
    return f"{path} is damaged: expected {expected}, got a file that cannot be read ({error})"


def remove_parts(folder: Path | str) -> None:
    """Delete the temporary files of killed processes in a folder and all its sub-folders.

    Only safe where no other process can be writing: in the folder of a run whose lock is held.
    """
    for part in Path(folder).rglob(f".*{_PART}"):
        with suppress(OSError):
            part.unlink()


def _fsync(path: Path) -> None:
    """Wait until the content of a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
