"""Warns of pages with dead links or without what readers and screen readers need; lists links to other sites.

After a build, ``external-links.csv`` in the output folder has a row for every link that leads to another site, with the
page that it is on: they are looked up by hand, since a build needs no network.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

EXTERNAL = "external-links.csv"

_GENERATED = ("_modules", "_static", "_sources")  # folders of pages that Sphinx writes without a source of ours
_LONGEST_DESCRIPTION = 160  # characters that search engines show
_log = logging.getLogger(__name__)


@dataclass
class Page(HTMLParser):
    """What a page has; filled by ``feed``.

    Attributes:
        anchors: Names that links can lead to.
        links: Addresses of its links and pictures.
        unnamed: Addresses of pictures without a text for those who do not see them.
        headings: How many headings of the first level.
        language: Of the page; empty if not given.
        described: Whether it has a description.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    headings: int = 0
    language: str = ""
    described: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        of = {name: value or "" for name, value in attrs}
        self.anchors |= {of[name] for name in ("id", "name") if of.get(name)}
        self.headings += tag == "h1"
        if tag == "html":
            self.language = of.get("lang", "")
        if tag == "meta" and of.get("name") == "description":
            self.described = bool(of.get("content"))
        if tag == "a" and of.get("href"):
            self.links.append(of["href"])
        if tag == "img":
            self.links.append(of["src"])
            if not of.get("alt"):
                self.unnamed.append(of["src"])


@cache
def read(file: Path) -> Page:
    """A page of the site."""
    page = Page()
    page.feed(file.read_text(encoding="utf-8"))
    return page


def pages(folder: Path) -> Iterator[Path]:
    """The pages of a site that have a source of ours."""
    for file in sorted(folder.rglob("*.html")):
        if file.relative_to(folder).parts[0] not in _GENERATED:
            yield file


def problems(folder: Path) -> Iterator[tuple[str, str]]:
    """Everything that is wrong, as page and sentence."""
    for file in pages(folder):
        page, name = read(file), file.relative_to(folder).as_posix()
        if page.headings != 1 and name not in ("search.html", "genindex.html", "py-modindex.html"):
            yield name, f"expected one heading of the first level, got {page.headings}"
        if not page.language:
            yield name, "has no language"
        if not page.described:
            yield name, "has no description"
        yield from ((name, f"{picture} has no alternative text") for picture in page.unnamed)
        yield from ((name, f"{link} leads nowhere") for link in dict.fromkeys(page.links) if _is_dead(file, link))


def _is_dead(file: Path, link: str) -> bool:
    address = urlsplit(link)
    if address.scheme or address.netloc:
        return False
    target = (file.parent / unquote(address.path)).resolve() if address.path else file
    if not target.is_file():
        return True
    anchor = unquote(address.fragment)
    looked_up = anchor and target.suffix == ".html" and "_modules" not in target.parts
    return bool(looked_up) and anchor not in read(target).anchors


def external(folder: Path) -> list[tuple[str, str]]:
    """Page and address of every link to another site, once a page."""
    return [
        (file.relative_to(folder).as_posix(), link)
        for file in pages(folder)
        for link in dict.fromkeys(read(file).links)
        if urlsplit(link).scheme in ("http", "https")
    ]


def _describe(app: Sphinx, name: str, template: str, context: dict[str, str], doctree: nodes.document | None) -> None:
    """Give a page its first sentences as the description that search engines show."""
    first = next(iter(doctree.findall(nodes.paragraph)), None) if doctree else None
    text = " ".join(first.astext().split()) if first else f"saltext: {context.get('title', name)}"
    if len(text) > _LONGEST_DESCRIPTION:
        text = text[:_LONGEST_DESCRIPTION].rpartition(" ")[0] + " …"
    escaped = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    context["metatags"] = f'{context.get("metatags", "")}<meta name="description" content="{escaped}" />\n'


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    read.cache_clear()
    for page, problem in problems(folder):
        _log.warning("%s: %s", page, problem)
    with (folder / EXTERNAL).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("page", "address"), *external(folder)])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("html-page-context", _describe)
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
