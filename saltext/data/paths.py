"""Finding files by name or pattern, in any Unicode form and any case of the ending.

An existing path is taken literally, anything else as a pattern. Symbolic links to folders are followed, each folder
once, so circular links end.
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
    """The paths that match a pattern with ``*``, ``?``, ``[...]`` and ``**`` (any folders).

    A part that exists as it is written is taken literally: ``data[1]/*.png`` are the images in the folder ``data[1]``.

    Args:
        pattern: A file, a folder, or a pattern of either.

    Returns:
        The folder above all possible matches, and the matches, sorted: files, folders and other entries, but no hidden
        ones. For an existing path, its parent and the path itself.

    Raises:
        InvalidFileError: A folder cannot be read.
    """
    parts = Path(pattern).parts
    base, literal = Path(), 0  # the existing path, and the number of parts in it
    while literal < len(parts) and (existing := spelled(base / parts[literal])) is not None:
        base, literal = existing, literal + 1
    if literal == len(parts):
        return base.parent, [base]
    return base, sorted(dict.fromkeys(_matches(base, parts[literal:])))


def spelled(path: Path) -> Path | None:
    """An existing path as it is spelled on the disk: the path itself, or the only one with the same name.

    Names are the same if they differ only in Unicode form and in the case of their ending.

    Returns:
        None if there is no such path, or several. A broken link exists.
    """
    return Spelling().find(path)


class Spelling:
    """:func:`spelled` for many paths; each folder is listed only once."""

    def __init__(self) -> None:
        self._entries_of_folder: dict[Path, dict[str, list[Path]]] = {}

    def find(self, path: Path) -> Path | None:
        """See :func:`spelled`."""
        try:
            if os.path.lexists(path):
                return path
        except ValueError:  # a zero byte
            return None
        parent = None if path == path.parent else self.find(path.parent)
        if parent is None:
            return None
        if parent not in self._entries_of_folder:
            entries = self._entries_of_folder.setdefault(parent, {})
            for entry in _folder_entries(parent) if parent.is_dir() else ():
                entries.setdefault(_comparable_name(entry.name), []).append(entry)
        same_name = self._entries_of_folder[parent].get(_comparable_name(path.name), [])
        return same_name[0] if len(same_name) == 1 else None


def folders_below(folder: Path) -> Iterator[Path]:
    """A folder and all its sub-folders that are not hidden, each once; linked ones under their own name if possible.

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
        for entry in _folder_entries(current):
            if entry.is_dir() and not entry.name.startswith("."):
                (linked if entry.is_symlink() else own).append(entry)


def _matches(base: Path, parts: Sequence[str]) -> Iterator[Path]:
    """The paths below ``base`` that match the parts of a pattern."""
    if not parts:
        yield base
        return
    part, *rest = parts
    if part == _ANY_FOLDERS:
        for folder in folders_below(base) if base.is_dir() else ():
            yield from _matches(folder, rest or ["*"])
    elif has_magic(part):
        for entry in _folder_entries(base) if base.is_dir() else ():
            if entry.name.startswith(".") <= part.startswith(".") and fnmatchcase(
                same_form(entry.name), same_form(part)
            ):
                yield from _matches(entry, rest)
    elif (existing := spelled(base / part)) is not None:
        yield from _matches(existing, rest)


def _folder_entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InvalidFileError("folders that cannot be read", f"{folder}: {error.strerror}") from error


def _comparable_name(name: str) -> str:
    path = Path(name)
    return same_form(path.stem) + path.suffix.lower()
