"""What the demo is told on its command line."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from saltext import schema
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
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    max_mib: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS)] = 16_000_000
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    trust: bool = False


_KEYS = tuple(field.name for field in fields(Settings) if field.name != "trust")


def parse(arguments: Sequence[str]) -> Settings:
    """Settings from ``key=value`` words.

    Raises:
        ConfigError: Everything that is wrong with them, at once.
    """
    given: dict[str, str] = {}
    problems = []
    for argument in arguments:
        key, _, word = argument.partition("=")
        if argument == TRUST:
            given["trust"] = "true"
        elif word and key in _KEYS:
            given[key] = word
        else:
            problems.append(f"{argument!r}: key=value expected{_meant(key)}")
    try:
        settings = TypeAdapter(Settings).validate_strings(given)
    except ValidationError as error:
        problems += [f"{one['loc'][0]}={one['input']}: expected {schema.expected(one)}" for one in error.errors()]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"The command line cannot be used:\n{listed}\nSee python -m saltext.demo --help.")
    return settings


def _meant(key: str) -> str:
    return near(key.lstrip("-"), _KEYS) or f" with one of the keys {', '.join(_KEYS)}"
