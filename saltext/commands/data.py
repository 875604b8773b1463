"""``saltext data``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(help="Data sets.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Data sets."""


@app.command()
def check(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="SJTU-TIS, a folder of maps/ and fixations/, or a YAML file that describes your own"
        ),
    ],
    layout: Annotated[Literal["auto", "sjtu-tis", "salicon", "own"], typer.Option(help="of DATA")] = "auto",
) -> None:
    """Read a whole data set, and report all problems, or its number of pairs by task and split.

    \b
    saltext data check data/sjtu-tis
    saltext data check my_data.yaml
    """
    from collections import Counter

    from saltext.console import progress
    from saltext.evaluation.folders import open_data

    opened = open_data(data, layout, progress)
    pairs = opened.truth.pairs
    print(f"{data}: {len(pairs)} pairs of {len({pair.image_id for pair in pairs})} images, no problems found")
    for task, count in Counter(pair.task for pair in pairs).items():
        print(f"  {task}: {count} pairs")
    for part, count in Counter(part for part in opened.parts if part).items():
        print(f"  split {part}: {count} pairs")
