"""The one reader of CSV tables that people write: fixations, texts, divisions, pictures to predict."""

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
"""A larger table is refused: fixations of so many people belong into a file for each image."""

_SEPARATORS = ",;\t"
_QUOTED = re.compile(r'"[^"]*"')
_IN_NUMBER = re.compile(r"(?<=\d),(?=\d)")


@dataclass(frozen=True)
class Cells:
    """A table as text.

    Attributes:
        heading: The cells of the first row that is not empty.
        rows: Those of the others, without outer white space; one may be shorter than the heading, none longer.
        lines: Where in the file each of ``rows`` begins, counted from 1.
        separator: ``,``, ``;`` or a tab.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    separator: str

    def column_index(self, name: str) -> int | None:
        """Of the column with this heading; of one that differs in capitals alone, if there is no other; or None."""
        same = [index for index, cell in enumerate(self.heading) if cell == name]
        alike = same or [index for index, cell in enumerate(self.heading) if cell.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else None

    def without_heading(self) -> "Cells":
        """The same table where its first row is one like the others."""
        return Cells((), [self.heading, *self.rows], [1, *self.lines], self.separator)

    def column(self, index: int) -> list[str | None]:
        """The cells of a column; None where a row ends before it."""
        return [row[index] if index < len(row) else None for row in self.rows]

    def numbers(self, cells: Iterable[str | None]) -> npt.NDArray[np.float64]:
        """What cells say, NaN where that is no number. In a table with ``;`` a comma may be the decimal point."""
        return np.array([self._number(cell) for cell in cells], np.float64)

    def _number(self, cell: str | None) -> float:
        if cell is None or "_" in cell:
            return math.nan
        try:
            return float(cell.replace(",", ".") if self.separator == ";" else cell)
        except ValueError:
            return math.nan


def read_cells(path: Path) -> Cells:
    """Read a CSV table: UTF-8, cells in quotes or not, separated by what its first row has most of: , ; or a tab.

    Raises:
        InvalidFileError: It is no file, larger than ``MAX_BYTES``, not UTF-8, without a row, or has quotes that do not
            match or a row with more cells than the first one.
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
            separator = _separator(next((line for line in stream if line.strip()), ""))
            stream.seek(0)
            reader = csv.reader(stream, delimiter=separator, skipinitialspace=True, strict=True)
            begins = 1
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    rows.append(cells)
                    lines.append(begins)
                begins = reader.line_num + 1
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


def _separator(first: str) -> str:
    """What most of the first row's cells are separated by; between digits a comma may be a decimal point."""
    unquoted = _QUOTED.sub("", first)
    counted = _IN_NUMBER.sub("", unquoted)
    return max(_SEPARATORS, key=lambda separator: (counted.count(separator), unquoted.count(separator)))
