"""``saltext data``."""

from pathlib import Path
from typing import Annotated

import typer

from saltext.commands.options import ConfigDir, TrustReader

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
    config_dir: ConfigDir = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="draw some pairs: image, density map, fixations"),
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, max=50, metavar="N", help="pairs in the picture")] = 6,
    trust: TrustReader = False,
) -> None:
    """Read a whole data set, and report all problems, or its number of pairs by task and split.

    \b
    saltext data check data/sjtu-tis
    saltext data check my_data.yaml --picture check.png
    saltext data check data=salicon data.root=DIR
    """
    from collections import Counter

    from saltext.console import progress
    from saltext.evaluation.folders import open_data
    from saltext.runs import data_sets

    opened = open_data(data_sets.named(data, config_dir, trust), progress)
    read = opened.ground_truth.pairs
    images = len({pair.image_id for pair in read})
    print(f"{' '.join(data)}: {len(read)} pairs of {images} images, no problems found")
    for task, count in Counter(pair.task for pair in read).items():
        print(f"  {task}: {count} pairs")
    for part, count in Counter(part for part in opened.parts if part).items():
        print(f"  split {part}: {count} pairs")
    if picture is not None:
        from saltext.errors import ConfigError
        from saltext.reporting.data_figure import data_figure, pairs_to_show
        from saltext.reporting.figures import write_png

        shown = pairs_to_show(read, pairs)
        if not shown:
            raise ConfigError("--picture: expected a data set with images, got one of maps and fixations alone")
        write_png(data_figure(opened.ground_truth, shown), picture)
        print(f"Wrote {len(shown)} pairs to {picture}")
