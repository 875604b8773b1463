"""Mistakes a user can mend. The command line shows their message alone, without a traceback."""

import difflib
from collections.abc import Iterable


class SaltextError(ValueError):
    """Says what was expected, what came, and what to do."""


class DataError(SaltextError):
    """The data set on disk, or a split of it, is not what was asked for."""


class ConfigError(SaltextError):
    """The composed configuration cannot work, whatever the data."""


class CheckpointError(SaltextError):
    """A weight file is missing, changed, or made for another network."""


def near(name: str, known: Iterable[str], ending: bool = False) -> str:
    """A hint at the known name that a wrong one is closest to, to put behind a message; empty if none is close.

    Args:
        name: The wrong one.
        known: Names there are.
        ending: Whether they are compared by what follows their last dot.
    """
    alike: dict[str, str] = {}
    for own in known:
        alike.setdefault((own.rpartition(".")[2] if ending else own).lower(), own)
    wrong = name.rpartition(".")[2] if ending else name
    close = difflib.get_close_matches(wrong.lower(), alike, n=1)
    return f" (did you mean {alike[close[0]]!r}?)" if close else ""
