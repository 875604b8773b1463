"""The pages of the documentation as readers see them."""

import re
from functools import cache

import pages

from tests.conftest import ROOT

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]


@cache
def written(name: str) -> str:
    """A page with what it takes from the package filled in, as on the site.

    Not with the comments of conf/, whose commands would have to be composed one by one.
    """
    text = (ROOT / name).read_text(encoding="utf-8")
    path, _, _ = name.removeprefix("docs/").rpartition(".")
    return text if path == "configuration" else pages.filled(path, text)


def titled(name: str) -> dict[str, str]:
    """The files that a page shows: title -> content of each block of code that has one."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.finditer(r'^```\w+ title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    return {block[1]: block[2] for block in blocks}
