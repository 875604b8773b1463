import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from saltext.reporting.page import Command, Grid, Heading, Paragraph, Picture, Points, Report, html, markdown

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
