"""Untrusted texts: checks, and how much of a text an encoder reads."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import torch

from saltext.errors import InvalidFileError
from saltext.models.text.base import TextFeatures

MAX_CHARACTERS = 2000
"""Longer texts are cut before they are encoded. No encoder here reads more than 77 tokens, and some take minutes for
a long word."""

Encode = Callable[[str], TextFeatures]


@dataclass(frozen=True)
class TextQuery:
    """The text that is read before an image is viewed, and its condition.

    Attributes:
        text: Without outer white space; empty for free viewing.
        task: The condition, for models that are conditioned on it: a name of :data:`saltext.data.tasks.TASKS` or one
            of the model's own; None: ``general`` with a text, ``pure`` without.
    """

    text: str
    task: str | None = None

    @property
    def condition(self) -> str:
        """``task``, or the condition that None stands for."""
        return self.task or ("general" if self.text else "pure")


def checked(text: object) -> str:
    """A text without outer white space, like the data set's; an empty text (free viewing) is valid.

    Raises:
        InvalidFileError: Not a string, or one with lone surrogates, as undecodable bytes give.
    """
    if not isinstance(text, str):
        raise InvalidFileError("texts that are not strings", f"{text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidFileError("texts that are not valid Unicode", ascii(text[:40])) from error
    return text.strip()


def characters_read(encode: Encode, text: str) -> int:
    """How many characters from the beginning of a text an encoder reads: the rest does not change its features.

    A binary search with the encoder itself, whatever its tokens are: about log2(length) calls where the end is not
    read, two where it is.

    Args:
        encode: Gives the features of a text.
        text: At most ``MAX_CHARACTERS`` of it can be read.
    """
    start = text[:MAX_CHARACTERS]
    whole = encode(start)

    def suffices(length: int) -> bool:
        part = encode(start[:length])
        return torch.equal(part.mask, whole.mask) and torch.equal(part.tokens[part.mask], whole.tokens[whole.mask])

    high = len(start)
    if not start or not suffices(high - 1):
        return high
    low, high = -1, high - 1  # `high` suffices, `low` does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def means_something(text: str) -> bool:
    """Whether a text has a letter, number or symbol (an emoji is one), not punctuation and white space alone."""
    return any(unicodedata.category(letter)[0] in "LNS" for letter in text)
