"""Checking many files before anything is done with them, and saying everything that is wrong with them at once."""

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

_SHOWN = 8

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""(iterable, what is done, length) -> the same elements, showing how far it is."""


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
        """The refusal of a file, called by its folder and name unless it is named otherwise."""
        name = "/".join(path.parts[-2:]) if name is None else name
        return cls(error.kind, f"{name} ({error.detail.replace(str(path), path.name)})" if error.detail else name)


@dataclass
class DataReport:
    """Collects what is wrong with a folder, to be told all at once."""

    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, *names: str) -> None:
        """Note that ``names`` suffer from ``kind``; nothing happens without names."""
        if names:
            self.names[kind].extend(map(printable, names))

    def raise_if_any(self, what: str, advice: str) -> None:
        """Raise one DataError with all issues, if there are any."""
        if self.names:
            lines = [f"  {len(names)} {kind}: {_first(names)}" for kind, names in sorted(self.names.items())]
            raise DataError("\n".join([f"{printable(what)} cannot be used:", *lines, advice]))


def is_unicode(name: str) -> bool:
    """Whether a name can be written into tables: one with bytes that are not UTF-8 cannot."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def same_form(name: str) -> str:
    """A name in the one Unicode form (NFC) in which names are compared: a disk or a table may spell it in another."""
    return unicodedata.normalize("NFC", name)


def _first(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(printable, sorted(names)[:_SHOWN])) + rest


def files_by_stem(root: Path, folder: Path, endings: Sequence[str], issues: DataReport) -> dict[str, Path]:
    """The files of a folder by stem (in the form of :func:`same_form`).

    Args:
        root: Of the data set; the folder is called by its place in it.
        folder: Its own files, not those of folders inside.
        endings: That they may have, in small letters.
        issues: Is told of a missing folder, of other entries, and of files that differ in their ending alone.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        missing = not folder.is_dir()
        issues.add("missing folders" if missing else "folders that cannot be read", f"{folder.relative_to(root)}/")
        return {}
    found: dict[str, Path] = {}
    for path in entries:
        if path.name.startswith(".") or path.name in IGNORED_FILES:
            continue
        stem = same_form(path.stem)
        if path.suffix.lower() not in endings:
            issues.add(f"entries of {folder.name}/ that are no {', '.join(endings)} files", path.name)
        elif not is_unicode(stem):
            issues.add("names that are not UTF-8", f"{folder.name}/{path.name}")
        elif stem in found:
            issues.add(f"files of {folder.name}/ that differ in their ending alone", path.name)
        else:
            found[stem] = path
    return found


def in_threads(
    work: Callable[[_Thing], _Result], things: Sequence[_Thing], what: str, track: Track
) -> Iterator[_Result]:
    """``work`` on everything, results in order; Pillow and numpy leave the interpreter free while they decode."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from track(pool.map(work, things), what, len(things))
