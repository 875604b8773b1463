"""``saltext compare``."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="folders of runs, or of several runs of one model (folds, seeds)"),
    ],
    metric: Annotated[str, typer.Option(metavar="NAME", help="metric to show, or all (default: CC)")] = "",
) -> None:
    """One table of all runs below a folder, or the differences of several from the first one.

    Folds of a cross-validation are pooled, and seeds averaged pair by pair. Differences are A - B of every task and
    metric with their 95 % intervals: a paired bootstrap over images, since the pairs of one image are not independent.

    \b
    saltext compare outputs/quickstart                 a table of all runs below
    saltext compare outputs/run/A outputs/run/B        A - B
    saltext compare outputs/folds/0_A outputs/folds/0_B --metric all
    """
    from saltext.reporting.run_files import show_folder, show_runs

    if len(runs) == 1:
        show_folder(runs[0], metric)
    else:
        show_runs(runs, metric)
