"""A table of texts, rendered for a terminal, Markdown, HTML and LaTeX. No text in it is interpreted as markup."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
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
_TEXT = 20  # characters of a text column before its texts are wrapped
_PAGE = 125  # characters that fit into the width of a page of 60rem or more
_TABLET, _PHONE = 75, 30  # the same for 38rem and for 20rem


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
        keys: How many of the first columns identify a row. They are repeated where a table is split because it is too
            wide. By default those before the first column of numbers, or the first column if there are no numbers.

    Raises:
        ValueError: A row of another length, or ``keys`` out of range.

    Example:
        >>> grid = Grid(["model", "CC ↑"], [["centre prior", "0.41"], ["ours", "0.68"]], frozenset({1}), title="CC")
        >>> from rich.console import Console
        >>> Console(width=80).print(grid)
        CC
        model         CC ↑
        ──────────────────
        centre prior  0.41
        ours          0.68
        >>> print(grid.markdown())
        **CC**
        <BLANKLINE>
        | model | CC ↑ |
        |---|---:|
        | centre prior | 0.41 |
        | ours | 0.68 |
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

    @property
    def key_columns(self) -> int:
        """How many of the first columns identify a row; see ``keys``."""
        if self.keys is not None:
            return self.keys
        return next((n for n in range(len(self.headings)) if n in self.numbers), 1) or 1

    def terminal(self, width: int | None = None) -> "Group":
        """The table for ``rich``; ``console.print(grid)`` prints it as wide as the console.

        Columns that do not fit into the width go into further blocks below, each with the key columns. Key columns
        wrap where they would take more than half of the width; nothing is cut.

        Args:
            width: Characters per line; None for the terminal's (80 where there is none).
        """
        from rich import box
        from rich.cells import cell_len
        from rich.console import Console, Group
        from rich.table import Table
        from rich.text import Text

        width = width or Console().width
        headings, rows = self._shown()
        natural, widths = [], []
        for column, heading in enumerate(headings):
            cells = max((cell_len(row[column]) for row in rows), default=0)
            word = max(map(cell_len, heading.split()), default=0)
            natural.append(max(cells, cell_len(heading)))
            if column < self.key_columns:
                widths.append(min(natural[-1], width // 2))
            elif column in self.numbers:
                widths.append(min(max(cells, word, min(cell_len(heading), _HEADING)), width // 2))
            else:
                widths.append(min(natural[-1], _TEXT))
        # Keys leave room for the widest of the other columns.
        others = max((w + _GAP for w in widths[self.key_columns :]), default=0)
        while sum(widths[: self.key_columns]) + _GAP * (self.key_columns - 1) + others > width:
            widest = max(range(self.key_columns), key=lambda n: widths[n])
            if widths[widest] <= 1:
                break
            widths[widest] -= 1

        parts: list[Text | Table] = [Text(one_line(self.title), "bold")] if self.title else []
        for columns in self._blocks(widths, width):
            if parts and isinstance(parts[-1], Table):
                parts.append(Text(""))
            block = Table(box=box.HORIZONTALS, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
            left = width - sum(widths[n] for n in columns) - _GAP * (len(columns) - 1)
            for n in columns:
                extra = 0 if n < self.key_columns or n in self.numbers else max(min(natural[n] - widths[n], left), 0)
                left -= extra
                justify: Literal["left", "right"] = "right" if n in self.numbers else "left"
                block.add_column(Text(headings[n], "bold"), width=widths[n] + extra, justify=justify, overflow="fold")
            for group in self._groups(rows):
                for row in group:
                    block.add_row(
                        *(Text(rows[row][n], "bold" if (row, n) in self.strong else "") for n in columns),
                        end_section=row == group[-1],
                    )
            parts.append(block)
        return Group(*parts, *([Text(one_line(self.note))] if self.note else []))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """What ``console.print(grid)`` prints."""
        yield self.terminal(options.max_width)

    def markdown(self) -> str:
        """The table as GitHub Markdown, without a line break at its end."""
        headings, rows = self._shown()
        rules = ["---:" if column in self.numbers else "---" for column in range(len(headings))]
        lines = ["| " + " | ".join(map(escape_markdown, headings)) + " |", "|" + "|".join(rules) + "|"]
        for n, row in enumerate(rows):
            cells = [
                f"**{escape_markdown(text)}**" if (n, column) in self.strong else escape_markdown(text)
                for column, text in enumerate(row)
            ]
            lines.append("| " + " | ".join(cells) + " |")
        parts = [f"**{escape_markdown(self.title)}**"] if self.title else []
        return "\n\n".join([*parts, "\n".join(lines), *([escape_markdown(self.note)] if self.note else [])])

    def html(self) -> str:
        """The table as HTML elements, which the style of :mod:`saltext.reporting.document` lays out.

        Columns that do not fit into the width of a page go into further tables below, each with the key columns. On a
        screen too narrow for a table, its rows become blocks of labelled cells.
        """
        headings, rows = self._shown()
        natural, narrow = [], []
        for column, heading in enumerate(headings):
            widest = max((len(row[column]) for row in rows), default=0)
            parts = heading.split() + [part for row in rows for part in _value_and_interval(row[column])]
            is_number = column in self.numbers
            natural.append(max(widest, len(heading)) if is_number else min(max(widest, len(heading)), _TEXT))
            narrow.append(max(map(len, parts), default=0) if is_number else natural[-1])
        # Intervals stand below their values where there is no room beside them.
        is_high = sum(natural) + _GAP * (len(natural) - 1) > _PAGE
        widths = narrow if is_high else natural
        tables: list[str] = []
        for columns in self._blocks(widths, _PAGE):
            taken = sum(widths[n] + _GAP for n in columns)
            kinds = ["high"] if is_high else []
            kinds += ["stack-wide"] if taken > _TABLET else ["stack-tablet"] if taken > _PHONE else []
            style = f' class="{" ".join(kinds)}"' if kinds else ""
            caption = f"<caption>{escape(one_line(self.title))}</caption>" if self.title and not tables else ""
            name = f' aria-label="{escape(one_line(self.title))}, continued"' if self.title and tables else ""
            # An empty heading is no heading for a screen reader.
            first = "".join(
                f'<th scope="col"{self._html_class(n)}>{escape(headings[n])}</th>' if headings[n] else "<td></td>"
                for n in columns
            )
            bodies = []
            for group in self._groups(rows):
                bodies.append("<tbody>")
                for row in group:
                    cells = [self._html_cell(row, n, rows[row][n], headings[n]) for n in columns]
                    bodies.append(f"<tr>{''.join(cells)}</tr>")
                bodies.append("</tbody>")
            head = f"{caption}\n<thead><tr>{first}</tr></thead>"
            lines = [f'<div class="table"><table{style}{name}>{head}', *bodies, "</table></div>"]
            tables.append("\n".join(lines))
        note = f'\n<p class="note">{escape(one_line(self.note))}</p>' if self.note else ""
        return "\n".join(tables) + note

    def _html_cell(self, row: int, column: int, text: str, heading: str) -> str:
        parts = _value_and_interval(text) if column in self.numbers else [text]
        shown = " ".join(f"<span>{escape(part)}</span>" for part in parts) if len(parts) > 1 else escape(text)
        if (row, column) in self.strong:
            shown = f"<strong>{shown}</strong>"
        if column == 0:
            return f'<th scope="row"{self._html_class(column, text)}>{shown}</th>'
        label = f' data-label="{escape(heading)}"' if column >= self.key_columns else ""
        return f"<td{self._html_class(column, text)}{label}>{shown}</td>"

    def _html_class(self, column: int, text: str = "") -> str:
        """The ``class`` attribute of a cell, with a leading space; empty if it needs none."""
        kinds = ["number"] * (column in self.numbers) + ["key"] * (column < self.key_columns)
        if max(map(len, text.split()), default=0) > _TEXT:
            kinds.append("long")  # a word that may be broken
        return f' class="{" ".join(kinds)}"' if kinds else ""

    def latex(self) -> str:
        r"""The table as a ``tabular`` for booktabs and array, in T1; see :func:`escape_latex`.

        Columns of long texts wrap (``p``). Title and note are comments, since captions are the paper's.
        """
        headings, rows = self._shown()
        wide = [
            column not in self.numbers and max((len(escape_latex(row[column])) for row in rows), default=0) > 35
            for column in range(len(headings))
        ]
        paragraph = f">{{\\raggedright\\arraybackslash}}p{{{0.6 / max(sum(wide), 2):.2f}\\linewidth}}"
        kinds = [paragraph if wide[n] else "r" if n in self.numbers else "l" for n in range(len(headings))]
        lines = [rf"\begin{{tabular}}{{@{{}}{''.join(kinds)}@{{}}}}", r"\toprule"]
        lines.append(" & ".join(_latex_cell(text, wide[n]) for n, text in enumerate(headings)) + r" \\")
        for group in self._groups(rows):
            lines.append(r"\midrule")
            for row in group:
                cells = []
                for column, text in enumerate(rows[row]):
                    shown = _latex_cell(text, wide[column])
                    if column in self.numbers:
                        shown = re.sub(r"(?<![\w.-])-(?=[\d.])", "$-$", shown)
                    cells.append(rf"\textbf{{{shown}}}" if (row, column) in self.strong else shown)
                lines.append(" & ".join(cells) + r" \\")
        comments = [f"% {one_line(text)}" for text in (self.title, self.note) if text]
        return "\n".join([*comments, *lines, r"\bottomrule", r"\end{tabular}"])

    def _shown(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows in one line each, empty cells filled: as every rendering shows them."""
        return [one_line(text) for text in self.headings], [
            [one_line(text) or MISSING for text in row] for row in self.rows
        ]

    def _groups(self, rows: Sequence[Sequence[str]]) -> list[list[int]]:
        """Indices of the rows between each two rules."""
        grouped = groupby(range(len(rows)), key=lambda row: rows[row][0] if self.grouped else "")
        return [list(group) for _, group in grouped]

    def _blocks(self, widths: Sequence[int], room: int) -> list[list[int]]:
        """The columns of each block that fits into ``room`` characters; each begins with the key columns."""
        keys = list(range(self.key_columns))
        blocks, taken = [keys[:]], room
        start = sum(widths[n] + _GAP for n in keys)
        for column in range(len(keys), len(widths)):
            taken += widths[column] + _GAP
            if taken - _GAP > room and blocks[-1] != keys:
                blocks.append(keys[:])
            if blocks[-1] == keys:
                taken = start + widths[column] + _GAP
            blocks[-1].append(column)
        return blocks


def latex_document(grids: Sequence[Grid]) -> str:
    """A complete file for ``pdflatex`` with one table below the other, each with its title and note.

    Debian's texlive-latex-base and texlive-latex-recommended are enough. A table that is larger than the page is scaled
    down.
    """
    wide = any(
        len(g.rows) < 30 and sum(max(map(len, column)) + _GAP for column in zip(*g._shown()[1], strict=True)) > 100
        for g in grids
    )
    parts = [
        r"\documentclass{article}",
        rf"\usepackage[a4paper,margin=2cm{',landscape' if wide else ''}]{{geometry}}",
        r"\usepackage{cmap}",  # texts can be copied from the PDF
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{textcomp,array,booktabs,graphicx}",
        r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}",
        r"\setlength{\parindent}{0pt}",
        r"\hyphenpenalty=10000",
        r"\newsavebox{\wholetable}",
        r"\newcommand{\fitted}{\ifdim\wd\wholetable>\linewidth",
        r"  \sbox{\wholetable}{\resizebox{\linewidth}{!}{\usebox{\wholetable}}}\fi",
        r"  \ifdim\dimexpr\ht\wholetable+\dp\wholetable>0.85\textheight",
        r"  \resizebox*{!}{0.85\textheight}{\usebox{\wholetable}}\else\usebox{\wholetable}\fi}",
        r"\begin{document}",
        r"\raggedright",
    ]
    for grid in grids:
        if grid.title:
            parts.append(rf"\textbf{{{escape_latex(one_line(grid.title), True)}}}\par\smallskip")
        parts += [r"\begin{lrbox}{\wholetable}", grid.latex(), r"\end{lrbox}", r"\fitted\par\smallskip"]
        if grid.note:
            parts.append(rf"{{\footnotesize {escape_latex(one_line(grid.note), True)}\par}}")
        parts.append(r"\bigskip")
    return "\n".join([*parts, r"\end{document}", ""])


def one_line(text: str) -> str:
    """The text with a space for each line break, control character and invalid character."""
    return _CONTROL.sub(" ", text)


def _value_and_interval(text: str) -> list[str]:
    """A value and its interval or error, between which a line may be broken."""
    return re.split(r" (?=[(±])", text)


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
)  # characters that the encoding T1 has beside ASCII
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}", '"': r"\textquotedbl{}", **{c: f"\\{c}" for c in "&%$#_{}"}, "\xa0": "~",
    "–": r"\textendash{}", "—": r"\textemdash{}", "−": "$-$", "±": r"$\pm$", "×": r"$\times$",
    "÷": r"$\div$", "°": r"\textdegree{}", "…": r"\textellipsis{}", "·": r"\textperiodcentered{}",
    "•": r"$\bullet$", "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}", "„": r"\quotedblbase{}",
    "‘": r"\textquoteleft{}", "’": r"\textquoteright{}", "‚": r"\quotesinglbase{}", "«": r"\guillemotleft{}",
    "»": r"\guillemotright{}", "§": r"\textsection{}", "¶": r"\textparagraph{}", "©": r"\textcopyright{}",
    "®": r"\textregistered{}", "™": r"\texttrademark{}", "£": r"\textsterling{}", "€": r"\texteuro{}",
    "µ": r"\textmu{}", "¹": r"\textonesuperior{}", "²": r"\texttwosuperior{}", "³": r"\textthreesuperior{}",
    "½": r"\textonehalf{}", "¼": r"\textonequarter{}", "¾": r"\textthreequarters{}",
    "←": r"$\leftarrow$", "↑": r"$\uparrow$", "→": r"$\rightarrow$", "↓": r"$\downarrow$", "↔": r"$\leftrightarrow$",
    "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$", "∞": r"$\infty$", "√": r"$\surd$",
    "∈": r"$\in$", "∑": r"$\sum$", "∆": r"$\Delta$",
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
for _letter in _GREEK.split():
    _case = "SMALL" if _letter.islower() else "CAPITAL"
    _name = f"GREEK {_case} LETTER {_letter.upper().replace('LAMBDA', 'LAMDA')}"
    _LATEX[unicodedata.lookup(_name)] = f"$\\{_letter}$"
_LATEX |= {"ε": r"$\varepsilon$", "φ": r"$\varphi$", "ς": r"$\varsigma$"}


def escape_latex(text: str, breakable: bool = False) -> str:
    r"""Escape a text so that LaTeX shows it literally, in the encoding T1 with textcomp.

    Args:
        text: One line. Letters of T1 stay, known symbols become commands, and any other character becomes its Unicode
            name in brackets.
        breakable: Whether long words may be broken, without a hyphen.

    Example:
        >>> print(escape_latex("a_b ≤ 5 % of 🙂"))
        a\_b $\leq$ 5 \% of [SLIGHTLY SMILING FACE]
    """
    pieces: list[str] = []
    for word in re.split(r"(\s+)", unicodedata.normalize("NFC", text)):
        for index, letter in enumerate(word):
            if breakable and len(word) > _TEXT and index:
                pieces.append(r"\allowbreak{}")
            if letter in _LATEX:
                pieces.append(_LATEX[letter])
            elif letter.isascii() or letter in _T1:
                pieces.append(letter)
            elif letter.isspace():
                pieces.append(" ")
            else:
                pieces.append(f"[{unicodedata.name(letter, f'U+{ord(letter):04X}')}]")
    return re.sub(r"([-<>,])(?=\1)", r"\1{}", "".join(pieces))  # "--" would become a dash


def _latex_cell(text: str, breakable: bool) -> str:
    shown = escape_latex(text, breakable)
    return f"{{{shown[0]}}}{shown[1:]}" if shown[:1] in ("[", "*") else shown  # an option of \\, otherwise
