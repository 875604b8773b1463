"""``saltext compare``."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="folders of runs, or of several runs of one model (folds, seeds)"),
    ],
) -> None:
    """One table of all runs below a folder, or the differences of several from the first one.

    Folds of a cross-validation are pooled, and seeds averaged pair by pair. Differences are A - B of every task and
    metric with their 95 % intervals: a paired bootstrap over images, since the pairs of one image are not independent.

    \b
    saltext compare outputs/quickstart                 a table of all runs below
    saltext compare outputs/run/A outputs/run/B        A - B
    saltext compare outputs/folds/0_A outputs/folds/0_B
    """
    from saltext.reporting.collect import summarise
    from saltext.reporting.compare import compare, model_scores, show

    if len(runs) == 1:
        summarise(runs[0])
        return
    first, *others = ((path, model_scores(path)) for path in runs)
    for path, scores in others:
        show(compare(first[1], scores), f"{first[0].name} - {path.name}, mean and 95 % interval over images")
