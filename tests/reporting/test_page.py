import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from saltext.reporting.charts import Chart, Curve
from saltext.reporting.page import (
    Charts,
    Command,
    Grid,
    Heading,
    Paragraph,
    Picture,
    Points,
    Report,
    Shot,
    Strip,
    Strips,
    Subheading,
    block_markdown,
    html,
    markdown,
)

PNG = b"\x89PNG\r\n\x1a\n\x00\x01\x02"


@pytest.fixture
def report(tmp_path: Path) -> Report:
    (tmp_path / "curves.png").write_bytes(PNG)
    grid = Grid(["task", "CC", "verdict"], [["a < b", "0.5", "within tolerance"], ["c|d", "0.1", "below"]],
                numbers=frozenset({1}), marked=2)  # fmt: skip
    blocks = [Heading("Found"), Paragraph("Split: 80/20 & more"), Points(["one", "two"]), Command("make x\nmake y"),
              grid, Picture(tmp_path / "curves.png", "by epoch")]  # fmt: skip
    return Report("A <title>", blocks)


class Tags(HTMLParser):
    """Which tags a page has, and whether every one that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_markdown_has_every_block_and_a_table_that_bars_in_texts_do_not_break(report: Report) -> None:
    lines = markdown(report).splitlines()
    for expected in ("# A <title>", "## Found", "Split: 80/20 & more", "* one", "    make x", "    make y",
                     "|---|---:|---|", "| a < b | 0.5 | within tolerance |", r"| c\|d | 0.1 | below |",
                     "![by epoch](curves.png)"):  # fmt: skip
        assert expected in lines


def test_texts_of_a_table_that_stand_out_are_bold() -> None:
    grid = Grid(["task", "CC"], [["pure", "0.5"], ["whole", "0.6"]], strong=frozenset({(1, 1)}))
    assert block_markdown(grid).splitlines()[2:] == ["| pure | 0.5 |", "| whole | **0.6** |"]


def test_the_page_carries_its_pictures_and_asks_for_nothing(report: Report) -> None:
    text = html(report)
    assert "data:image/png;base64,iVBORw0KGgoAAQI=" in text
    assert not re.search(r"<script|<link|@import|url\(|https?://|src=\"(?!data:)|href=", text)


def test_the_page_is_well_formed_and_escapes_what_it_shows(report: Report) -> None:
    tags = Tags()
    tags.feed(html(report))
    assert not tags.open
    assert tags.seen.count("tr") == 3
    assert "A &lt;title&gt;" in html(report)
    assert "a &lt; b" in html(report)
    assert "<title>A <title>" not in html(report)


def test_the_page_has_colours_for_light_and_for_dark(report: Report) -> None:
    assert "color-scheme: light dark" in html(report)
    assert "prefers-color-scheme: dark" in html(report)


def test_verdicts_are_marked_by_what_they_say_and_other_columns_are_not(report: Report) -> None:
    text = html(report)
    assert '<span class="mark mark-within">within tolerance</span>' in text
    assert '<span class="mark mark-below">below</span>' in text
    assert text.count('class="mark ') == 2


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of 2 texts"):
        Grid(["a", "b"], [["1"]])


@pytest.fixture
def rich() -> Report:
    """What only a page can show."""
    strip = Strip("worst <1>", 'a "text" & more', [Shot(b"\xff\xd8", "image <2>", 'what "it" shows')])
    drawn = Chart("CC <by> epoch", "epoch", "CC", [Curve("<a>", [0, 1], [0, 1]), Curve("b", [0, 1], [1, 0])])
    grid = Grid(["task", "model", "CC"], [["pure", "a", "1"], ["pure", "b", "2"], ["whole", "a", "3"]],
                strong=frozenset({(1, 2)}), grouped=True)  # fmt: skip
    return Report(
        "Rich", [Heading("One & all"), Subheading("<part>"), Strips([strip]), Charts([drawn]), grid], contents=True
    )


def test_small_pictures_stand_under_their_title_with_a_text_for_those_who_cannot_see_them(rich: Report) -> None:
    text = html(rich)
    assert '<img alt="what &quot;it&quot; shows" src="data:image/jpeg;base64,/9g=">' in text
    assert "<h4>worst &lt;1&gt;</h4>" in text
    assert "<bdi>a &quot;text&quot; &amp; more</bdi>" in text
    assert "<figcaption>image &lt;2&gt;</figcaption>" in text


def test_several_curves_have_a_legend_in_their_colours(rich: Report) -> None:
    text = html(rich)
    assert '<ol class="legend"><li class="s0">&lt;a&gt;</li><li class="s1">b</li></ol>' in text
    assert "CC &lt;by&gt; epoch" in text


def test_rows_of_one_first_text_are_a_group_and_what_leads_is_strong(rich: Report) -> None:
    text = html(rich)
    assert text.count("<tbody>") == 2
    assert "<strong>2</strong>" in text
    assert text.count("<strong>") == 1


def test_tables_say_which_cells_are_headings(rich: Report) -> None:
    text = html(rich)
    assert text.count('scope="col"') == 3
    assert text.count('scope="row"') == 3


def test_the_contents_lead_to_the_sections_and_nowhere_else(rich: Report, report: Report) -> None:
    text = html(rich)
    ((target, name),) = re.findall(r'href="#([^"]+)">([^<]+)<', text)
    assert name == "One &amp; all"
    assert f'<h2 id="{target}">One &amp; all</h2>' in text
    assert "<nav" not in html(report)


def test_a_page_of_everything_is_well_formed(rich: Report) -> None:
    tags = Tags()
    tags.feed(html(rich))
    assert not tags.open


def test_markdown_names_what_only_the_page_has(rich: Report) -> None:
    lines = markdown(rich).splitlines()
    assert "### <part>" in lines
    assert "*worst <1>: pictures in the HTML file*" in lines
    assert "*CC <by> epoch: CC against epoch, 2 curves: in the HTML file*" in lines


def test_paper_is_printed_in_light_colours_and_nothing_is_cut_off(report: Report) -> None:
    text = html(report)
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media print" in text
