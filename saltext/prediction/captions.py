"""Texts above pictures: as wide as the picture, and a few lines at most."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_FONT = "DejaVu Sans"  # comes with matplotlib
_UNKNOWN = "\N{WHITE SQUARE}"
MAX_LINES = 4


def caption(text: str, width: float, size: int, lines: int = MAX_LINES) -> str:
    """A text in lines that are no wider than a picture, of which there are a few; what does not fit is cut with " …".

    Characters that the font does not have are squares, and so is what cannot be printed.

    Args:
        text: Of any length; words may be longer than a line.
        width: Of a line in pixels.
        size: Of the letters, in pixels.
        lines: At most.
    """
    wrapped: list[str] = []
    room = int(lines * width)  # no letter is narrower than a pixel: the rest is cut anyway
    for line in _lines(" ".join(printable(text[:room]).split()).replace(" %", "\N{NO-BREAK SPACE}%"), width, size):
        if len(wrapped) == lines:
            wrapped[-1] = _cut(wrapped[-1], width - _width(" …", size), size)
            wrapped[-1] += " …"
            break
        wrapped.append(line)
    return "\n".join(wrapped)


def quoted(text: str) -> str:
    """A text that was read, in quotation marks, or that there was none."""
    return f"“{text}”" if text else "no text"


def printable(text: str) -> str:
    """The text with a square for each character the font does not have."""
    return "".join(letter if letter.isspace() or ord(letter) in _known() else _UNKNOWN for letter in text)


@cache
def font(size: int) -> "FreeTypeFont":
    """The letters of captions and legends, ``size`` pixels high."""
    from matplotlib import font_manager  # a second, and only to draw
    from PIL import ImageFont

    return ImageFont.truetype(font_manager.findfont(_FONT), size, layout_engine=ImageFont.Layout.BASIC)


def _lines(text: str, width: float, size: int) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if _width(longer, size) <= width:
            line = longer
            continue
        if line:
            yield line
        while _width(word, size) > width:
            start = _cut(word, width, size)
            yield start
            word = word[len(start) :]
        line = word
    yield line


def _cut(text: str, width: float, size: int) -> str:
    """As much of a text's beginning as fits, at least a character."""
    reached = 0.0
    for index, letter in enumerate(text):
        reached += _advance(letter, size)
        if reached > width:
            return text[: max(index, 1)]
    return text


def _width(text: str, size: int) -> float:
    return sum(_advance(letter, size) for letter in text)


@cache
def _advance(letter: str, size: int) -> float:
    return font(size).getlength(letter)


@cache
def _known() -> frozenset[int]:
    from matplotlib import font_manager  # a second, and only to draw

    return frozenset(font_manager.get_font(font_manager.findfont(_FONT)).get_charmap())
