"""A report written once and read as Markdown or as one HTML file that needs nothing else."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

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

    Raises:
        ValueError: A row of another length.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    marked: int | None = None

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.headings)]
        if wrong:
            raise ValueError(f"rows of {len(self.headings)} texts expected, {wrong[0]!r} came")


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report; the HTML file carries a copy of it."""

    path: Path
    caption: str


Block = Heading | Paragraph | Points | Command | Grid | Picture


@dataclass(frozen=True)
class Report:
    """A title and what follows it."""

    title: str
    blocks: Sequence[Block]


def markdown(report: Report) -> str:
    """The report as GitHub Markdown; pictures are linked by their names, beside it."""
    return "\n\n".join([f"# {report.title}", *(_markdown(block) for block in report.blocks)]) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {text}"
        case Paragraph(text):
            return text
        case Points(texts):
            return "\n".join(f"* {text}" for text in texts)
        case Command(text):
            return "\n".join(f"    {line}" for line in text.splitlines())
        case Grid(headings, rows, numbers):
            rules = ["---:" if column in numbers else "---" for column in range(len(headings))]
            lines = [headings, *rows]
            texts = ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]
            return "\n".join([texts[0], "|" + "|".join(rules) + "|", *texts[1:]])
        case Picture(path, caption):
            return f"![{caption}]({path.name})"


_STYLE = """
:root { color-scheme: light dark; --text: #1d2126; --page: #ffffff; --rule: #d5d9de; --quiet: #5c6570;
        --good: #0b6b3a; --fair: #7a5b00; --bad: #a3261d; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --page: #15181c; --rule: #3a4149; --quiet: #9aa4af;
          --good: #67cf97; --fair: #e2bd57; --bad: #f28b82; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
       max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid var(--rule); border-radius: 6px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { color: var(--quiet); font-weight: 600; } .number { text-align: right; white-space: nowrap; }
.mark { font-weight: 600; white-space: nowrap; } .mark-within { color: var(--good); }
.mark-covered, .mark-above { color: var(--fair); } .mark-below { color: var(--bad); }
figure { margin: 1.2rem 0; } figcaption { color: var(--quiet); }
img { max-width: 100%; background: #ffffff; border-radius: 6px; }
""".strip()


def html(report: Report) -> str:
    """The report as one HTML page: pictures inside, no scripts, nothing fetched, light and dark.

    Raises:
        OSError: A picture cannot be read.
    """
    body = "\n".join([f"<h1>{escape(report.title)}</h1>", *(_html(block) for block in report.blocks)])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Points(texts):
            return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
        case Command(text):
            return f"<pre>{escape(text)}</pre>"
        case Grid():
            return _table(block)
        case Picture(path, caption):
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
            return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(grid: Grid) -> str:
    def cell(tag: str, column: int, text: str) -> str:
        kind = ' class="number"' if column in grid.numbers else ""
        shown = escape(text)
        if tag == "td" and column == grid.marked:
            shown = f'<span class="mark mark-{escape(text.split(" ")[0])}">{shown}</span>'
        return f"<{tag}{kind}>{shown}</{tag}>"

    def line(tag: str, texts: Sequence[str]) -> str:
        return "<tr>" + "".join(cell(tag, column, text) for column, text in enumerate(texts)) + "</tr>"

    rows = "\n".join(line("td", row) for row in grid.rows)
    return (
        f'<div class="wide"><table>\n<thead>{line("th", grid.headings)}</thead>\n<tbody>\n{rows}\n</tbody>\n'
        "</table></div>"
    )
