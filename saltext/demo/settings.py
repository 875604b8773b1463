"""What the demo is told on its command line."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from saltext.errors import ConfigError, near
from saltext.images import MAX_PIXELS
from saltext.trust import TRUST

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """See the help of ``python -m saltext.demo``.

    Attributes:
        run: Folder of a run; None: the shipped model.
        stage: Which training of a run with a schedule.
        device: Where to compute, as torch names it; None: an accelerator if there is one.
        examples: Folder of pictures, table of pictures and texts, or folder of SJTU-TIS; None: generated pictures.
        host: Address to listen at.
        port: 0: any that is free.
        max_mib: Largest file that is taken, in MiB.
        max_pixels: Largest image that is taken.
        timeout: Seconds a prediction may take.
        trust: Whether the run's folder is trusted, see :mod:`saltext.trust`.
    """

    run: str | None = None
    stage: str | None = None
    device: str | None = None
    examples: Path | None = None
    host: str = LOCALHOST
    port: int = 7860
    max_mib: float = 20.0
    max_pixels: int = 16_000_000
    timeout: float = 60.0
    trust: bool = False


_READ: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "run": str,
        "stage": str,
        "device": str,
        "examples": Path,
        "host": str,
        "port": int,
        "max_mib": float,
        "max_pixels": int,
        "timeout": float,
    }
)


def parse(arguments: Sequence[str]) -> Settings:
    """Settings from ``key=value`` words.

    Raises:
        ConfigError: Everything that is wrong with them, at once.
    """
    given: dict[str, Any] = {}
    problems = []
    for argument in arguments:
        if argument == TRUST:
            given["trust"] = True
            continue
        key, equals, word = argument.partition("=")
        if not equals or not word or key not in _READ:
            problems.append(f"{argument!r}: key=value expected{_meant(key)}")
            continue
        try:
            given[key] = _READ[key](word)
        except ValueError:
            problems.append(f"{argument!r}: {'a whole number' if _READ[key] is int else 'a number'} expected")
    settings = Settings(**given)
    problems += _out_of_range(settings)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"The command line cannot be used:\n{listed}\nSee python -m saltext.demo --help.")
    return settings


def _meant(key: str) -> str:
    return near(key.lstrip("-"), _READ) or f" with one of the keys {', '.join(_READ)}"


def _out_of_range(settings: Settings) -> list[str]:
    bounds = {
        "port": (0 <= settings.port <= 65535, "0 to 65535"),
        "max_mib": (0 < settings.max_mib < math.inf, "more than 0"),
        "max_pixels": (1 <= settings.max_pixels <= MAX_PIXELS, f"1 to {MAX_PIXELS}"),
        "timeout": (0 < settings.timeout < math.inf, "more than 0 seconds"),
    }
    return [f"{key}={getattr(settings, key)}: {said} expected" for key, (fits, said) in bounds.items() if not fits]
