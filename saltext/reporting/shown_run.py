"""A run as a page shows it: its record, its scores, and what its network predicts again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from saltext.data.faults import Track
from saltext.data.splits import Split
from saltext.errors import ConfigError, SaltextError
from saltext.evaluation.protocols import STANDARD
from saltext.reporting import calibration
from saltext.reporting.predicted import Key, Predicted, fingerprint, predict
from saltext.reporting.scores import RunScores, of_protocol, read_run_scores
from saltext.reporting.study_cells import Job, read_job
from saltext.runs.saved import configuration
from saltext.runs.trust import record, refuse_links
from saltext.system.run_folder import RunFolder

_NOTHING = RunScores(
    pd.DataFrame({"image_id": [], "task": [], "text": [], "model": [], "protocol": []}), pd.DataFrame()
)


@dataclass(frozen=True)
class ShownRun:
    """A run on a page.

    Attributes:
        job: Its record.
        name: What it is called there; unique on the page.
        scores: Of its test pairs; without rows as long as there are none.
        predicted: What its network predicted again.
        missing: Why nothing was; empty if it was.
    """

    job: Job
    name: str
    scores: RunScores
    predicted: Predicted = field(default_factory=Predicted)
    missing: str = ""

    @property
    def folder(self) -> RunFolder:
        """Its files."""
        return self.job.folder

    @property
    def cfg(self) -> DictConfig:
        """Its configuration, for reading alone."""
        return self.job.cfg

    @property
    def own(self) -> pd.DataFrame:
        """Scores of its own model, standard protocol."""
        return self.of_model(self.cfg.label)

    def of_model(self, title: str) -> pd.DataFrame:
        """Scores of a model or baseline, standard protocol."""
        pairs = of_protocol(self.scores.pairs, STANDARD)
        found: pd.DataFrame = pairs[pairs["model"] == title]
        return found

    @property
    def split(self) -> Split:
        """Which images it trained on, and which it was tested on."""
        return Split.load(self.folder.split)


def read_run(folder: RunFolder) -> ShownRun:
    """A run and its scores, from its files alone.

    Raises:
        ConfigError: It did not get as far as dividing its data, or another version of saltext left it.
        SaltextError: A file that it left is damaged.
    """
    if not folder.split.is_file():
        raise ConfigError(
            f"Expected a run that has begun to train, but {folder.root} holds no split.json. Its run.log says how far "
            f"it came; python -m saltext.run resume={folder.root} goes on."
        )
    if OmegaConf.select(record(folder), "data.choose_on") is None:
        raise _of_another_version(folder)
    job = read_job(folder)
    scores = read_run_scores(folder) if folder.scores.is_file() else _NOTHING
    if "protocol" not in scores.pairs:
        raise _of_another_version(folder)
    return ShownRun(job, job.cfg.label, scores)


def _of_another_version(folder: RunFolder) -> ConfigError:
    return ConfigError(
        f"{folder.root} was left by an earlier version of saltext, whose scores have no protocol. Train the model "
        "again, or use the version in its provenance.json."
    )


def named_apart(runs: Sequence[ShownRun]) -> list[ShownRun]:
    """The runs with names that differ: their labels where these do, else with their folders."""
    labels = [run.name for run in runs]
    names = [
        run.name if labels.count(run.name) == 1 else f"{run.name} ({run.folder.root.resolve().name})" for run in runs
    ]
    numbered = [name if names.count(name) == 1 else f"{name} {place}" for place, name in enumerate(names, start=1)]
    return [replace(run, name=name) for run, name in zip(runs, numbered, strict=True)]


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
    if run.own.empty:
        return replace(run, missing="it has no scores of a model of its own (yet)")
    try:
        refuse_links(run.folder)
        configured = configuration(run.folder, changes, trust)
        mark = fingerprint(configured.cfg, run.folder)
    except SaltextError as error:
        return replace(run, missing=str(error))
    known = calibration.read(run.folder, mark)
    kept = Predicted() if known is None else Predicted(coverage=known)
    if track is None:
        return replace(run, predicted=kept, missing="it was asked to predict nothing (--no-predict)")
    try:
        found = predict(configured, run.folder, pairs, swaps, known is None, track)
    except (SaltextError, OSError) as error:  # OSError: of libraries that look for weights
        return replace(run, predicted=kept, missing=" ".join([str(error), configured.remark()]).strip())
    if known is None:
        calibration.write(run.folder, found.coverage, mark)
        return replace(run, predicted=found)
    return replace(run, predicted=replace(found, coverage=known))
