"""Files as people name them: literally where that is there, else as a pattern; in any Unicode form and ending's case.

Folders are followed through symbolic links, each folder once, so that links in a circle end.
"""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from saltext.data.report import same_form
from saltext.errors import InvalidFileError

_ANY_FOLDERS = "**"


def matching(pattern: str) -> tuple[Path, list[Path]]:
    """What a pattern with ``*``, ``?``, ``[...]`` and ``**`` (any folders) names.

    A part of it that is there as it is written is no pattern: ``data[1]/*.png`` are the pictures in ``data[1]``.

    Args:
        pattern: A file, a folder, or a pattern of either.

    Returns:
        The folder above everything that can match, and what does, sorted: files, folders, and whatever else lies there,
        but nothing hidden. Where nothing in it is a pattern, its folder and itself if it is there.

    Raises:
        InvalidFileError: A folder cannot be read.
    """
    parts = Path(pattern).parts
    base, fixed = Path(), 0
    while fixed < len(parts) and (there := spelled(base / parts[fixed])) is not None:
        base, fixed = there, fixed + 1
    if fixed == len(parts):
        return base.parent, [base]
    return base, sorted(dict.fromkeys(_expanded(base, parts[fixed:])))


def is_pattern(pattern: str) -> bool:
    """Whether it holds something that :func:`matching` could read as a pattern."""
    return has_magic(pattern)


def spelled(path: Path) -> Path | None:
    """The path as the disk spells it: itself, or the only one that differs in Unicode form and the ending's case alone.

    Returns:
        None if there is none, or several. A link to nothing is there.
    """
    return Spelling().find(path)


class Spelling:
    """:func:`spelled` for many paths: each folder is listed once."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[Path]]] = {}

    def find(self, path: Path) -> Path | None:
        """See :func:`spelled`."""
        try:
            if os.path.lexists(path):
                return path
        except ValueError:  # a zero byte
            return None
        parent = None if path == path.parent else self.find(path.parent)
        alike = [] if parent is None else self._listing(parent).get(_alike(path.name), [])
        return alike[0] if len(alike) == 1 else None

    def _listing(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._listed:
            listed = self._listed.setdefault(folder, {})
            for entry in _entries(folder) if folder.is_dir() else ():
                listed.setdefault(_alike(entry.name), []).append(entry)
        return self._listed[folder]


def folders_below(folder: Path) -> Iterator[Path]:
    """A folder and all below it that are not hidden, also through links, each once: under its own name if it has one.

    Raises:
        InvalidFileError: One of them cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    own, linked = [folder], list[Path]()
    while own or linked:
        current = own.pop() if own else linked.pop(0)
        status = current.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        yield current
        for entry in _entries(current):
            if entry.is_dir() and not entry.name.startswith("."):
                (linked if entry.is_symlink() else own).append(entry)


def _expanded(base: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        yield base
        return
    part, *rest = parts
    if part == _ANY_FOLDERS:
        for folder in folders_below(base) if base.is_dir() else ():
            yield from _expanded(folder, rest or ["*"])
    elif has_magic(part):
        for entry in _entries(base) if base.is_dir() else ():
            if entry.name.startswith(".") <= part.startswith(".") and fnmatchcase(
                same_form(entry.name), same_form(part)
            ):
                yield from _expanded(entry, rest)
    elif (there := spelled(base / part)) is not None:
        yield from _expanded(there, rest)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InvalidFileError("folders that cannot be read", f"{folder}: {error.strerror}") from error


def _alike(name: str) -> str:
    path = Path(name)
    return same_form(path.stem) + path.suffix.lower()
