"""``saltext sweep``."""

from pathlib import Path
from typing import Annotated

import typer


def sweep(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="of a sweep: output_dir/NAME")]) -> None:
    """Summarise the latest sweep started in a folder, finished or not.

    One row per job, the pooled tables, the spread over seeds and folds, and the best job by the metric that selects the
    epoch. Writes summary.md and summary.csv there.

    \b
    saltext sweep outputs/blend_variants
    """
    from saltext.errors import ConfigError
    from saltext.runs.jobs import latest_jobs
    from saltext.runs.sweep import summarise

    jobs = latest_jobs(folder)
    if not jobs:
        raise ConfigError(
            f"Expected the folder of a sweep, but no job was begun in {folder}. A sweep (-m) runs in output_dir/NAME, "
            "with a folder for each job."
        )
    summarise(folder, jobs)
