"""Mistakes a user can fix. The command line shows their message alone, without a traceback."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

# C0 and C1 controls, lone surrogates, other line ends, and what turns the direction of writing.
_CONTROLS = r"\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"
_UNPRINTABLE = re.compile(f"[{_CONTROLS}]")
_IN_MESSAGES = re.compile(rf"(?![\n\t])[{_CONTROLS}]")


def printable(name: str) -> str:
    """A name as it can be printed, whoever gave it: what a terminal would obey is written as an escape, ``\\x1b``."""
    return _UNPRINTABLE.sub(_escape, name)


def _escape(found: "re.Match[str]") -> str:
    return found[0].encode("unicode_escape").decode()


class SaltextError(ValueError):
    """Says what was expected, what was given, and what to do. Control characters in it are escaped; lines stay."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(_IN_MESSAGES.sub(_escape, a) if isinstance(a, str) else a for a in arguments))


class DataError(SaltextError):
    """The data set on disk, or a split of it, is not what was asked for."""


class InvalidFileError(DataError):
    """A file that cannot be used.

    Attributes:
        kind: What is wrong, the same words for all files with this issue.
        detail: What is wrong with this one; may be empty.
    """

    def __init__(self, kind: str, detail: object = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = str(detail)


class ConfigError(SaltextError):
    """The composed configuration cannot work, whatever the data."""


class CheckpointError(SaltextError):
    """A weight file is missing, changed, or made for another network."""


class FullDiskError(SaltextError):
    """A disk, or a share of it, did not take what a run wrote."""


class DamagedFileError(SaltextError):
    """A file that a run or a command left is missing, empty, cut, or not what was written."""


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


def baseline_clash(label: str, baselines: Mapping[str, str]) -> str:
    """Why a model cannot have a label: a baseline has it, and two rows of a table would look the same.

    Args:
        label: The label.
        baselines: Name of each baseline -> its title, which is its row in a table.

    Returns:
        What was expected and what the label is; empty where no baseline has it as its name or title.
    """
    if label not in (*baselines, *baselines.values()):
        return ""
    return f"expected a label that is neither the name nor the title of a baseline, got {label!r}"
