"""Reading of hand-written CSV tables: fixations, texts, splits, images to predict."""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saltext.errors import InvalidFileError
from saltext.images import check_file, reason

MAX_BYTES = 128 * 2**20
"""Maximum size of a table: more fixations belong in one file per image."""

_SEPARATORS = ",;\t"
_QUOTED = re.compile(r'"[^"]*"')
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d)")


@dataclass(frozen=True)
class Cells:
    """A table as text.

    Attributes:
        heading: Cells of the first row that is not empty.
        rows: Cells of the other rows, without outer white space; a row may be shorter than the heading, none is longer.
        lines: Line of the file, counted from 1, in which each of ``rows`` begins.
        separator: ``,``, ``;`` or a tab.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    separator: str

    def column_index(self, name: str) -> int | None:
        """Index of the column with this heading, or else of the only one that differs in case; None without one."""
        same = [index for index, cell in enumerate(self.heading) if cell == name]
        alike = same or [index for index, cell in enumerate(self.heading) if cell.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else None

    def without_heading(self) -> "Cells":
        """The same table, with its first row as an ordinary row."""
        return Cells((), [self.heading, *self.rows], [1, *self.lines], self.separator)

    def column(self, index: int) -> list[str | None]:
        """The cells of a column; None where a row ends before it."""
        return [row[index] if index < len(row) else None for row in self.rows]

    def numbers(self, cells: Iterable[str | None]) -> npt.NDArray[np.float64]:
        """Cells as numbers, NaN where they are none. In a table with ``;`` a comma may be the decimal point."""

        def parse(cell: str | None) -> float:
            if cell is None or "_" in cell:
                return math.nan
            try:
                return float(cell.replace(",", ".") if self.separator == ";" else cell)
            except ValueError:
                return math.nan

        return np.array([parse(cell) for cell in cells], np.float64)


def read_cells(path: Path) -> Cells:
    """Read a CSV table: UTF-8, with or without quotes; the separator is the most frequent of , ; and tab in row 1.

    Raises:
        InvalidFileError: It is no file, larger than ``MAX_BYTES``, not UTF-8, without a row, or has unbalanced quotes
            or a row with more cells than the first one.
    """
    kind = "tables that cannot be read"
    try:
        check_file(path)
    except InvalidFileError as error:
        raise InvalidFileError(kind, error) from error
    if path.stat().st_size > MAX_BYTES:
        raise InvalidFileError(f"tables of more than {MAX_BYTES // 2**20} MiB")
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        # newline="" as csv asks for: line breaks inside quotes belong to the text.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            unquoted = _QUOTED.sub("", next((line for line in stream if line.strip()), ""))
            counted = _COMMA_IN_NUMBER.sub("", unquoted)  # between digits a comma may be a decimal point
            separator = max(_SEPARATORS, key=lambda mark: (counted.count(mark), unquoted.count(mark)))
            stream.seek(0)
            reader = csv.reader(stream, delimiter=separator, skipinitialspace=True, strict=True)
            first_line = 1
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    rows.append(cells)
                    lines.append(first_line)
                first_line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise InvalidFileError(kind, f"it is not UTF-8: {error.reason} at byte {error.start}") from error
    except (OSError, ValueError, csv.Error) as error:
        raise InvalidFileError(kind, reason(error)) from error
    if not rows:
        raise InvalidFileError(kind, "it has no rows")
    width = len(rows[0])
    long = [line for row, line in zip(rows, lines, strict=True) if any(row[width:])]
    if long:
        raise InvalidFileError(
            kind,
            f"{len(long)} rows have more cells than the {width} of the first, the first of them at line {long[0]}; "
            "a text that holds the separator belongs in quotes",
        )
    rows = [row[:width] for row in rows]
    return Cells(rows[0], rows[1:], lines[1:], separator)
