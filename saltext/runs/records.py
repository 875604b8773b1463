"""Read runs from their folders for results and pages, without building anything."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from omegaconf import DictConfig, OmegaConf

from saltext.data.splits import Split
from saltext.errors import ConfigError, SaltextError
from saltext.reporting.run_page import NOTHING, ShownRun
from saltext.results import run_record
from saltext.results.comparison import unique_names
from saltext.results.run_record import RunRecord, StageRecord, evaluation_setting
from saltext.results.score_table import read_run_scores
from saltext.runs import schema
from saltext.runs.trust import record
from saltext.runs.untrusted_yaml import parsed
from saltext.storage import read_text
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)

_REQUIRED = ("name", "label", "seed", "data._target_", "data.selection_split", "stages.sequence")


def read_record(folder: RunFolder, needed: Sequence[str] = ()) -> RunRecord:
    """Read the record of a run that has written its split.

    Args:
        folder: The run's.
        needed: Keys its configuration must have besides those of every record.

    Raises:
        SaltextError: Its configuration or its split is damaged, or a key is missing.
    """
    cfg = record(folder, (*_REQUIRED, *needed))
    setting = evaluation_setting(Split.load(folder.split), cfg.data.selection_split)
    generated = cfg.data._target_ == schema.SYNTHETIC
    return RunRecord(folder, cfg, setting, generated, _stages(cfg), failure=folder.read_failure())


def _stages(cfg: DictConfig) -> list[StageRecord]:
    epochs = OmegaConf.select(cfg, "trainer.max_epochs", default=0)
    given = OmegaConf.to_container(cfg.stages.sequence)
    if not isinstance(given, dict) or not given:
        return [StageRecord("", epochs)]
    return [
        StageRecord(str(name), values.get("epochs") or epochs, values.get("test", True))
        for name, values in given.items()
    ]


def read_records(folders: Iterable[RunFolder]) -> list[RunRecord]:
    """The records of those runs that have written their split; the log names damaged ones, which are left out."""
    records = []
    for folder in folders:
        if folder.config.is_file() and folder.split.is_file():
            try:
                records.append(read_record(folder))
            except SaltextError as error:
                _log.warning("left out: %s", error)
    return records


def monitored(folder: RunFolder) -> float | None:
    """The best value of the metric that selects the epoch, for sweepers to optimise.

    Args:
        folder: Of a run, finished or not.

    Returns:
        See :func:`saltext.results.run_record.monitored`; None also where the configuration is damaged, with a warning.
    """
    try:
        cfg = record(folder, ("evaluation.monitor", "evaluation.mode", "stages.sequence"))
    except SaltextError as error:
        _log.warning("%s", error)
        return None
    return run_record.monitored(RunRecord(folder, cfg, "", stages=_stages(cfg)))


def read_run(folder: RunFolder, needed: Sequence[str] = ()) -> ShownRun:
    """A run and its scores, read from its files alone.

    Args:
        folder: The run's.
        needed: See :func:`read_record`.

    Raises:
        ConfigError: The run has not split its data yet, or was written by another version of saltext.
        SaltextError: One of its files is damaged.
    """
    if not folder.split.is_file():
        raise ConfigError(
            f"Expected a run that has begun to train, but {folder.root} has no split.json. See its run.log, and "
            f"continue with python -m saltext.run resume={folder.root}"
        )
    of_another_version = ConfigError(
        f"{folder.root} was written by an earlier version of saltext, whose scores have no protocol. Train the model "
        f"again, or use {folder.version()}."
    )
    if OmegaConf.select(record(folder), "data.selection_split") is None:
        raise of_another_version
    run = read_record(folder, needed)
    scores = read_run_scores(folder) if folder.scores.is_file() else NOTHING
    if "protocol" not in scores.pairs:
        raise of_another_version
    file = folder.root / ".hydra" / "overrides.yaml"
    overrides = parsed(read_text(file), file) if file.is_file() else None
    command = " ".join(["python -m saltext.run", *map(str, overrides)]) if isinstance(overrides, list) else ""
    return ShownRun(replace(run, started_by=command), run.label, scores)


def readable(folders: Iterable[RunFolder], needed: Sequence[str] = ()) -> list[ShownRun]:
    """Runs with unique names, read from their folders; the log names those that cannot be read, which are left out.

    Args:
        folders: Of runs that have begun to train.
        needed: See :func:`read_record`.

    Raises:
        SaltextError: None can be read.
    """
    runs: list[ShownRun] = []
    problems: list[SaltextError] = []
    for folder in folders:
        try:
            runs.append(read_run(folder, needed))
        except SaltextError as error:
            problems.append(error)
    if not runs:
        raise problems[0]
    for problem in problems:
        _log.warning("left out: %s", problem)
    return with_unique_names(runs)


def with_unique_names(runs: Sequence[ShownRun]) -> list[ShownRun]:
    """The runs with names as :func:`saltext.results.comparison.unique_names` gives them."""
    names = unique_names([run.name for run in runs], [run.record.folder.root for run in runs])
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]
