"""Documents of sections and blocks, rendered as Markdown and as one self-contained HTML file."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

from saltext.reporting.grid import Grid, escape_markdown


@dataclass(frozen=True)
class Heading:
    """The title of a part of a section."""

    text: str


@dataclass(frozen=True)
class Points:
    """Statements, one per line, each with a caveat or an empty text; a ``summary`` are those for the first screen."""

    points: Sequence[tuple[str, str]]
    summary: bool = False


@dataclass(frozen=True)
class Command:
    """The command that produced the numbers."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A drawing: an ``svg`` element, what stands below it, and the name of an image ``file`` that Markdown shows."""

    svg: str
    caption: str = ""
    file: str = ""


@dataclass(frozen=True)
class Tile:
    """A small picture: bytes of a JPEG or PNG file, what stands below it, and an alternative text."""

    data: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class PictureGroup:
    """Rows of small pictures below a title and an untrusted text to quote; ``file`` is as that of a :class:`Figure`.

    Rows follow each other on a line if there is room; on a narrow screen each begins a line, the first of three tiles
    above the other two.
    """

    title: str
    text: str
    rows: Sequence[Sequence[Tile]]
    file: str = ""


Block = str | Heading | Points | Command | Grid | Sequence[Figure | PictureGroup]
"""A paragraph of plain text, or what its class says; figures and pictures stand beside each other if there is room."""

Section = tuple[str, Sequence[Block]]
"""Title and blocks; one without blocks is left out, one without a title continues the page above it."""


@dataclass(frozen=True)
class Document:
    """A title and sections; the HTML file has links to them below its summary.

    Example:
        >>> document = Document("A run", [("Results", [Points([("CC: 0.68", "rough"), ("NSS: 2.1", "")])])])
        >>> print(markdown(document))
        # A run
        <BLANKLINE>
        ## Results
        <BLANKLINE>
        * CC: 0.68 *rough*
        * NSS: 2.1
        <BLANKLINE>
    """

    title: str
    sections: Sequence[Section]


def markdown(document: Document) -> str:
    """The document as GitHub Markdown, no text interpreted as markup; a note stands for each picture without a file."""
    parts = [f"# {escape_markdown(document.title)}"]
    for title, blocks in document.sections:
        parts += [f"## {escape_markdown(title)}"] if title and blocks else []
        for block in blocks:
            match block:
                case str():
                    parts.append(_sentence(block))
                case Heading(text):
                    parts.append(f"### {escape_markdown(text)}")
                case Points(points):
                    caveats = (escape_markdown(caveat).strip() for _, caveat in points)
                    marks = (f" *{caveat}*" if caveat else "" for caveat in caveats)
                    lines = (f"* {_sentence(text)}{mark}" for (text, _), mark in zip(points, marks, strict=True))
                    parts.append("\n".join(lines))
                case Command(text):
                    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)
                    parts.append(f"{fence}text\n{text}\n{fence}")  # an indented block would be part of a list before it
                case Grid():
                    parts.append(block.markdown())
                case _:
                    parts += map(_picture_markdown, block)
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    """A text escaped so that Markdown does not take its beginning for a list, heading or quotation."""
    return re.sub(r"^\s*(\d*)(?=[-+#>=.)])", r"\1\\", escape_markdown(text))


def _picture_markdown(shown: Figure | PictureGroup) -> str:
    if isinstance(shown, PictureGroup):
        name, note = shown.title, "pictures in the HTML file"
    else:
        label = re.search('aria-label="(.*?)"', shown.svg)
        name, note = shown.caption or (unescape(label[1]) if label else ""), "in the HTML file"
    name = escape_markdown(name).replace("]", "\\]")
    return f"![{name}](<{shown.file}>)" if shown.file else f"*{name}: {note}*"


_STYLE = Path(__file__).with_name("document.css").read_text(encoding="utf-8")


def html(document: Document) -> str:
    """The document as one self-contained HTML page: embedded pictures, no scripts, nothing fetched.

    Its style fits light and dark mode, screens of any width, and print.
    """
    links, body = [], []
    opening: list[str] = []
    for number, (title, blocks) in enumerate(document.sections):
        level = 2 if title else 1
        if title and blocks:
            links.append(f'<li><a href="#section-{number}">{escape(title)}</a></li>')
            body.append(f'<h2 id="section-{number}">{escape(title)}</h2>')
        for block in blocks:
            match block:
                case str():
                    body.append(f"<p>{escape(block)}</p>")
                case Heading(text):
                    level = 3
                    body.append(f"<h3>{escape(text)}</h3>")
                case Points(points, summary):
                    small = (f"<small>{escape(caveat)}</small>" if caveat else "" for _, caveat in points)
                    items = (f"<li>{_unbroken(text)}{more}</li>" for (text, _), more in zip(points, small, strict=True))
                    kind = ' class="summary"' if summary else ""
                    (opening if summary else body).append(f"<ul{kind}>{''.join(items)}</ul>")
                case Command(text):
                    body.append(f"<pre><code>{escape(text)}</code></pre>")
                case Grid():
                    body.append(block.html())
                case _:
                    kind = "pictures" if any(isinstance(shown, PictureGroup) for shown in block) else "figures"
                    elements = "\n".join(_picture_html(shown, level + 1) for shown in block)
                    body.append(f'<div class="{kind}">{elements}</div>')
    contents = [f'<nav aria-label="Contents"><ol>{"".join(links)}</ol></nav>'] if links else []
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(document.title)}</h1></header>\n<main>\n"
        + "\n".join([*opening, *contents, *body])
        + "\n</main>\n</body>\n</html>\n"
    )


def _unbroken(text: str) -> str:
    """A text escaped, its intervals, such as (+0.07 to +0.34), kept on one line."""
    return re.sub(r"\([^()\s]+ to [^()\s]+\)", r'<span class="unbroken">\g<0></span>', escape(text))


def _picture_html(shown: Figure | PictureGroup, level: int) -> str:
    """A figure, or a group of pictures whose title is a heading of the given level, as an element."""
    if isinstance(shown, Figure):
        return f"<figure>{shown.svg}{_caption(shown.caption)}</figure>"
    # bdi: an untrusted text must not change the writing direction of the text around it.
    text = f"<blockquote><bdi>{escape(shown.text)}</bdi></blockquote>" if shown.text else ""
    rows = ""
    for tiles in shown.rows:
        figures = ""
        for tile in tiles:
            kind = "png" if tile.data.startswith(b"\x89PNG") else "jpeg"
            source = f"data:image/{kind};base64,{base64.b64encode(tile.data).decode('ascii')}"
            figures += f'<figure><img alt="{escape(tile.alt)}" src="{source}">{_caption(tile.caption)}</figure>'
        rows += f'<div class="row">{figures}</div>'
    wide = " wide" if sum(map(len, shown.rows)) > 4 else ""  # leaves no room for another group beside it
    title = f"<h{level}>{escape(shown.title)}</h{level}>" if shown.title else ""
    return f'<div class="group{wide}">{title}{text}<div class="tiles">{rows}</div></div>'


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""
