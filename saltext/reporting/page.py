"""A report written once and read as Markdown or as one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from saltext.reporting import charts
from saltext.reporting.charts import Chart


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Subheading:
    """The title of a part of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Points:
    """Short statements, one a line."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Command:
    """What to type to get the numbers."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        headings: One a column.
        rows: Each as long as ``headings``.
        numbers: Columns that are aligned to the right.
        marked: Column whose texts are shown as labels, coloured by what they say; None for none.
        strong: (row, column) of texts that stand out.
        grouped: Whether a line separates rows whose first texts differ.

    Raises:
        ValueError: A row of another length.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    marked: int | None = None
    strong: frozenset[tuple[int, int]] = frozenset()
    grouped: bool = False

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.headings)]
        if wrong:
            raise ValueError(f"rows of {len(self.headings)} texts expected, {wrong[0]!r} came")


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report; the HTML file carries a copy of it."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Shot:
    """A small picture that only the HTML file has.

    Attributes:
        jpeg: Its bytes.
        caption: Below it.
        alt: What it shows, for those who cannot see it.
    """

    jpeg: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class Strip:
    """Small pictures that belong together.

    Attributes:
        title: Above them.
        text: A text by a stranger, such as what was read; empty for none.
        shots: The pictures.
    """

    title: str
    text: str
    shots: Sequence[Shot]


@dataclass(frozen=True)
class Strips:
    """Small pictures in groups, beside each other as far as there is room; only in the HTML file."""

    strips: Sequence[Strip]


@dataclass(frozen=True)
class Charts:
    """Charts beside each other, as far as there is room; only in the HTML file."""

    charts: Sequence[Chart]


Block = Heading | Subheading | Paragraph | Points | Command | Grid | Picture | Strips | Charts


@dataclass(frozen=True)
class Report:
    """A title and what follows it.

    Attributes:
        title: Of the page.
        blocks: In order.
        contents: Whether the HTML file begins with links to its sections.
    """

    title: str
    blocks: Sequence[Block]
    contents: bool = False


def markdown(report: Report) -> str:
    """The report as GitHub Markdown; pictures are linked by their names, beside it, what only HTML has is named."""
    return "\n\n".join([f"# {report.title}", *(block_markdown(block) for block in report.blocks)]) + "\n"


def block_markdown(block: Block) -> str:
    """One block as GitHub Markdown, without a line break at its end."""
    match block:
        case Heading(text):
            return f"## {text}"
        case Subheading(text):
            return f"### {text}"
        case Paragraph(text):
            return text
        case Points(texts):
            return "\n".join(f"* {text}" for text in texts)
        case Command(text):
            return "\n".join(f"    {line}" for line in text.splitlines())
        case Grid(headings, rows, numbers):
            rules = ["---:" if column in numbers else "---" for column in range(len(headings))]
            lines = [headings, *(_emphasised(block, place) for place in range(len(rows)))]
            texts = ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]
            return "\n".join([texts[0], "|" + "|".join(rules) + "|", *texts[1:]])
        case Picture(path, caption):
            return f"![{caption}]({path.name})"
        case Strips(strips):
            return "\n".join(f"*{strip.title}: pictures in the HTML file*" for strip in strips)
        case Charts(shown):
            return "\n".join(f"*{chart.summary}: in the HTML file*" for chart in shown)


def _emphasised(grid: Grid, row: int) -> list[str]:
    """The texts of a row; those that stand out are bold."""
    return [f"**{text}**" if (row, column) in grid.strong else text for column, text in enumerate(grid.rows[row])]


_SHORT = 4  # pictures of a group that leaves room for another one beside it
_LONG = 20  # characters of a row's name that may take more room

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8").strip()


def html(report: Report) -> str:
    """The report as one HTML page: pictures inside, no scripts, nothing fetched, light and dark.

    Raises:
        OSError: A picture cannot be read.
    """
    named = {f"section-{place}": block for place, block in enumerate(report.blocks)}
    sections = {name: block.text for name, block in named.items() if isinstance(block, Heading)}
    contents = _contents(sections) if report.contents else ""
    blocks = (_html(block, name) for name, block in named.items())
    body = "\n".join([f"<h1>{escape(report.title)}</h1>{contents}", *blocks])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _contents(sections: Mapping[str, str]) -> str:
    links = "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in sections.items())
    return f'\n<nav aria-label="Contents"><ol>{links}</ol></nav>'


def _html(block: Block, name: str) -> str:
    match block:
        case Heading(text):
            return f'<h2 id="{name}">{escape(text)}</h2>'
        case Subheading(text):
            return f"<h3>{escape(text)}</h3>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Points(texts):
            return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
        case Command(text):
            return f"<pre>{escape(text)}</pre>"
        case Grid():
            return _table(block)
        case Picture(path, caption):
            return _figure("png", path.read_bytes(), caption, caption)
        case Strips(strips):
            return f'<div class="strips">{"".join(_strip(strip) for strip in strips)}</div>'
        case Charts(shown):
            return f'<div class="charts">{"".join(_chart(chart) for chart in shown)}</div>'


def _figure(kind: str, data: bytes, caption: str, alt: str) -> str:
    image = f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode("ascii")}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _strip(strip: Strip) -> str:
    # bdi: a stranger's text must not turn the direction of what stands around it.
    text = f"<blockquote><bdi>{escape(strip.text)}</bdi></blockquote>" if strip.text else ""
    shots = "".join(_figure("jpeg", shot.jpeg, shot.caption, shot.alt) for shot in strip.shots)
    kind = "strip long" if len(strip.shots) > _SHORT else "strip"
    return f'<section class="{kind}"><h4>{escape(strip.title)}</h4>{text}<div class="shots">{shots}</div></section>'


def _chart(chart: Chart) -> str:
    labels = [f'<li class="{charts.style(n)}">{escape(curve.label)}</li>' for n, curve in enumerate(chart.curves)]
    legend = f'<ol class="legend">{"".join(labels)}</ol>' if len(labels) > 1 else ""
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>{charts.svg(chart)}{legend}</figure>"


def _table(grid: Grid) -> str:
    groups = groupby(enumerate(grid.rows), key=lambda line: line[1][0] if grid.grouped else "")
    bodies = ["\n".join(_row(grid, row, texts) for row, texts in lines) for _, lines in groups]
    headings = "".join(
        f'<th scope="col"{_aligned(grid, n)}>{escape(text)}</th>' for n, text in enumerate(grid.headings)
    )
    rows = "\n".join(f"<tbody>\n{body}\n</tbody>" for body in bodies)
    kinds = ["grouped"] * grid.grouped + ["named"] * any(len(row[0]) > _LONG for row in grid.rows)
    # A wide table scrolls by itself; with the keyboard, too.
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(" ".join(grid.headings[:2]))}">'
        f'<table class="{" ".join(kinds)}">\n<thead><tr>{headings}</tr></thead>\n{rows}\n</table></div>'
    )


def _row(grid: Grid, row: int, texts: Sequence[str]) -> str:
    cells = []
    for column, text in enumerate(texts):
        shown = escape(text)
        if column == grid.marked:
            shown = f'<span class="mark mark-{escape(text.split(" ")[0])}">{shown}</span>'
        if (row, column) in grid.strong:
            shown = f"<strong>{shown}</strong>"
        tag, kind = ('th scope="row"', "th") if column == 0 else ("td", "td")
        cells.append(f"<{tag}{_aligned(grid, column)}>{shown}</{kind}>")
    return f"<tr>{''.join(cells)}</tr>"


def _aligned(grid: Grid, column: int) -> str:
    return ' class="number"' if column in grid.numbers else ""
