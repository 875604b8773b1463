"""Documents that can be rendered as Markdown and as one self-contained HTML file."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

from saltext.reporting.grid import Grid, escape_markdown


@dataclass(frozen=True)
class Heading:
    """The title of a section, or of a part of one (level 3)."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

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
    """A drawing: an ``svg`` element (see :func:`saltext.reporting.figures.svg`), and what stands below it.

    Markdown shows ``file``, the name of an image file beside the document, if there is one.
    """

    svg: str
    caption: str = ""
    file: str = ""


@dataclass(frozen=True)
class Figures:
    """Drawings beside each other, as far as there is room."""

    figures: Sequence[Figure]


@dataclass(frozen=True)
class Tile:
    """A small picture: bytes of a JPEG or PNG file, what stands below it, and an alternative text."""

    data: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class PictureGroup:
    """Small pictures that belong together, below a title and an untrusted text to quote (empty for none).

    Markdown shows ``file``, the name of an image file beside the document, if there is one.
    """

    title: str
    text: str
    tiles: Sequence[Tile]
    file: str = ""


@dataclass(frozen=True)
class Pictures:
    """Groups of small pictures, beside each other as far as there is room; only in the HTML file."""

    groups: Sequence[PictureGroup]


Block = Heading | Paragraph | Points | Command | Grid | Figures | Pictures


@dataclass(frozen=True)
class Document:
    """A title and blocks; the HTML file begins with links to its sections.

    Example:
        >>> document = Document("A run", [Heading("Results"), Points([("CC: 0.68", "rough"), ("NSS: 2.1", "")])])
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
    blocks: Sequence[Block]


def markdown(document: Document) -> str:
    """The document as GitHub Markdown, no text interpreted as markup; a note stands for each picture without a file."""
    parts = [f"# {escape_markdown(document.title)}"]
    for block in document.blocks:
        match block:
            case Heading(text, level):
                parts.append(f"{'#' * level} {escape_markdown(text)}")
            case Paragraph(text):
                parts.append(_sentence(text))
            case Points(points):
                marked = ((_sentence(text), escape_markdown(caveat).strip()) for text, caveat in points)
                parts.append("\n".join(f"* {text} *{caveat}*" if caveat else f"* {text}" for text, caveat in marked))
            case Command(text):
                fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)
                parts.append(f"{fence}text\n{text}\n{fence}")  # an indented block would be part of a list before it
            case Grid():
                parts.append(block.markdown())
            case Figures(drawn):
                for figure in drawn:
                    label = re.search('aria-label="(.*?)"', figure.svg)
                    caption = escape_markdown(figure.caption or (unescape(label[1]) if label else ""))
                    caption = caption.replace("]", "\\]")
                    parts.append(f"![{caption}](<{figure.file}>)" if figure.file else f"*{caption}: in the HTML file*")
            case Pictures(groups):
                for group in groups:
                    title = escape_markdown(group.title)
                    shown = f"![{title}](<{group.file}>)" if group.file else f"*{title}: pictures in the HTML file*"
                    parts.append(shown)
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    """A text escaped so that Markdown does not take its beginning for a list, heading or quotation."""
    return re.sub(r"^\s*(\d*)(?=[-+#>=.)])", r"\1\\", escape_markdown(text))


_STYLE, _STACKED = (
    Path(__file__).with_name("document.css").read_text(encoding="utf-8").strip().split("/* Rows as blocks */")
)


def html(document: Document) -> str:
    """The document as one self-contained HTML page: embedded pictures, no scripts, nothing fetched.

    Its style fits light and dark mode, screens of any width, and print.
    """
    style = _STYLE
    # On a screen too narrow for a table, its rows become blocks: the same rules for tables of either width.
    for kind, limit in ((".stack-tablet", "38rem"), (".stack-wide", "61rem")):
        style += f"@media screen and (max-width: {limit}) {{{_STACKED.replace('.stack', kind)}\n}}\n"
    links, body, level = [], [], 1
    for number, block in enumerate(document.blocks):
        match block:
            case Heading(text, level):
                anchor = f' id="section-{number}"' if level == 2 else ""
                links += [f'<li><a href="#section-{number}">{escape(text)}</a></li>'] if anchor else []
                body.append(f"<h{level}{anchor}>{escape(text)}</h{level}>")
            case Paragraph(text):
                body.append(f"<p>{escape(text)}</p>")
            case Points(points, summary):
                small = (f"<small>{escape(caveat)}</small>" if caveat else "" for _, caveat in points)
                items = (f"<li>{escape(text)}{more}</li>" for (text, _), more in zip(points, small, strict=True))
                kind = ' class="summary"' if summary else ""
                body.append(f"<ul{kind}>{''.join(items)}</ul>")
            case Command(text):
                body.append(f"<pre><code>{escape(text)}</code></pre>")
            case Grid():
                body.append(block.html())
            case Figures(drawn):
                captions = (f"<figcaption>{escape(one.caption)}</figcaption>" if one.caption else "" for one in drawn)
                drawings = (f"<figure>{one.svg}{text}</figure>" for one, text in zip(drawn, captions, strict=True))
                body.append(f'<div class="figures">{"".join(drawings)}</div>')
            case Pictures(groups):
                elements = "\n".join(_picture_group_html(group, level + 1) for group in groups)
                body.append(f'<div class="pictures">{elements}</div>')
    contents = f'\n<nav aria-label="Contents"><ol>{"".join(links)}</ol></nav>' if links else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(document.title)}</h1>{contents}</header>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _picture_group_html(group: PictureGroup, level: int) -> str:
    """A group of pictures as an element; its title is a heading of the given level."""
    # bdi: an untrusted text must not change the writing direction of the text around it.
    text = f"<blockquote><bdi>{escape(group.text)}</bdi></blockquote>" if group.text else ""
    tiles = []
    for tile in group.tiles:
        kind = "png" if tile.data.startswith(b"\x89PNG") else "jpeg"
        source = f"data:image/{kind};base64,{base64.b64encode(tile.data).decode('ascii')}"
        caption = f"<figcaption>{escape(tile.caption)}</figcaption>" if tile.caption else ""
        tiles.append(f'<figure><img alt="{escape(tile.alt)}" src="{source}">{caption}</figure>')
    wide = " wide" if len(group.tiles) > 4 else ""  # leaves no room for another group beside it
    title = f"<h{level}>{escape(group.title)}</h{level}>" if group.title else ""
    return f'<div class="group{wide}">{title}{text}<div class="tiles">{"".join(tiles)}</div></div>'
