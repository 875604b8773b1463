"""Write one page about a run, a sweep, or two runs side by side, readable without saltext.

Findings, pictures, tables, pairs, calibration, curves and provenance in one self-contained file, which runs no scripts
and fetches nothing. Maps are predicted again from the run's checkpoint if data set and checkpoint are available;
otherwise the page says what is missing. Coverages of all test pairs are kept in ``calibration.csv`` of the run and read
from there the next time. The command line is ``saltext report``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from saltext import storage
from saltext.console import progress
from saltext.data.report import Track
from saltext.errors import ConfigError, SaltextError
from saltext.reporting import document, provenance, run_page
from saltext.reporting.run_page import Chosen, Predicted, ShownRun, SweepRuns
from saltext.results import calibration
from saltext.results.score_table import pooled
from saltext.results.selection import Key
from saltext.runs.jobs import latest_jobs
from saltext.runs.predict_again import fingerprint, predict_again
from saltext.runs.records import readable
from saltext.runs.saved import configuration
from saltext.runs.sweep import sweep_scores
from saltext.runs.trust import check_links
from saltext.system.run_folder import RunFolder, label

_HYDRA = ".hydra"  # folder with a config.yaml of Hydra's own


@dataclass(frozen=True)
class Request:
    """A page to write.

    Attributes:
        run: Folder of a run or of several.
        other: Folder of another run; None for none.
        predicts: Whether networks may predict maps again.
        changes: Overrides of the runs' configurations.
        trust: Whether the folders are trusted, see :mod:`saltext.runs.trust`.
    """

    run: Path
    other: Path | None = None
    predicts: bool = True
    changes: DictConfig = field(default_factory=OmegaConf.create)
    trust: bool = False


def write(request: Request) -> Path:
    """Write the page.

    Returns:
        The HTML file.

    Raises:
        ConfigError: A folder has no run, or one that cannot be shown, or the page cannot be written.
    """
    if not RunFolder(request.run).config.is_file() and request.other is None:
        sweep = read_sweep(request.run)
        best = next((run for run, _ in sweep.ranked()), None)
        chosen = Chosen() if best is None else Chosen.of(best)
        page = run_page.sweep_page(sweep, None if best is None else _with_maps(best, chosen, request), chosen)
    else:
        folders = [path for path in (request.run, request.other) if path is not None]
        runs = readable([RunFolder.existing(path) for path in folders], provenance.SHOWN)
        chosen = Chosen.of(runs[0])
        page = run_page.page([_with_maps(run, chosen, request) for run in runs], chosen)
    file = RunFolder(request.run).report
    try:
        storage.write_text(file, document.html(page))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error}. Copy the folder to one that you can write to, and name that."
        ) from error
    return file


def read_sweep(root: Path) -> SweepRuns:
    """The runs of the latest sweep that was started in a folder; without a sweep, all runs below it.

    Raises:
        ConfigError: There is no run.
    """
    jobs = latest_jobs(root)
    below = (RunFolder(path.parent) for path in sorted(root.rglob("config.yaml")) if path.parent.name != _HYDRA)
    folders = [job.folder for job in jobs] or [folder for folder in below if folder.split.is_file()]
    begun = [folder for folder in folders if folder.split.is_file()]
    if not begun:
        problem = "has none" if root.is_dir() else "does not exist"
        raise ConfigError(
            f"Expected the folder of a run, or one with runs below it, but {root} {problem}. Runs are written below "
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
    pairs = {pair.key for pair in chosen.extremes}
    return with_predictions(run, pairs, swaps, request.changes, track, request.trust)


def with_predictions(
    run: ShownRun,
    pairs: Collection[Key],
    swaps: Sequence[str],
    changes: DictConfig,
    track: Track | None,
    trust: bool = False,
) -> ShownRun:
    """The run with the maps a page shows, and the coverages of all its test pairs.

    Coverages in the run's folder are not computed again; new ones are written there. Where the network cannot predict,
    ``missing`` of the run says why.

    Args:
        run: Read from its files.
        pairs: Pairs to show.
        swaps: Images to show under both texts.
        changes: Overrides of its configuration, for example the data's new folder.
        track: Shows the progress; None: nothing may be predicted.
        trust: Whether the folder is trusted, see :mod:`saltext.runs.trust`.
    """
    folder = run.record.folder
    if run.own.empty:
        return replace(run, missing="it has no scores of a trained model (yet)")
    try:
        check_links(folder)
        configured = configuration(folder, changes, trust)
        run_fingerprint = fingerprint(configured.cfg, folder)
    except SaltextError as error:
        return replace(run, missing=str(error))
    coverage = calibration.read(folder, run_fingerprint)
    coverage_alone = Predicted() if coverage is None else Predicted(coverage=coverage)
    if track is None:
        return replace(run, predicted=coverage_alone, missing="predicting was switched off (--no-predict)")
    try:
        predicted = predict_again(configured, folder, pairs, swaps, coverage is None, track)
    except (SaltextError, OSError) as error:  # OSError: raised by libraries that look for weights
        return replace(run, predicted=coverage_alone, missing=" ".join([str(error), configured.remark()]).strip())
    if coverage is None:
        calibration.write(folder, predicted.coverage, run_fingerprint)
        return replace(run, predicted=predicted)
    return replace(run, predicted=replace(predicted, coverage=coverage))
