import doctest
import re
import shutil
import subprocess
import unicodedata
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console

from saltext.reporting import grid as module
from saltext.reporting.grid import Grid, escape_latex, escape_markdown, latex_document

TEXTS = {
    "brackets": "[x]",
    "markup of rich": "[bold]x[/bold] :smile:",
    "bar": "a|b || c",
    "tag": "<b>x</b><!-- y -->",
    "entity": "&amp; &#35; a & b",
    "underscores": "_x_ __y__ _",
    "name": "non_salient a__b",
    "asterisks": "*x* **y**",
    "backticks": "`x` ``y",
    "percent": "50 % of #3",
    "dollars": "$x$ $$",
    "tilde": "~x~ ~~y~~",
    "caret": "x^2 ^",
    "backslash": r"\ \\ \textbf{x} \| a\|b",
    "braces": "{} {x",
    "dashes": "a--b---c <<d>> ,,e '' \"f\"",
    "link": "[a](b) ![c](d)",
    "emoji": "👩‍👩‍👧 and 🇨🇳",
    "right to left": "שלום عالم",
    "wide": "画像 and 텍스트",
    "letters": "Zürich, Łódź, naïve, ½",
    "long": ("word " * 40).strip(),
    "long without a space": "x" * 200,
    "newline": "first\nsecond\r\nthird",
}
NAMES = list(TEXTS)


def table(text: str) -> Grid:
    return Grid(["key", "text", "CC"], [[f"k{text}", text, "42"], ["other", "b", "61"]], frozenset({2}))


def printed(grid: Grid, width: int) -> list[str]:
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(grid)
    return captured.get().splitlines()


def cells(lines: list[str], headings: list[str]) -> dict[str, str]:
    """Heading -> everything below it in the blocks of a printed table, without spaces."""
    found = dict.fromkeys(headings, "")
    starts: dict[str, int] = {}
    for line, after in pairwise([*lines, ""]):
        if after and set(after) == {"─"}:
            starts = {heading: line.index(heading) for heading in headings if heading in line.split()}
        elif set(line) != {"─"}:
            for heading, start in starts.items():
                end = min((place for place in starts.values() if place > start), default=10**6)
                piece = "".join(c for n, c in enumerate(line) if start <= cell_len(line[:n]) < end)
                found[heading] += "".join(piece.split())
    return found


class Cells(HTMLParser):
    """The texts of a table's body, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.is_open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.is_open = True

    def handle_endtag(self, tag: str) -> None:
        self.is_open = self.is_open and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.is_open:
            self.rows[-1][-1] += data


def rendered_markdown(text: str) -> list[str]:
    """What GitHub shows in the cells of a table's body; nothing but texts."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    found = []
    for opened, inline in pairwise(tokens):
        if opened.type == "td_open":
            assert {child.type for child in inline.children or []} <= {"text"}, inline
            found.append("".join(child.content for child in inline.children or []))
    return found


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Text of a PDF with every text between its number and "end"; as TeX set it, without spaces."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-base, texlive-latex-recommended)")
    folder = tmp_path_factory.mktemp("latex")
    keyed = [[f"k{n}k", text, "0.5", f"e{n}e"] for n, text in enumerate(TEXTS.values())]
    grids = [Grid(["key", "text", "CC", "end"], [row], frozenset({2}), title=row[1], note=row[1]) for row in keyed]
    symbols = "± – — − × ÷ ↑ ↓ → “ ” ‘ ’ ≤ ≥ ≈ ° … · • § µ α β λ σ Δ Ω ε € ²"
    grids.append(Grid(["symbols", "-0.5"], [[symbols, "-0.5"]], frozenset({1}), strong=frozenset({(0, 1)})))
    (folder / "x.tex").write_text(latex_document(grids), encoding="utf-8")
    ran = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"],
        cwd=folder,
        capture_output=True,
        timeout=300,
    )
    log = (folder / "x.log").read_text(encoding="utf-8", errors="replace")
    assert ran.returncode == 0, log[-2000:]
    assert not re.search(r"Missing character|[Uu]ndefined|^!|Overfull", log, re.MULTILINE)
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils)")
    text = subprocess.run(["pdftotext", "-raw", "x.pdf", "-"], cwd=folder, capture_output=True, check=True).stdout
    return unicodedata.normalize("NFKC", "".join(text.decode().split()))


@pytest.mark.parametrize("name", NAMES)
def test_any_text_survives_on_a_terminal(name: str) -> None:
    text = TEXTS[name]
    for width in (80, 120, 200):
        lines = printed(table(text), width)
        assert max(map(cell_len, lines)) <= width
        found = cells(lines, ["key", "text", "CC"])
        expected = "".join(text.split())
        assert found == {"key": f"k{expected}other", "text": f"{expected}b", "CC": "4261"}


@pytest.mark.parametrize("name", NAMES)
def test_any_text_survives_in_markdown(name: str) -> None:
    text = re.sub(r"\r\n|\n", " ", TEXTS[name])
    assert rendered_markdown(table(TEXTS[name]).markdown()) == [f"k{text}", text, "42", "other", "b", "61"]


@pytest.mark.parametrize("name", NAMES)
def test_any_text_survives_in_html(name: str) -> None:
    text = re.sub(r"\r\n|\n", " ", TEXTS[name])
    _, first, _ = Cells(table(TEXTS[name]).html()).rows
    assert first == [f"k{text}", text, "42"]


@pytest.mark.parametrize("name", NAMES)
def test_any_text_survives_in_latex(name: str, compiled: str) -> None:
    number = NAMES.index(name)
    shown = "".join(c if c in "½üŁóźï" or c.isascii() else f"[{unicodedata.name(c)}]" for c in TEXTS[name])
    (found,) = re.findall(rf"k{number}k(.*?)0\.5e{number}e", compiled)
    assert found == unicodedata.normalize("NFKC", "".join(shown.split()))


def test_known_symbols_are_symbols_in_latex(compiled: str) -> None:
    # Some fonts have the mathematical bullet, or the sign of an increment, in the place of the letter.
    shown = compiled.replace("∙", "•").replace("\N{INCREMENT}", "\N{GREEK CAPITAL LETTER DELTA}")
    for symbol in "±–—−×÷↑↓→“”‘’≤≥≈°·•§µαβλσΔΩε²":
        assert unicodedata.normalize("NFKC", symbol) in shown, symbol


def test_names_with_an_underscore_stay_readable_in_markdown() -> None:
    assert escape_markdown("non_salient") == "non_salient"
    assert escape_markdown("a [0, 1) b") == r"a \[0, 1) b"


def test_a_row_of_another_length_and_keys_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected rows of 2 texts, got \['1'\]"):
        Grid(["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="expected 1 to 2 key columns, got 3"):
        Grid(["a", "b"], [], keys=3)


def test_keys_are_the_columns_before_the_numbers_or_the_first() -> None:
    assert Grid(["task", "model", "CC"], [], frozenset({2})).key_columns == 2
    assert Grid(["what", "value"], []).key_columns == 1
    assert Grid(["1", "2"], [], frozenset({0, 1})).key_columns == 1
    assert Grid(["task", "model", "CC"], [], frozenset({2}), keys=1).key_columns == 1


METRICS = ("CC ↑", "NSS ↑", "SIM ↑", "KLD ↓", "AUC-J ↑", "sAUC ↑", "IG ↑")


@pytest.fixture
def wide() -> Grid:
    rows = [
        [task, model, "360", *("0.512 (0.490 to 0.534)" for _ in METRICS)]
        for task in ("pure", "non_salient")
        for model in ("centre prior (other images)", "GroundedGaze")
    ]
    headings = ["task", "model", "pairs", *METRICS]
    strong = frozenset({(1, 3)})
    return Grid(headings, rows, frozenset(range(2, 10)), strong=strong, grouped=True, title="All", note="A note. " * 20)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_table_too_wide_for_the_terminal_goes_on_below_with_its_keys(wide: Grid, width: int) -> None:
    lines = printed(wide, width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    blocks = text.count("task ")
    assert blocks == {80: 7, 120: 3, 200: 2}[width]
    assert text.count("centre prior (other images)") == 2 * blocks
    assert text.count("0.512 (0.490 to 0.534)") == 4 * len(METRICS)
    assert "…" not in text
    assert lines[0] == "All"
    assert " ".join(text.split()).endswith(" ".join((wide.note).split()))


def test_rows_that_begin_alike_are_a_group_in_every_rendering(wide: Grid) -> None:
    _, *bodies = wide.html().split("<tbody>")
    assert [body.partition("</tbody>")[0].count("<tr>") for body in bodies] == [2, 2] * 2
    assert wide.latex().count(r"\midrule") == 2
    rules = [line for line in printed(wide, 400) if line and set(line) == {"─"}]
    assert len(rules) == 2


def test_what_is_strong_is_bold_in_every_rendering(wide: Grid) -> None:
    console = Console(width=400, force_terminal=True, color_system="standard", legacy_windows=False)
    with console.capture() as captured:
        console.print(wide)
    assert "\x1b[1m0.512 (0.490 to 0.534)\x1b[0m" in captured.get()
    assert wide.markdown().count("**0.512 (0.490 to 0.534)**") == 1
    assert wide.html().count("<strong>") == 1
    assert wide.latex().count(r"\textbf{0.512}") == 1


def test_empty_cells_are_a_dash_and_empty_headings_are_not() -> None:
    grid = Grid(["", "CC"], [["a", ""]], frozenset({1}))
    assert printed(grid, 80)[2].split() == ["a", "–"]
    assert grid.markdown().splitlines() == ["|  | CC |", "|---|---:|", "| a | – |"]
    assert Cells(grid.html()).rows == [["", "CC"], ["a", "–"]]
    assert r"a & – \\" in grid.latex()
    assert r" & CC \\" in grid.latex()


def test_a_label_that_is_too_long_wraps_in_half_of_the_terminal() -> None:
    lines = printed(Grid(["label", "CC"], [["x" * 200, "0.5"]], frozenset({1})), 80)
    assert [line[:40] for line in lines[2:]] == ["x" * 40] * 5
    assert lines[2].split()[1] == "0.5"


def test_what_controls_a_terminal_does_not_reach_it() -> None:
    text = "\n".join(printed(Grid(["a"], [["x\x1b[31my\x07\x9bz"]], title="\x1b[2J", note="\r\x08"), 80))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_a_page_repeats_the_keys_of_a_table_that_is_too_wide_for_it(wide: Grid) -> None:
    found = Cells(wide.html())
    assert found.tags.count("table") == 2
    assert found.tags.count("caption") == 1
    assert 'aria-label="All, continued"' in wide.html()
    assert [row[:2] for row in found.rows].count(["pure", "GroundedGaze"]) == 2
    assert sum(row.count("0.512 (0.490 to 0.534)") for row in found.rows) == 4 * len(METRICS)


def test_the_keyboard_reaches_a_table_that_scrolls_on_a_phone_and_no_other_one(wide: Grid) -> None:
    assert wide.html().count('<div class="table" tabindex="0" role="group" aria-label="All') == 2
    small = Grid(["a", "b"], [["1", "2"]], frozenset({1}))
    assert '<div class="table"><table>' in small.html()
    assert small.html().count('scope="col"') == 2
    assert small.html().count('scope="row"') == 1


def test_a_cell_of_latex_is_no_option_of_the_line_before_it_and_a_number_has_a_minus() -> None:
    lines = Grid(["a", "CC"], [["[x]", "-0.5 (-0.7 to -0.3)"], ["*", "1e-3"]], frozenset({1})).latex().splitlines()
    assert r"{[}x] & $-$0.5 \\" in lines
    assert r" & \footnotesize ($-$0.7 to $-$0.3) \\[2pt]" in lines
    assert r"{*} & 1e-3 \\" in lines


def test_a_character_that_latex_lacks_is_its_name() -> None:
    assert escape_latex("a 画 b\ue000") == "a [CJK UNIFIED IDEOGRAPH-753B] b[U+E000]"
    assert escape_latex("e\u0301") == "é"


def test_title_and_note_of_latex_do_not_leave_their_comment() -> None:
    first = Grid(["a"], [["b"]], title="x\n\\input{y}", note="z").latex().splitlines()
    assert first[:2] == [r"% x \input{y}", "% z"]


def test_the_examples_hold() -> None:
    assert doctest.testmod(module).failed == 0


def test_the_longest_lines_of_a_printed_table_do_not_depend_on_where_it_is_printed(wide: Grid, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        Console(file=file, width=100).print(wide.terminal(60))
    first = (tmp_path / "log").read_text(encoding="utf-8").split("A note")[0]
    assert max(map(cell_len, first.splitlines())) <= 60
