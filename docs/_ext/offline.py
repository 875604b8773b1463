"""Warns of a page that would load something from elsewhere: the documentation is read without a network."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

_LOADED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']((?:https?:)?//[^"']+)""")
_STYLED = re.compile(r"""(?:@import|url\()\s*["']?((?:https?:)?//[^"')]+)""")
_log = logging.getLogger(__name__)


def loaded_from_elsewhere(folder: Path) -> list[tuple[str, str]]:
    """The file and address of everything that pages and style sheets below a folder load from other machines."""
    patterns = {".html": _LOADED, ".css": _STYLED}
    files = (file for file in sorted(folder.rglob("*")) if file.suffix in patterns)
    return [
        (file.relative_to(folder).as_posix(), address)
        for file in files
        for address in patterns[file.suffix].findall(file.read_text(encoding="utf-8"))
    ]


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is None:
        for page, address in loaded_from_elsewhere(Path(app.outdir)):
            _log.warning("%s loads %s; pages have to work without a network", page, address)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
