"""The trainings a run consists of: one, or several stages that start from each other."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saltext.errors import CheckpointError, ConfigError
from saltext.system.run_folder import RunFolder

_STAGE_KEYS = {"tasks", "epochs", "lr", "start", "test"}
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        name: Of the stage; empty for the only training of a run without stages.
        cfg: The run's configuration with the stage's own values.
        folder: The stage's folder; the run's own folder without stages.
        start: Folder of the stage whose selected weights it starts from; None for none.
        tests: Whether its test pairs are scored.
    """

    name: str
    cfg: DictConfig
    folder: RunFolder
    start: RunFolder | None
    tests: bool


def stages(cfg: DictConfig, folder: RunFolder, tasks: Collection[str] | None = None) -> list[Stage]:
    """The stages of a run, in the order in which they train.

    Args:
        cfg: The run's configuration; ``stages.sequence`` maps a name to ``tasks``, ``epochs``, ``lr``, ``start``,
            ``test``, all optional.
        folder: The run's.
        tasks: Names of the data set's tasks; None without data, so that names are not checked.

    Raises:
        ConfigError: All problems with the stages at once.
    """
    given: dict[str, Any] = OmegaConf.to_container(cfg.stages.sequence, resolve=True)  # type: ignore[assignment]
    if not given:
        return [Stage("", _with_fast_dev_run(cfg), folder, None, True)]
    problems = [problem for name in given for problem in _stage_problems(name, given, tasks)]
    if not any(values.get("test", True) for values in given.values()):
        problems.append("expected at least one tested stage (test: true), got none")
    if problems:
        raise ConfigError(f"stages.sequence: {'; '.join(problems)}")
    return [
        Stage(
            name,
            _with_fast_dev_run(_stage_configuration(cfg, values)),
            folder.stage(name),
            folder.stage(values["start"]) if values.get("start") else None,
            values.get("test", True),
        )
        for name, values in given.items()
    ]


def _stage_problems(name: str, given: Mapping[str, Mapping[str, Any]], known: Collection[str] | None) -> list[str]:
    values, earlier = given[name], list(given)[: list(given).index(name)]
    tasks, epochs, lr, start = (values.get(key) for key in ("tasks", "epochs", "lr", "start"))
    unknown_keys = sorted(set(values) - _STAGE_KEYS)
    unknown_tasks = set() if known is None else set(tasks or ()) - set(known)
    checks = {
        f"unknown keys {unknown_keys}; choose from {', '.join(sorted(_STAGE_KEYS))}": unknown_keys,
        "expected a name of letters, digits, _ and -": not _NAME.fullmatch(name),
        f"unknown tasks in {tasks}; choose from {', '.join(known or ())}": unknown_tasks,
        f"expected epochs of at least 1, got {epochs}": epochs is not None and not epochs >= 1,
        f"expected lr above 0, got {lr}": lr is not None and not lr > 0,
        f"expected start to be an earlier stage ({', '.join(earlier) or 'there is none'}), got {start}": start
        and start not in earlier,
    }
    return [f"{name}: {text}" for text, is_wrong in checks.items() if is_wrong]


def _stage_configuration(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    own: dict[str, Any] = {"data": {}, "trainer": {}, "optimizer": {}}
    for key, (group, name) in {
        "tasks": ("data", "tasks"),
        "epochs": ("trainer", "max_epochs"),
        "lr": ("optimizer", "lr"),
    }.items():
        if values.get(key) is not None:
            own[group][name] = values[key]
    merged: DictConfig = OmegaConf.merge(cfg, own)  # type: ignore[assignment]
    return merged


def _with_fast_dev_run(cfg: DictConfig) -> DictConfig:
    """Limit one epoch to ``trainer.fast_dev_run`` batches. Lightning's own fast_dev_run saves no weights to test."""
    batches = cfg.trainer.get("fast_dev_run", False)
    if not batches:
        return cfg
    # As integers: to Lightning, 1.0 means all batches.
    limits = {
        "max_epochs": 1,
        "limit_train_batches": int(batches),
        "limit_val_batches": int(batches),
        "fast_dev_run": False,
    }
    merged: DictConfig = OmegaConf.merge(cfg, {"trainer": limits})  # type: ignore[assignment]
    return merged


def weights_of(stage: Stage, which: str = "chosen") -> Path:
    """The checkpoint a stage is tested with.

    Args:
        stage: A stage that has trained.
        which: ``chosen`` (the best epoch's; the last one's where there are no validation images) or ``last``.

    Raises:
        CheckpointError: It is not there.
    """
    path = {"chosen": stage.folder.chosen, "last": stage.folder.last}[which]
    if path.is_file():
        return path
    run = stage.folder.root.parents[1] if stage.name else stage.folder.root
    if not stage.folder.has_trained:
        raise CheckpointError(
            f"{stage.folder.root} has no weights in checkpoints/, since it has not finished an epoch. Continue it with "
            f"python -m saltext.run resume={run}, or name the folder of another run."
        )
    instead = f", score the last epoch with saltext evaluate {run} --weights last" * stage.folder.last.is_file()
    raise CheckpointError(
        f"There is no weight file {path}, whose weights {run} tested. Restore it from a copy{instead}, or run the "
        "command that started the run again with rerun=true."
    )
