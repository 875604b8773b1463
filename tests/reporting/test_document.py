import doctest
import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from saltext.reporting import document as module
from saltext.reporting.document import (
    Command,
    Document,
    Figure,
    Heading,
    PictureGroup,
    Points,
    Tile,
    html,
    markdown,
)
from saltext.reporting.grid import Grid

PNG = b"\x89PNG\r\n\x1a\n\x00\x01\x02"
JPEG = b"\xff\xd8"
SVG = '<svg viewBox="0 0 1 1" role="img" aria-label="CC by epoch"><path d="M 0 0 L 1 1" /></svg>'


@pytest.fixture
def document() -> Document:
    tiles = [Tile(JPEG, "image <2>", 'what "it" shows'), Tile(PNG, "", "a map")]
    first = [
        Points([("CC is 0.61 (0.59 to 0.63) & more.", "Another split <x>."), ("Nothing else.", "")], summary=True),
        [Figure(SVG, "CC by <epoch>", "curves.png"), Figure(SVG, "only [here]")],
    ]
    blocks = [
        [PictureGroup("worst <1>", 'a "text" & more', [tiles]), PictureGroup("best", "", [tiles] * 3)],
        "1. Split: 80/20 & *more*",
        Heading("<part>"),
        [PictureGroup("below a part", "", [tiles])],
        Points([("one", ""), ("# two", "")]),
        Command("make x\nmake y"),
        Grid(["task", "CC"], [["a < b", "0.5"], ["c|d", "0.1"]], frozenset({1}), title="Scores"),
        [Figure(SVG)],
    ]
    return Document("A <title>", [("", first), ("One & all", blocks), ("without blocks", [])])


class Tags(HTMLParser):
    """Which tags a page has, and whether every one that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_well_formed_and_shows_texts_as_they_are(document: Document) -> None:
    tags = Tags(html(document))
    assert not tags.open
    for text in ("A &lt;title&gt;", "One &amp; all", "&lt;part&gt;", "1. Split: 80/20 &amp; *more*", "worst &lt;1&gt;",
                 "<bdi>a &quot;text&quot; &amp; more</bdi>", "CC by &lt;epoch&gt;", "Another split &lt;x&gt;.",
                 "make x\nmake y"):  # fmt: skip
        assert text in html(document)


def test_a_page_carries_its_pictures_and_asks_for_nothing(document: Document) -> None:
    text = html(document)
    assert '<img alt="what &quot;it&quot; shows" src="data:image/jpeg;base64,/9g=">' in text
    assert '<img alt="a map" src="data:image/png;base64,iVBORw0KGgoAAQI=">' in text
    assert not re.search(r"<script|<link|@import|https?://|src=\"(?!data:)|href=\"(?!#)|url\((?!#)", text)


def test_headings_of_a_page_skip_no_level(document: Document) -> None:
    levels = [int(tag[1]) for tag in Tags(html(document)).seen if re.fullmatch("h[1-6]", tag)]
    assert levels == [1, 2, 3, 3, 3, 4]
    top = Document("t", [("", [[PictureGroup("first", "", [])]])])
    assert "<h2>first</h2>" in html(top)


def test_everything_in_a_page_lies_in_a_landmark_and_links_lead_to_its_sections(document: Document) -> None:
    text = html(document)
    body = re.sub(r"<(header|main)>.*?</\1>", "", text[text.index("<body>") :], flags=re.DOTALL)
    assert re.sub(r"<[^>]+>", "", body).strip() == ""
    ((target, name),) = re.findall(r'href="#([^"]+)">([^<]+)<', text)
    assert name == "One &amp; all"
    assert f'<h2 id="{target}">One &amp; all</h2>' in text
    assert "<nav" not in html(Document("t", []))


def test_what_was_found_stands_before_the_links_and_everything_else(document: Document) -> None:
    text = html(document)
    assert text.index("<h1>") < text.index('<ul class="summary">') < text.index("<nav") < text.index("<figure>")


def test_on_a_narrow_screen_the_pictures_of_a_text_stay_together(document: Document) -> None:
    assert html(document).count('<div class="row"><figure><img alt="what') == 5


def test_what_was_found_stands_above_its_caveat(document: Document) -> None:
    text = html(document)
    interval = '<span class="unbroken">(0.59 to 0.63)</span>'
    assert f"<li>CC is 0.61 {interval} &amp; more.<small>Another split &lt;x&gt;.</small></li>" in text
    assert "<li>Nothing else.</li>" in text


def test_a_page_has_colours_for_light_and_dark_and_paper_is_light(document: Document) -> None:
    text = html(document)
    assert "color-scheme: light dark" in text
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media print" in text
    assert text.count("{") == text.count("}")


def test_a_wide_table_scrolls_inside_its_box_with_its_first_column_in_view() -> None:
    text = html(Document("t", []))
    assert ".table { overflow-x: auto;" in text
    narrow = re.findall(r"@media screen and \(max-width: 61rem\) \{.*?\n\}", text, re.DOTALL)
    assert ["position: sticky" in rules for rules in narrow] == [True]


def test_markdown_shows_every_text_as_it_is(document: Document) -> None:
    lines = markdown(document).splitlines()
    for expected in (r"# A \<title>", "## One & all", r"### \<part>", "```text", "make x", "make y", "* one",
                     r"1\. Split: 80/20 & \*more\*", r"* \# two", "**Scores**", r"| a \< b | 0.5 |", r"| c\|d | 0.1 |",
                     r"* CC is 0.61 (0.59 to 0.63) & more. *Another split \<x>.*", "* Nothing else."):  # fmt: skip
        assert expected in lines
    rendered = MarkdownIt("commonmark").enable("table").render(markdown(document))
    assert "<p>1. Split: 80/20 &amp; *more*</p>" in rendered
    assert "<li># two</li>" in rendered
    assert '<pre><code class="language-text">make x\nmake y\n</code></pre>' in rendered
    assert '<img src="curves.png" alt="CC by &lt;epoch&gt;" />' in rendered


def test_a_command_with_backticks_stays_a_block_of_its_own() -> None:
    found = MarkdownIt("commonmark").parse(markdown(Document("t", [("", [Command("a ``` b\n`````\nc")])])))
    assert [token.content for token in found if token.type == "fence"] == ["a ``` b\n`````\nc\n"]


def test_markdown_names_what_only_the_page_has(document: Document) -> None:
    lines = markdown(document).splitlines()
    assert r"*only \[here\]: in the HTML file*" in lines
    assert "*CC by epoch: in the HTML file*" in lines  # what it shows, since it has no caption
    assert r"*worst \<1>: pictures in the HTML file*" in lines


@pytest.mark.parametrize("text", ["- a", "+ a", "> a", "# a", "10. a", "2) a", "=== a", "1) ", "- - -", "1.5 is", "-3"])
def test_no_text_begins_a_list_or_a_quotation_in_markdown(text: str) -> None:
    (opened, inline, _) = MarkdownIt("commonmark").parse(markdown(Document("t", [("", [text])])))[3:]
    assert opened.type == "paragraph_open"
    assert "".join(child.content for child in inline.children or []) == text.strip()


def test_the_example_holds() -> None:
    assert doctest.testmod(module).failed == 0
