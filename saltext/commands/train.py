"""``saltext train``."""

import sys
from typing import Annotated

import typer

from saltext.system.environment import restart_with_environment


def _complete_override(context: typer.Context, incomplete: str) -> list[str]:
    from saltext.runs.composition import completions

    return completions(context.params.get("arguments") or [], incomplete)


def train(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE ...] [-m]", autocompletion=_complete_override)
    ] = None,
) -> None:
    """Train a model and score it; saltext train --help lists the configuration.

    \b
    saltext train preset=smoke
    saltext train model=tranblend preset=embedded seed=1
    saltext train +experiment=fixrate_ablation -m
    saltext train resume=latest
    """
    restart_with_environment(trains=True)
    sys.argv[1:] = arguments or []  # Hydra reads it
    from saltext.run import main

    main()
