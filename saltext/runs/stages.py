"""The trainings a run consists of: one, or several stages that start from each other."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saltext.errors import ConfigError
from saltext.system.run_folder import RunFolder

_KEYS = {"tasks", "epochs", "lr", "start", "test"}
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        name: Empty for the only one of a run without stages.
        cfg: The run's configuration with the stage's own values.
        folder: Where it writes; the run's own folder without stages.
        start: Folder of the stage whose chosen weights it begins with, or None.
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
        tasks: Names of the data set's tasks; None where no data are at hand to ask, which checks no names.

    Raises:
        ConfigError: Stages that cannot be run; all problems at once.
    """
    given: dict[str, Any] = OmegaConf.to_container(cfg.stages.sequence, resolve=True)  # type: ignore[assignment]
    if not given:
        return [Stage("", _shortened(cfg), folder, None, True)]
    problems = [problem for name in given for problem in _problems(name, given, tasks)]
    if not any(values.get("test", True) for values in given.values()):
        problems.append("no stage is tested (test: true)")
    if problems:
        raise ConfigError(f"stages.sequence: {'; '.join(problems)}")
    return [
        Stage(
            name,
            _shortened(_configuration(cfg, values)),
            folder.stage(name),
            folder.stage(values["start"]) if values.get("start") else None,
            values.get("test", True),
        )
        for name, values in given.items()
    ]


def _problems(name: str, given: Mapping[str, Mapping[str, Any]], known: Collection[str] | None) -> list[str]:
    values, earlier = given[name], list(given)[: list(given).index(name)]
    tasks, epochs, lr, start = (values.get(key) for key in ("tasks", "epochs", "lr", "start"))
    unknown = set() if known is None else set(tasks or ()) - set(known)
    found = {
        f"unknown keys {sorted(set(values) - _KEYS)} (known: {', '.join(sorted(_KEYS))})": set(values) - _KEYS,
        "a name of letters, digits, _ and - is needed": not _NAME.fullmatch(name),
        f"unknown tasks in {tasks} (known: {', '.join(known or ())})": unknown,
        f"epochs={epochs}, at least 1 expected": epochs is not None and not epochs >= 1,
        f"lr={lr}, above 0 expected": lr is not None and not lr > 0,
        f"start={start} is no earlier stage (earlier: {', '.join(earlier) or 'none'})": start and start not in earlier,
    }
    return [f"{name}: {text}" for text, wrong in found.items() if wrong]


def _configuration(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
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


def _shortened(cfg: DictConfig) -> DictConfig:
    """With ``trainer.fast_dev_run``, that many batches of one epoch. Lightning's own way keeps no weights to test."""
    batches = cfg.trainer.get("fast_dev_run", False)
    if not batches:
        return cfg
    # As an integer: 1.0 is all of them.
    few = {
        "max_epochs": 1,
        "limit_train_batches": int(batches),
        "limit_val_batches": int(batches),
        "fast_dev_run": False,
    }
    merged: DictConfig = OmegaConf.merge(cfg, {"trainer": few})  # type: ignore[assignment]
    return merged


def weights_of(stage: Stage, which: str = "chosen") -> Path:
    """The checkpoint a stage is tested with.

    Args:
        stage: A stage that has trained.
        which: ``chosen`` (the best epoch's, or the last one's where no images were kept to choose) or ``last``.
    """
    return {"chosen": stage.folder.chosen, "last": stage.folder.last}[which]
