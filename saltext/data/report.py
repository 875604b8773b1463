"""Reports of invalid files: all files are checked first, and one error names everything that is wrong."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from saltext.data.files import IGNORED_FILES
from saltext.errors import DataError, InvalidFileError, printable

_MAX_LISTED = 8

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""(iterable, label, length) -> the same elements, with a progress bar."""


class DataIssue(NamedTuple):
    """What is wrong with one file.

    Attributes:
        kind: The same words for all files with this issue.
        name: The file, and details.
    """

    kind: str
    name: str

    @classmethod
    def of(cls, path: Path, error: InvalidFileError, name: str | None = None) -> "DataIssue":
        """The issue of an invalid file, named by its folder and name unless ``name`` is given."""
        name = "/".join(path.parts[-2:]) if name is None else name
        return cls(error.kind, f"{name} ({error.detail.replace(str(path), path.name)})" if error.detail else name)


@dataclass
class DataReport:
    """Collects the issues of a folder, to raise them in one error."""

    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, *names: str) -> None:
        """Add the issue ``kind`` for all ``names``; without names nothing is added."""
        if names:
            self.names[kind].extend(map(printable, names))

    def raise_if_any(self, what: str, advice: str) -> None:
        """Raise one DataError with all issues, if there are any."""
        if self.names:
            lines = []
            for kind, names in sorted(self.names.items()):
                more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
                lines.append(f"  {kind} ({len(names)}): {', '.join(map(printable, sorted(names)[:_MAX_LISTED]))}{more}")
            raise DataError("\n".join([f"{printable(what)} cannot be used:", *lines, advice]))


def is_unicode(name: str) -> bool:
    """Whether a file name can be written into tables: a name with bytes that are not UTF-8 cannot."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def same_form(name: str) -> str:
    """A name in Unicode form NFC, in which names are compared; disks and tables may use another form."""
    return unicodedata.normalize("NFC", name)


def files_by_stem(root: Path, folder: Path, endings: Sequence[str], issues: DataReport) -> dict[str, Path]:
    """The files of a folder by stem (in the form of :func:`same_form`).

    Args:
        root: Folder of the data set; issues name ``folder`` relative to it.
        folder: The folder; files in its sub-folders are not included.
        endings: Valid endings, in lower case.
        issues: A missing folder, other entries, and files that differ only in their ending are added to it.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        missing = not folder.is_dir()
        issues.add("missing folders" if missing else "folders that cannot be read", f"{folder.relative_to(root)}/")
        return {}
    files: dict[str, Path] = {}
    for path in entries:
        if path.name.startswith(".") or path.name in IGNORED_FILES:
            continue
        stem = same_form(path.stem)
        if path.suffix.lower() not in endings:
            issues.add(f"entries of {folder.name}/ that are not {', '.join(endings)} files", path.name)
        elif not is_unicode(stem):
            issues.add("names that are not UTF-8", f"{folder.name}/{path.name}")
        elif stem in files:
            issues.add(f"files of {folder.name}/ that differ in their ending alone", path.name)
        else:
            files[stem] = path
    return files


def in_threads(
    work: Callable[[_Thing], _Result], things: Sequence[_Thing], what: str, track: Track
) -> Iterator[_Result]:
    """Apply ``work`` to all ``things`` in threads, results in order; Pillow and numpy release the GIL in decoding."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from track(pool.map(work, things), what, len(things))
