"""Captions of pictures: wrapped to the picture's width, and cut after a few lines."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_FONT = "DejaVu Sans"  # comes with matplotlib
_UNKNOWN = "\N{WHITE SQUARE}"
MAX_LINES = 4


def caption(text: str, width: float, size: int, lines: int = MAX_LINES) -> str:
    """A text wrapped to a width and to at most ``lines`` lines; a text that does not fit ends with " …".

    Characters that the font does not have, or that cannot be printed, become squares.

    Args:
        text: Of any length; words may be longer than a line.
        width: Width of a line in pixels.
        size: Size of the letters in pixels.
        lines: Maximum number of lines.
    """
    wrapped: list[str] = []
    room = int(lines * width)  # no letter is narrower than a pixel: the rest is cut anyway
    for line in _wrapped_lines(
        " ".join(printable(text[:room]).split()).replace(" %", "\N{NO-BREAK SPACE}%"), width, size
    ):
        if len(wrapped) == lines:
            wrapped[-1] = _fitting_start(wrapped[-1], width - _text_width(" …", size), size)
            wrapped[-1] += " …"
            break
        wrapped.append(line)
    return "\n".join(wrapped)


def quoted(text: str) -> str:
    """A text in quotation marks, or ``no text`` for the empty one."""
    return f"“{text}”" if text else "no text"


def printable(text: str) -> str:
    """The text with a square for each character the font does not have."""
    return "".join(letter if letter.isspace() or ord(letter) in _font_characters() else _UNKNOWN for letter in text)


@cache
def font(size: int) -> "FreeTypeFont":
    """The letters of captions and legends, ``size`` pixels high."""
    from matplotlib import font_manager  # a second, and only to draw
    from PIL import ImageFont

    return ImageFont.truetype(font_manager.findfont(_FONT), size, layout_engine=ImageFont.Layout.BASIC)


def _wrapped_lines(text: str, width: float, size: int) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if _text_width(longer, size) <= width:
            line = longer
            continue
        if line:
            yield line
        while _text_width(word, size) > width:
            start = _fitting_start(word, width, size)
            yield start
            word = word[len(start) :]
        line = word
    yield line


def _fitting_start(text: str, width: float, size: int) -> str:
    """As much of a text's beginning as fits, at least a character."""
    reached = 0.0
    for index, letter in enumerate(text):
        reached += _letter_width(letter, size)
        if reached > width:
            return text[: max(index, 1)]
    return text


def _text_width(text: str, size: int) -> float:
    return sum(_letter_width(letter, size) for letter in text)


@cache
def _letter_width(letter: str, size: int) -> float:
    return font(size).getlength(letter)


@cache
def _font_characters() -> frozenset[int]:
    from matplotlib import font_manager  # a second, and only to draw

    return frozenset(font_manager.get_font(font_manager.findfont(_FONT)).get_charmap())
