"""One page about a run, a sweep, or two runs beside each other, for readers who do not have the suite.

    python -m saltext.report outputs/run/FOLDER
    python -m saltext.report outputs/blend_variants                           all runs below a folder
    python -m saltext.report outputs/run/A outputs/run/B                      A beside B
    python -m saltext.report run=DIR other=DIR data.root=/elsewhere/sjtu-tis

Arguments:
    run=DIR          folder of a run or of several; a path alone does, too
    other=DIR        folder of another run, shown beside it; or a second path
    predict=false    leave out what the networks would have to predict again
    --trust          the folders are yours or of somebody you trust: build classes that they name and conf/ does not,
                     and follow their paths even where they were copied
    any other key=value changes the runs' configurations, for example where the data lies now

Writes DIR/report.html: tables, curves, best and worst pairs, one image under other texts, calibration of the density,
models pair by pair. One file that holds its pictures, runs no scripts and fetches nothing. Maps are predicted again
from the run's checkpoint, where data set and checkpoint are here; otherwise the page says what it lacks. What has to be
computed on all test pairs is kept in DIR/calibration.csv, and read from there the next time.
"""

import logging
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from saltext import storage
from saltext.console import quiet_libraries, set_up_streams
from saltext.errors import ConfigError, DamagedFileError, DataError, SaltextError
from saltext.jobs import latest_jobs
from saltext.reporting import page, run_page, sweep_page
from saltext.reporting.collect import pooled
from saltext.reporting.network_sections import Chosen
from saltext.reporting.shown_run import ShownRun, named_apart, read_run, with_predictions
from saltext.reporting.sweep_page import SweepRuns
from saltext.run_folder import RunFolder, label
from saltext.score import progress
from saltext.sweep import sweep_scores
from saltext.trust import TRUST

_log = logging.getLogger("saltext.report")  # by name: run as a program, the module is called __main__

_KEY = re.compile(r"[\w.]+=")
_HYDRA = ".hydra"  # where Hydra keeps a config.yaml of its own


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        run: Folder of a run or of several.
        other: Folder of another run; None for none.
        predicts: Whether networks may predict.
        changes: Of the runs' configurations.
        trust: Whether the folders are trusted, see :mod:`saltext.trust`.
    """

    run: Path
    other: Path | None
    predicts: bool
    changes: DictConfig
    trust: bool = False


def requested(arguments: Sequence[str]) -> Request:
    """Read the command line.

    Raises:
        ConfigError: No folder is named, or too many, or ``predict`` is neither true nor false.
    """
    paths = [word for word in arguments if word != TRUST and not _KEY.match(word)]
    given = OmegaConf.from_cli([word for word in arguments if _KEY.match(word)])
    named = [str(given.pop(key)) for key in ("run", "other") if key in given] + paths
    predicts = given.pop("predict", True)
    problems = []
    if not 1 <= len(named) <= 2:
        problems.append(f"the folder of a run, or of two, expected; {len(named)} came")
    if not isinstance(predicts, bool):
        problems.append(f"predict=true or predict=false expected, predict={predicts} came")
    if problems:
        raise ConfigError(f"{'; '.join(problems)}. See python -m saltext.report --help.")
    return Request(Path(named[0]), Path(named[1]) if named[1:] else None, predicts, given, TRUST in arguments)


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


def main() -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        sys.exit(not arguments)
    quiet_libraries()
    try:
        print(write(requested(arguments)))
    except SaltextError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
