"""A table of texts, rendered for a terminal, Markdown, HTML and LaTeX. No text in it is interpreted as markup."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderResult

MISSING = "–"
"""Shown in an empty cell."""

_CONTROL = re.compile(r"\r\n|[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_GAP = 2  # characters between two columns
_HEADING = 12  # a heading of at most so many characters is not broken
_TEXT, _PARAGRAPH = 20, 40  # characters of a text column before its texts are wrapped; in LaTeX
_PAGE, _PHONE = 162, 30  # characters that fit into the width of a page of 61rem, and of one of 20rem
_PORTRAIT, _LANDSCAPE = 120, 175  # the same for A4 in footnotesize


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        headings: One per column; may be empty texts.
        rows: Each as long as ``headings``. Empty cells are shown as ``–``, line breaks as spaces.
        numbers: Indices of the columns that are aligned to the right.
        strong: (row, column) of cells in bold.
        grouped: Whether a rule separates rows whose first cells differ.
        title: Above the table; empty for none.
        note: Below the table; empty for none.
        keys: How many of the first columns identify a row, and are repeated where a table is too wide. By default those
            before the first column of numbers, or the first column.

    Raises:
        ValueError: A row of another length, or ``keys`` out of range.

    Example:
        >>> from rich.console import Console
        >>> grid = Grid(["model", "CC ↑"], [["centre prior", "0.41"], ["ours", "0.68"]], frozenset({1}), title="CC")
        >>> Console(width=80).print(grid)
        CC
        model         CC ↑
        ──────────────────
        centre prior  0.41
        ours          0.68
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    strong: frozenset[tuple[int, int]] = frozenset()
    grouped: bool = False
    title: str = ""
    note: str = ""
    keys: int | None = None

    def __post_init__(self) -> None:
        wrong = [list(row) for row in self.rows if len(row) != len(self.headings)]
        if wrong:
            raise ValueError(f"expected rows of {len(self.headings)} texts, got {wrong[0]!r}")
        if self.keys is not None and not 0 < self.keys <= len(self.headings):
            raise ValueError(f"expected 1 to {len(self.headings)} key columns, got {self.keys}")
        set_field = partial(object.__setattr__, self)  # of a frozen dataclass: the texts as every rendering shows them
        set_field("headings", [one_line(text) for text in self.headings])
        set_field("rows", [[one_line(text) or MISSING for text in row] for row in self.rows])
        set_field("title", one_line(self.title))
        set_field("note", one_line(self.note))

    @property
    def key_columns(self) -> int:
        """How many of the first columns identify a row; see ``keys``."""
        if self.keys is not None:
            return self.keys
        return next((n for n in range(len(self.headings)) if n in self.numbers), 1) or 1

    def terminal(self, width: int | None = None) -> "Group":
        """The table for ``rich``; ``console.print(grid)`` prints it as wide as the console (80 where there is none).

        Columns that do not fit into the width go into further blocks below, each with the key columns. Key columns
        wrap where they would take more than half of the width; nothing is cut.
        """
        from rich import box
        from rich.cells import cell_len
        from rich.console import Console, Group
        from rich.table import Table
        from rich.text import Text

        width, keys = width or Console().width, self.key_columns
        columns = list(zip(self.headings, *self.rows, strict=True))
        natural = [max(map(cell_len, column)) for column in columns]
        widths = [min(size, width // 2 if n < keys else _TEXT) for n, size in enumerate(natural)]
        for n in (n for n in self.numbers if n >= keys):
            heading, *cells = map(cell_len, columns[n])
            words = map(cell_len, self.headings[n].split())
            widths[n] = min(max([min(heading, _HEADING), *words, *cells]), width // 2)
        # Keys leave room for the widest of the other columns; the shortest takes its share first.
        room = width + _GAP - max((size + _GAP for size in widths[keys:]), default=0)
        for index, n in enumerate(sorted(range(keys), key=widths.__getitem__)):
            widths[n] = max(min(widths[n], room // (keys - index) - _GAP), 1)
            room -= widths[n] + _GAP

        parts: list[Text | Table] = [Text(self.title, "bold")] if self.title else []
        for block in self._blocks(widths, width):
            if parts and isinstance(parts[-1], Table):
                parts.append(Text(""))
            table = Table(box=box.HORIZONTALS, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
            left = width - sum(widths[n] + _GAP for n in block) + _GAP
            for n in block:
                extra = 0 if n < keys or n in self.numbers else max(min(natural[n] - widths[n], left), 0)
                left -= extra
                justify: Literal["left", "right"] = "right" if n in self.numbers else "left"
                heading_text = Text(self.headings[n], "bold")
                table.add_column(heading_text, width=widths[n] + extra, justify=justify, overflow="fold")
            for group in self._groups():
                for row in group:
                    texts = (Text(self.rows[row][n], "bold" if (row, n) in self.strong else "") for n in block)
                    table.add_row(*texts, end_section=row == group[-1])
            parts.append(table)
        return Group(*parts, *([Text(self.note)] if self.note else []))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """What ``console.print(grid)`` prints."""
        yield self.terminal(options.max_width)

    def markdown(self) -> str:
        """The table as GitHub Markdown, without a line break at its end."""
        rules = ["---:" if n in self.numbers else "---" for n in range(len(self.headings))]
        lines = [f"| {' | '.join(map(escape_markdown, self.headings))} |", f"|{'|'.join(rules)}|"]
        for index, row in enumerate(self.rows):
            bold = ["**" if (index, n) in self.strong else "" for n in range(len(row))]
            cells = [f"{mark}{escape_markdown(text)}{mark}" for mark, text in zip(bold, row, strict=True)]
            lines.append(f"| {' | '.join(cells)} |")
        title = f"**{escape_markdown(self.title)}**" if self.title else ""
        return "\n\n".join(filter(None, [title, "\n".join(lines), escape_markdown(self.note)]))

    def html(self) -> str:
        """The table as HTML elements, which the style of :mod:`saltext.reporting.document` lays out.

        Columns that do not fit into the width of a page go into further tables below, each with the key columns. On a
        narrower screen a table scrolls inside its box, which the keyboard reaches.
        """
        widths = self._widths(_TEXT)
        tables: list[str] = []
        for block in self._blocks(widths, _PAGE):
            name = f"{self.title or 'Table'}{', continued' if tables else ''}"
            scrolls = sum(widths[n] + _GAP for n in block) > _PHONE
            attributes = f' tabindex="0" role="group" aria-label="{escape(name)}"' if scrolls else ""
            caption = f"<caption>{escape(self.title)}</caption>" if self.title and not tables else ""
            lines = [f'<div class="table"{attributes}><table>{caption}']
            lines.append(f"<thead>{self._html_row(None, block)}</thead>")
            for group in self._groups():
                lines += ["<tbody>", *(self._html_row(row, block) for row in group), "</tbody>"]
            tables.append("\n".join([*lines, "</table></div>"]))
        note = [f'<p class="note">{escape(self.note)}</p>'] if self.note else []
        return "\n".join([*tables, *note])

    def _html_row(self, row: int | None, block: Sequence[int]) -> str:
        """A row of the body, or that of the headings (None), as an element."""
        cells = []
        for n in block:
            text = self.headings[n] if row is None else self.rows[row][n]
            kinds = ["number"] * (n in self.numbers) + ["key"] * (n < self.key_columns)
            kinds += ["long"] * (max(map(len, text.split()), default=0) > _TEXT)  # a word that may be broken
            parts = _value_and_interval(text) if row is not None and n in self.numbers else [text]
            shown = " ".join(f"<span>{escape(part)}</span>" for part in parts) if len(parts) > 1 else escape(text)
            shown = f"<strong>{shown}</strong>" if (row, n) in self.strong else shown
            # An empty heading is no heading for a screen reader.
            scope = ("col" if text else "") if row is None else "row" if n == 0 else ""
            tag, attributes = ("th", f' scope="{scope}"') if scope else ("td", "")
            attributes += f' class="{" ".join(kinds)}"' if kinds else ""
            cells.append(f"<{tag}{attributes}>{shown}</{tag}>")
        return f"<tr>{''.join(cells)}</tr>"

    def latex(self) -> str:
        r"""The table as a ``tabular`` for booktabs and array, in T1; title and note are comments, not a caption."""
        comments = [f"% {text}" for text in (self.title, self.note) if text]
        return "\n".join([*comments, self._latex(range(len(self.headings)), range(len(self.rows)))])

    def _latex(self, block: Sequence[int], shown: Sequence[int]) -> str:
        """Some columns and rows as a ``tabular``; a key that is that of the row above is not repeated."""
        texts = [n for n in block if n not in self.numbers]
        wide = {n for n in texts if any(len(escape_latex(row[n])) > _PARAGRAPH for row in self.rows)}
        paragraph = rf">{{\raggedright\arraybackslash}}p{{{_PARAGRAPH // 2}em}}"
        kinds = "".join(paragraph if n in wide else "r" if n in self.numbers else "l" for n in block)
        lines = [rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}", r"\toprule"]
        lines.append(" & ".join(_latex_cell(self.headings[n], n in wide) for n in block) + r" \\")
        for rows in ([row for row in group if row in shown] for group in self._groups()):
            lines += [r"\midrule"] if rows else []
            for above, row in zip([None, *rows], rows, strict=False):
                cells, below = [], []
                for n in block:
                    parts = _value_and_interval(self.rows[row][n]) if n in self.numbers else [self.rows[row][n]]
                    text, *interval = (_latex_cell(part, n in wide, n in self.numbers) for part in parts)
                    is_known = above is not None and self.rows[above][: n + 1] == self.rows[row][: n + 1]
                    text = "" if is_known and n < self.key_columns else text
                    cells.append(rf"\textbf{{{text}}}" if (row, n) in self.strong else text)
                    below.append(rf"\footnotesize {interval[0]}" if interval else "")
                lines.append(" & ".join(cells) + r" \\")
                lines += [" & ".join(below) + r" \\[2pt]"] if any(below) else []
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    def _groups(self) -> list[list[int]]:
        """Indices of the rows between each two rules."""
        grouped = groupby(range(len(self.rows)), key=lambda row: self.rows[row][0] if self.grouped else "")
        return [list(group) for _, group in grouped]

    def _widths(self, text: int) -> list[int]:
        """Characters of each column of a page, where intervals stand below their values and texts wrap at ``text``."""
        widths = []
        for n, (heading, *cells) in enumerate(zip(self.headings, *self.rows, strict=True)):
            parts = [*heading.split(), *(part for cell in cells for part in _value_and_interval(cell))]
            longest = max(map(len, parts if n in self.numbers else [heading, *cells]), default=0)
            widths.append(longest if n in self.numbers else min(longest, text))
        return widths

    def _blocks(self, widths: Sequence[int], room: int) -> list[list[int]]:
        """The columns of each block that fits into ``room`` characters; each begins with the key columns."""
        keys = list(range(self.key_columns))
        start = sum(widths[n] + _GAP for n in keys)
        blocks, taken = [keys[:]], start
        for column in range(len(keys), len(widths)):
            if blocks[-1] != keys and taken + widths[column] > room:
                blocks.append(keys[:])
                taken = start
            blocks[-1].append(column)
            taken += widths[column] + _GAP
        return blocks


def latex_document(grids: Sequence[Grid]) -> str:
    """A complete file for ``pdflatex`` (Debian's texlive-latex-recommended) with titles and notes.

    Columns and rows that do not fit on the page follow in further tables, with the key columns.
    """
    widths = [grid._widths(_PARAGRAPH) for grid in grids]
    is_wide = any(sum(width + _GAP for width in of_grid) > _PORTRAIT for of_grid in widths)
    room, longest = (_LANDSCAPE, 22) if is_wide else (_PORTRAIT, 35)
    parts = [
        r"\documentclass{article}",
        rf"\usepackage[a4paper,margin=2cm{',landscape' if is_wide else ''}]{{geometry}}",
        r"\usepackage{cmap}",  # texts can be copied from the PDF
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{textcomp,array,booktabs}",
        r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}",
        r"\setlength{\parindent}{0pt}\setlength{\tabcolsep}{4pt}",
        r"\hyphenpenalty=10000",
        r"\begin{document}",
        r"\raggedright\footnotesize",
    ]
    for grid, of_grid in zip(grids, widths, strict=True):
        if grid.title:
            parts.append(rf"{{\normalsize\textbf{{{escape_latex(grid.title, True)}}}\par}}\smallskip")
        pages: list[list[int]] = [[]]
        for group in grid._groups():
            for part in (group[start : start + longest] for start in range(0, len(group), longest)):
                pages += [[]] if len(pages[-1]) + len(part) > longest else []
                pages[-1] += part
        for block in grid._blocks(of_grid, room):
            parts += [rf"{grid._latex(block, page)}\par\medskip" for page in pages]
        if grid.note:
            parts.append(rf"{escape_latex(grid.note, True)}\par")
        parts.append(r"\bigskip")
    return "\n".join([*parts, r"\end{document}", ""])


def one_line(text: str) -> str:
    """The text with a space for each line break, control character and invalid character."""
    return _CONTROL.sub(" ", text)


def _value_and_interval(text: str) -> list[str]:
    """A value and, where it has one, its interval or error, which stands below it on a page and in LaTeX."""
    return re.split(r" (?=[(±])", text, maxsplit=1)


_UNDERSCORES = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")  # not those inside a word
_MARKDOWN = re.compile(r"[\\`*<\[|~$]|&(?=#?\w+;)")


def escape_markdown(text: str) -> str:
    r"""Escape a text so that GitHub's Markdown shows it literally, in one line, also inside a table.

    Example:
        >>> print(escape_markdown("non_salient, *a|b*, <b> [x]"))
        non_salient, \*a\|b\*, \<b> \[x]
    """
    shown = _MARKDOWN.sub(r"\\\g<0>", one_line(text))
    return _UNDERSCORES.sub(lambda found: found[0].replace("_", r"\_"), shown)


_T1 = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"
    "ĂăĄąĆćČčĎďĐđĘęĚěĞğĹĺĽľŁłŃńŇňŊŋŐőŔŕŘřŚśŠšŞşŤťŢţŮůŰűŸŹźŽžŻżİıŒœ¡¿"
    "–—±×÷°…·•“”„‘’‚«»§¶©®™£€µ¹²³½¼¾←↑→↓√"
)  # characters that pdflatex with T1 and textcomp sets as they are, beside ASCII
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}", '"': r"\textquotedbl{}", **{c: f"\\{c}" for c in "&%$#_{}"}, "\xa0": "~",
    "−": "$-$", "↔": r"$\leftrightarrow$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$",
    "∞": r"$\infty$", "ε": r"$\varepsilon$", "φ": r"$\varphi$", "ς": r"$\varsigma$",
}  # fmt: skip
_GREEK = {
    "alpha", "beta", "gamma", "delta", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "pi", "rho",
    "sigma", "tau", "upsilon", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma",
    "Upsilon", "Phi", "Psi", "Omega",
}  # fmt: skip  # letters for which LaTeX has a command


def escape_latex(text: str, breakable: bool = False) -> str:
    r"""Escape one line so that LaTeX shows it literally, in the encoding T1 with textcomp.

    Any character that pdflatex does not know becomes its Unicode name in brackets. Where it is ``breakable``, long
    words may be broken, without a hyphen.

    Example:
        >>> print(escape_latex("a_b ≤ 5 % of 🙂"))
        a\_b $\leq$ 5 \% of [SLIGHTLY SMILING FACE]
    """
    pieces: list[str] = []
    for word in re.split(r"(\s+)", unicodedata.normalize("NFC", text)):
        for index, letter in enumerate(word):
            if breakable and len(word) > _TEXT and index:
                pieces.append(r"\allowbreak{}")
            if letter.isascii() or letter in _T1 or letter in _LATEX:
                pieces.append(_LATEX.get(letter, letter))
                continue
            name = unicodedata.name(letter, f"U+{ord(letter):04X}")
            greek = re.sub("^GREEK (CAPITAL|SMALL) LETTER ", "", name).replace("LAMDA", "LAMBDA")
            greek = greek.capitalize() if letter.isupper() else greek.lower()
            pieces.append(f"$\\{greek}$" if greek in _GREEK else " " if letter.isspace() else f"[{name}]")
    return re.sub(r"([-<>,])(?=\1)", r"\1{}", "".join(pieces))  # "--" would become a dash


def _latex_cell(text: str, breakable: bool, is_number: bool = False) -> str:
    shown = escape_latex(text, breakable)
    if is_number:
        shown = re.sub(r"(?<![\w.-])-(?=[\d.])", "$-$", shown)
    return f"{{{shown[0]}}}{shown[1:]}" if shown[:1] in ("[", "*") else shown  # an option of \\, otherwise
