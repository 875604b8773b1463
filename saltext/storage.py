"""The one way to write a file that a later start reads: beside its place, then replaced.

Whoever reads such a file finds the old content or the new one, never a part of it, also after a killed process or on a
full disk. A symbolic link is replaced, not followed. Logs are appended to instead.

What is read back is checked: a JSON file for what it has to hold, a table for the number of its rows, which
``rows.json`` in its folder records.
"""

import csv
import io
import json
import os
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
_LONGEST_FIELD = 2**24  # characters; csv's own bound is 128 KiB


@contextmanager
def replacing(path: Path | str, *, durable: bool = False, keep: Path | None = None) -> Iterator[Path]:
    """A new file beside ``path`` to write to, which takes its place when the block ends without an error.

    The new file lies in the same folder, so that replacing is one step on every file system; ``TMPDIR`` plays no part.

    Args:
        path: File to create or replace. Its folder must exist.
        durable: Whether the content is on the disk (``fsync``) before it takes its place: for what cannot be made
            again, such as checkpoints, the state of a run and scores.
        keep: Name in the same folder that the old file gets, if there is one, right before the new one takes its
            place.

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
        if keep is not None:
            with suppress(FileNotFoundError):
                path.replace(keep)
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


def write_figure(path: Path | str, figure: "Figure", dpi: int, **how: Any) -> None:
    """Create or replace a PNG of a figure, see :func:`replacing`; ``how`` is for ``Figure.savefig``."""
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=dpi, **how)


def read_json(path: Path | str, kind: type[dict[str, Any]] | type[list[Any]], keys: Collection[str] = ()) -> Any:
    """What :func:`write_json` wrote.

    Args:
        path: The file.
        kind: ``dict`` or ``list``.
        keys: That a dictionary has to hold.

    Raises:
        DamagedFileError: It is missing, empty, cut, no JSON, or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged: expected JSON, got {_describe_damage(path, error)}") from error
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
    # A process that is killed before this leaves the old number: the table then counts as damaged and is made again.
    write_json(record, {**_recorded_rows(record), path.name: len(table)}, durable=durable)


def check_csv(path: Path | str) -> None:
    """Make sure that a table is as long as it was written.

    Tables without a record are checked for what a cut leaves: a last line without an end, or with too few fields.

    Raises:
        DamagedFileError: It is missing, empty, cut, or no CSV.
    """
    path = Path(path)
    expected = _recorded_rows(path.with_name(_ROWS)).get(path.name)
    try:
        text = path.read_bytes().decode("utf-8")
        if not text:
            raise ValueError("empty")
        fields = _fields(text)
    except (OSError, ValueError, csv.Error) as error:
        raise DamagedFileError(f"{path} is damaged: expected a table, got {_describe_damage(path, error)}") from error
    rows = len(fields) - 1
    if not text.endswith("\n") or len(set(fields)) > 1:
        raise DamagedFileError(f"{path} is damaged: expected a whole table, got {rows} rows, the last of them cut")
    if isinstance(expected, int) and rows != expected:
        raise DamagedFileError(f"{path} is damaged: expected {expected} rows, got {rows}")


def _fields(text: str) -> list[int]:
    """Number of fields of each line of a table, its heading included."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        return [len(row) for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
    finally:
        csv.field_size_limit(before)


def _recorded_rows(record: Path) -> dict[str, Any]:
    """Rows of the tables of a folder; nothing where no record is, or a damaged one."""
    try:
        found: dict[str, Any] = read_json(record, dict)
    except DamagedFileError:
        return {}
    return found


def _describe_damage(path: Path | str, error: Exception) -> str:
    """What was found in the place of a readable file."""
    if isinstance(error, FileNotFoundError):
        return "no file"
    with suppress(OSError):
        if Path(path).stat().st_size == 0:
            return "an empty file"
    return f"a file that cannot be read ({error})"


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
