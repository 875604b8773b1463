"""One page about a run, a sweep, or two runs beside each other, for readers who do not have the suite.

What was found, pictures, tables, pairs, calibration, curves, provenance, in one file that holds its pictures, runs no
scripts and fetches nothing. Maps are predicted again from the run's checkpoint, where data set and checkpoint are here;
otherwise the page says what it lacks. What has to be computed on all test pairs is kept in ``calibration.csv`` of the
run, and read from there the next time. The command line is ``saltext report``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from saltext import storage
from saltext.console import progress
from saltext.data.report import Track
from saltext.errors import ConfigError, SaltextError
from saltext.reporting import document, provenance, run_page, sweep_page
from saltext.reporting.run_page import Chosen, Predicted, ShownRun
from saltext.reporting.sweep_page import SweepRuns
from saltext.results import calibration
from saltext.results.score_table import pooled
from saltext.results.selection import Key
from saltext.runs.jobs import latest_jobs
from saltext.runs.predict_again import fingerprint, predict_again
from saltext.runs.records import readable
from saltext.runs.saved import configuration
from saltext.runs.sweep import sweep_scores
from saltext.runs.trust import refuse_links
from saltext.system.run_folder import RunFolder, label

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
    if not RunFolder(request.run).config.is_file() and request.other is None:
        sweep = read_sweep(request.run)
        best = next((run for run, _ in sweep.ranked()), None)
        chosen = Chosen() if best is None else Chosen.of(best)
        page = sweep_page.page(sweep, None if best is None else _with_maps(best, chosen, request), chosen)
    else:
        folders = [path for path in (request.run, request.other) if path is not None]
        runs = readable((RunFolder.existing(path) for path in folders), provenance.SHOWN)
        chosen = Chosen.of(runs[0])
        page = run_page.page([_with_maps(run, chosen, request) for run in runs], chosen)
    file = RunFolder(request.run).report
    try:
        storage.write_text(file, document.html(page))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error}. Copy the folder to where it can be, and name that."
        ) from error
    return file


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
    runs = readable(begun)
    if jobs:
        scores, models = sweep_scores(jobs)
    else:
        finished = [run.record.folder for run in runs if run.record.folder.is_finished]
        models = list(dict.fromkeys(label(folder) for folder in finished))
        scores = pooled(finished) if finished else runs[0].scores.pairs[:0]
    return SweepRuns(root.resolve().name, runs, scores, models)


def _with_maps(run: ShownRun, chosen: Chosen, request: Request) -> ShownRun:
    tested = set(run.own["image_id"])
    swaps = [image for image in chosen.swaps if image in tested]
    track = progress if request.predicts else None
    return with_predictions(run, chosen.keys, swaps, request.changes, track, request.trust)


def with_predictions(
    run: ShownRun,
    pairs: Collection[Key],
    swaps: Sequence[str],
    changes: DictConfig,
    track: Track | None,
    trust: bool = False,
) -> ShownRun:
    """The run with the maps a page shows, and the coverages of all its test pairs.

    Coverages that its folder holds already are not computed again; new ones are kept there. Where the network cannot
    predict here, the run says why, and the page does without.

    Args:
        run: Read from its files.
        pairs: Shown.
        swaps: Images shown under both texts.
        changes: Of its configuration, for example where the data lies now.
        track: Shows how far it is; None: nothing may be predicted.
        trust: Whether the folder is trusted, see :mod:`saltext.runs.trust`.
    """
    folder = run.record.folder
    if run.own.empty:
        return replace(run, missing="it has no scores of a model of its own (yet)")
    try:
        refuse_links(folder)
        configured = configuration(folder, changes, trust)
        mark = fingerprint(configured.cfg, folder)
    except SaltextError as error:
        return replace(run, missing=str(error))
    known = calibration.read(folder, mark)
    kept = Predicted() if known is None else Predicted(coverage=known)
    if track is None:
        return replace(run, predicted=kept, missing="it was asked to predict nothing (--no-predict)")
    try:
        found = predict_again(configured, folder, pairs, swaps, known is None, track)
    except (SaltextError, OSError) as error:  # OSError: of libraries that look for weights
        return replace(run, predicted=kept, missing=" ".join([str(error), configured.remark()]).strip())
    if known is None:
        calibration.write(folder, found.coverage, mark)
        return replace(run, predicted=found)
    return replace(run, predicted=replace(found, coverage=known))
