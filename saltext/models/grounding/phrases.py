"""What a text is about, its first noun phrase, and what it says of the surroundings."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

_INTRODUCTION = re.compile(
    r"^(there (is|are|was|were)|there's|(this|it|here) is|these are|here are|i (see|can see))\s+"
)
_END = re.compile(
    r"\s+(on|in|at|with|near|by|next|under|over|above|below|behind|beside|between|among|around|against|along|across|"
    r"inside|outside|from|to|into|through|towards?|for|and|which|that|who|whose|where|while|as|is|are|was|were|has|have|"
    r"wearing|holding|standing|sitting|lying|riding|walking|hanging|parked|placed|made)\b|[.,;:!?]"
)


def head_phrase(text: str) -> str:
    """The beginning of an English text up to the first preposition, verb of a list, or punctuation mark, in lower case.

    "There is a white pot on the table" is about "a white pot". "Of" does not end a phrase: "a cup of coffee".

    Args:
        text: Any text.

    Returns:
        The phrase; the whole text in lower case where nothing is left otherwise.

    Example:
        >>> head_phrase("There is a white pot on the table")
        'a white pot'
    """
    return head_and_context(text)[0]


def head_and_context(text: str) -> tuple[str, str]:
    """What :func:`head_phrase` gives, and the rest of the text, in lower case.

    Args:
        text: Any text.

    Returns:
        The phrase, and what follows it; empty where nothing does.

    Example:
        >>> head_and_context("There is a white pot on the table")
        ('a white pot', 'on the table')
    """
    whole = " ".join(text.lower().split())
    said = _INTRODUCTION.sub("", whole)
    end = _END.search(said)
    head = said[: end.start()].strip() if end else said.strip()
    if not head:
        return whole, ""
    return head, said[end.start() :].strip(" .,;:!?") if end else ""


def names_something(texts: Sequence[str]) -> Tensor:
    """1 for each text that has a word, 0 for the empty ones, which name nothing; float, shape ``(texts, 1, 1, 1)``."""
    return torch.tensor([float(bool(text.strip())) for text in texts]).view(-1, 1, 1, 1)
