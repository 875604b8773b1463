"""``saltext sweep``."""

from pathlib import Path
from typing import Annotated

import typer


def sweep(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="of a sweep: output_dir/NAME")]) -> None:
    """The latest sweep started in a folder, finished or not.

    A row for each job, the pooled tables, the spread over seeds and folds, and the best by the metric that chooses the
    epoch. Writes summary.md and summary.csv there.

    \b
    saltext sweep outputs/blend_variants
    """
    from saltext.errors import ConfigError
    from saltext.runs.jobs import latest_jobs
    from saltext.runs.sweep import summarise

    found = latest_jobs(folder)
    if not found:
        raise ConfigError(
            f"Expected the folder of a sweep, but no job was begun in {folder}. Sweeps (-m) run in output_dir/NAME, a "
            "folder for each job."
        )
    summarise(folder, found)
