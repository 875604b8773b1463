"""Texts that anybody may have typed."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import torch

from saltext.errors import InvalidFileError
from saltext.models.text.base import TextFeatures

MAX_CHARACTERS = 2000
"""Longer texts are cut before they are encoded. No encoder here reads more than 77 tokens, and some need minutes for a
long word."""

Encode = Callable[[str], TextFeatures]


@dataclass(frozen=True)
class TextQuery:
    """What is read before a picture is looked at.

    Attributes:
        text: Without outer white space; empty for free viewing.
        task: The condition told to models that read it, a name of :data:`saltext.data.tasks.TASKS` or one of the
            model's own; None: ``general`` with a text, ``pure`` without.
    """

    text: str
    task: str | None = None

    @property
    def condition(self) -> str:
        """What is told: ``task``, or what stands for None."""
        return self.task or ("general" if self.text else "pure")


def checked(text: object) -> str:
    """A text without outer white space, as the data set's are; the empty one, free viewing, is a text.

    Raises:
        InvalidFileError: No string, or one that holds half characters (lone surrogates), as undecodable bytes do.
    """
    if not isinstance(text, str):
        raise InvalidFileError("texts that are no string", f"{text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidFileError("texts that are no valid Unicode", ascii(text[:40])) from error
    return text.strip()


def characters_read(encode: Encode, text: str) -> int:
    """How many characters from the beginning of a text an encoder reads: what follows changes nothing.

    Found by asking the encoder, whatever its tokens are, about log2(length) times if the end does not matter.

    Args:
        encode: Features of a text.
        text: At most ``MAX_CHARACTERS`` of it can be read.
    """
    kept = text[:MAX_CHARACTERS]
    whole = encode(kept)

    def suffices(length: int) -> bool:
        return _same(encode(kept[:length]), whole)

    high = len(kept)
    if not kept or not suffices(high - 1):
        return high
    low, high = -1, high - 1  # `high` suffices, `low` does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def means_something(text: str) -> bool:
    """Whether a text has a letter, number or symbol (an emoji is one), not punctuation and white space alone."""
    return any(unicodedata.category(letter)[0] in "LNS" for letter in text)


def _same(one: TextFeatures, other: TextFeatures) -> bool:
    return torch.equal(one.mask, other.mask) and torch.equal(one.tokens[one.mask], other.tokens[other.mask])
