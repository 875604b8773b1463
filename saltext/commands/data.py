"""``saltext data``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Data sets.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Data sets."""


@app.command()
def check(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="SJTU-TIS, a folder of maps/ and fixations/, a YAML file that describes your own, or data=NAME "
            "[data.KEY=VALUE ...]",
        ),
    ],
    config_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="your own configuration files, where data=NAME is one of them")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="let data=NAME run a reader of your own")] = False,
) -> None:
    """Read a whole data set, and report all problems, or its number of pairs by task and split.

    \b
    saltext data check data/sjtu-tis
    saltext data check my_data.yaml
    saltext data check data=salicon data.root=DIR
    """
    from collections import Counter

    from saltext.console import progress
    from saltext.evaluation.folders import open_data
    from saltext.runs import data_sets

    opened = open_data(data_sets.named(data, config_dir, trust), progress)
    pairs = opened.ground_truth.pairs
    images = len({pair.image_id for pair in pairs})
    print(f"{' '.join(data)}: {len(pairs)} pairs of {images} images, no problems found")
    for task, count in Counter(pair.task for pair in pairs).items():
        print(f"  {task}: {count} pairs")
    for part, count in Counter(part for part in opened.parts if part).items():
        print(f"  split {part}: {count} pairs")
