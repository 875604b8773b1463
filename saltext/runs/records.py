"""Runs as results and pages know them, read from their folders; nothing is built."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from omegaconf import DictConfig, OmegaConf

from saltext.data.splits import Split
from saltext.errors import ConfigError, DamagedFileError, DataError, SaltextError
from saltext.reporting.run_page import NOTHING, ShownRun
from saltext.results import run_record
from saltext.results.run_record import RunRecord, StageRecord, evaluation_setting
from saltext.results.score_table import read_run_scores
from saltext.runs.trust import parsed, read_text, record
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)

_GENERATED = "saltext.data.datamodule.synthetic"
_NEEDED = ("name", "label", "seed", "data._target_", "data.selection_split", "stages.sequence")


def read_record(folder: RunFolder, needed: Sequence[str] = ()) -> RunRecord:
    """A run that got as far as having a split.

    Args:
        folder: The run's.
        needed: Keys its configuration has to have besides those every record needs.

    Raises:
        SaltextError: Its configuration or its split is damaged, or a key is not there.
    """
    cfg = record(folder, (*_NEEDED, *needed))
    setting = evaluation_setting(Split.load(folder.split), cfg.data.selection_split)
    return RunRecord(folder, cfg, setting, cfg.data._target_ == _GENERATED, _stages(cfg), failure=folder.read_failure())


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
    """The runs among some folders that got as far as having a split; damaged ones are named in the log and left out."""
    found = []
    for folder in folders:
        if folder.config.is_file() and folder.split.is_file():
            try:
                found.append(read_record(folder))
            except SaltextError as error:
                _log.warning("left out: %s", error)
    return found


def monitored(folder: RunFolder) -> float | None:
    """The best value of the metric that selects the epoch, for sweepers to optimise.

    Args:
        folder: Of a run, finished or not.

    Returns:
        See :func:`saltext.results.run_record.monitored`; None also where the configuration is damaged: the log says so.
    """
    try:
        cfg = record(folder, ("evaluation.monitor", "evaluation.mode", "stages.sequence"))
    except SaltextError as error:
        _log.warning("%s", error)
        return None
    return run_record.monitored(RunRecord(folder, cfg, "", stages=_stages(cfg)))


def read_run(folder: RunFolder, needed: Sequence[str] = ()) -> ShownRun:
    """A run and its scores, from its files alone.

    Args:
        folder: The run's.
        needed: See :func:`read_record`.

    Raises:
        ConfigError: It did not get as far as dividing its data, or another version of saltext left it.
        SaltextError: A file that it left is damaged.
    """
    if not folder.split.is_file():
        raise ConfigError(
            f"Expected a run that has begun to train, but {folder.root} holds no split.json. Its run.log says how far "
            f"it got; python -m saltext.run resume={folder.root} goes on."
        )
    of_another_version = ConfigError(
        f"{folder.root} was left by an earlier version of saltext, whose scores have no protocol. Train the model "
        "again, or use the version in its provenance.json."
    )
    if OmegaConf.select(record(folder), "data.selection_split") is None:
        raise of_another_version
    run = read_record(folder, needed)
    scores = read_run_scores(folder) if folder.scores.is_file() else NOTHING
    if "protocol" not in scores.pairs:
        raise of_another_version
    return ShownRun(replace(run, started_by=_command(folder)), run.label, scores)


def _command(folder: RunFolder) -> str:
    """How a run was started; empty if that is not known."""
    started = folder.root / ".hydra" / "overrides.yaml"
    overrides = parsed(read_text(started), started) if started.is_file() else None
    return " ".join(["python -m saltext.run", *map(str, overrides)]) if isinstance(overrides, list) else ""


def readable(folders: Iterable[RunFolder], needed: Sequence[str] = ()) -> list[ShownRun]:
    """The runs, with names that differ; damaged ones are named in the log and left out.

    Args:
        folders: Of runs that have begun to train.
        needed: See :func:`read_record`.

    Raises:
        SaltextError: None is left, or one cannot be shown for another reason.
    """
    found: list[ShownRun] = []
    problems: list[SaltextError] = []
    for folder in folders:
        try:
            found.append(read_run(folder, needed))
        except (DamagedFileError, DataError) as error:
            problems.append(error)
    if not found:
        raise problems[0]
    for problem in problems:
        _log.warning("left out: %s", problem)
    return named_apart(found)


def named_apart(runs: Sequence[ShownRun]) -> list[ShownRun]:
    """The runs with names that differ: their labels where these do, else with their folders."""
    labels = [run.name for run in runs]
    names = [
        run.name if labels.count(run.name) == 1 else f"{run.name} ({run.record.folder.root.resolve().name})"
        for run in runs
    ]
    numbered = [name if names.count(name) == 1 else f"{name} {index}" for index, name in enumerate(names, start=1)]
    return [replace(run, name=name) for run, name in zip(runs, numbered, strict=True)]
