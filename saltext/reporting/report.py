"""One page about a run, a sweep, or two runs beside each other, for readers who do not have the suite.

Tables, curves, best and worst pairs, one image under other texts, calibration of the density, models pair by pair. One
file that holds its pictures, runs no scripts and fetches nothing. Maps are predicted again from the run's checkpoint,
where data set and checkpoint are here; otherwise the page says what it lacks. What has to be computed on all test pairs
is kept in ``calibration.csv`` of the run, and read from there the next time. The command line is ``saltext report``.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from saltext import storage
from saltext.console import progress
from saltext.errors import ConfigError, DamagedFileError, DataError, SaltextError
from saltext.reporting import page, run_page, sweep_page
from saltext.reporting.collect import pooled
from saltext.reporting.network_sections import Chosen
from saltext.reporting.shown_run import ShownRun, named_apart, read_run, with_predictions
from saltext.reporting.sweep_page import SweepRuns
from saltext.runs.jobs import latest_jobs
from saltext.runs.sweep import sweep_scores
from saltext.system.run_folder import RunFolder, label

_log = logging.getLogger(__name__)

_HYDRA = ".hydra"  # where Hydra keeps a config.yaml of its own


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        run: Folder of a run or of several.
        other: Folder of another run; None for none.
        predicts: Whether networks may predict.
        changes: Of the runs' configurations.
        trust: Whether the folders are trusted, see :mod:`saltext.runs.trust`.
    """

    run: Path
    other: Path | None = None
    predicts: bool = True
    changes: DictConfig = field(default_factory=OmegaConf.create)
    trust: bool = False


def write(request: Request) -> Path:
    """Make the page.

    Returns:
        Its file.

    Raises:
        ConfigError: There is no run in a folder, or one that cannot be shown, or the page cannot be written.
    """
    several = not RunFolder(request.run).config.is_file() and request.other is None
    report = _of_sweep(request) if several else _of_runs(request)
    file = RunFolder(request.run).report
    try:
        storage.write_text(file, page.html(report))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error}. Copy the folder to where it can be, and name that."
        ) from error
    return file


def _of_runs(request: Request) -> page.Report:
    folders = [path for path in (request.run, request.other) if path is not None]
    runs = _readable(RunFolder.existing(path) for path in folders)
    chosen = Chosen.of(runs[0])
    return run_page.report([_seen(run, chosen, request) for run in runs], chosen)


def _of_sweep(request: Request) -> page.Report:
    sweep = read_sweep(request.run)
    best = next(iter(sweep.ranked()), None)
    if best is None:
        return sweep_page.report(sweep, None, Chosen((), {}, ""))
    chosen = Chosen.of(best)
    return sweep_page.report(sweep, _seen(best, chosen, request), chosen)


def _seen(run: ShownRun, chosen: Chosen, request: Request) -> ShownRun:
    """The run with its maps."""
    tested = set(run.own["image_id"])
    swaps = [image for image in chosen.swaps if image in tested]
    track = progress if request.predicts else None
    return with_predictions(run, chosen.keys, swaps, request.changes, track, request.trust)


def read_sweep(root: Path) -> SweepRuns:
    """The runs of the latest sweep that was started in a folder; without one, all runs below it.

    Raises:
        ConfigError: There is none.
    """
    jobs = latest_jobs(root)
    below = (RunFolder(path.parent) for path in sorted(root.rglob("config.yaml")) if path.parent.name != _HYDRA)
    folders = [job.folder for job in jobs] or [folder for folder in below if folder.split.is_file()]
    begun = [folder for folder in folders if folder.split.is_file()]
    if not begun:
        what = "holds none" if root.is_dir() else "is not there"
        raise ConfigError(
            f"Expected the folder of a run, or one with runs below, but {root} {what}. Runs are written below "
            "output_dir (outputs/NAME/...); name one of those folders."
        )
    runs = _readable(begun)
    if jobs:
        scores, models = sweep_scores(jobs)
    else:
        finished = [run.folder for run in runs if run.folder.is_finished]
        models = list(dict.fromkeys(label(folder) for folder in finished))
        scores = pooled(finished) if finished else runs[0].scores.pairs[:0]
    return SweepRuns(root.resolve().name, runs, scores, models)


def _readable(folders: Iterable[RunFolder]) -> list[ShownRun]:
    """The runs, with names that differ; damaged ones are named in the log and left out.

    Raises:
        SaltextError: None is left, or one cannot be shown for another reason.
    """
    found: list[ShownRun] = []
    problems: list[SaltextError] = []
    for folder in folders:
        try:
            found.append(read_run(folder))
        except (DamagedFileError, DataError) as error:
            problems.append(error)
    if not found:
        raise problems[0]
    for problem in problems:
        _log.warning("left out: %s", problem)
    return named_apart(found)
