"""What is computed once of each image, and kept in a file by the digest of the image's content."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from saltext import storage
from saltext.console import bar
from saltext.data.digests import digest_files
from saltext.errors import DamagedFileError


def computed_once(
    images: Sequence[Path], file: Path, compute: Callable[[Path], Any], check: Callable[[Any], object], description: str
) -> dict[Path, Any]:
    """The result of each image, read from a file or computed now.

    Args:
        images: Image files; at least one.
        file: JSON file of the results, in a folder of caches. Its name says what they depend on besides an image's
            content. It is not written where it cannot be, and computed again where it is damaged.
        compute: Image file -> its result, which JSON can hold.
        check: Raises ValueError, TypeError or KeyError for what is no result.
        description: Text beside the progress bar.

    Returns:
        Path -> result.

    Raises:
        InvalidFileError: From ``compute``: an image cannot be read.
    """
    digests = digest_files((("image", path) for path in images), images[0].parent, file.parent)
    known = _read(file, check)
    missing = {digests[path]: path for path in images if digests[path] not in known}
    for digest, path in bar(missing.items(), description, len(missing)) if missing else ():
        known[digest] = compute(path)
    if missing:
        with suppress(OSError):  # a read-only folder, or a full disk
            file.parent.mkdir(parents=True, exist_ok=True)
            storage.write_json(file, known)
    return {path: known[digests[path]] for path in images}


def _read(file: Path, check: Callable[[Any], object]) -> dict[str, Any]:
    """Content digest -> result; empty where the file is missing or damaged."""
    try:
        known: dict[str, Any] = storage.read_json(file, dict)
        for result in known.values():
            check(result)
    except (OSError, DamagedFileError, ValueError, TypeError, KeyError):
        return {}
    return known
