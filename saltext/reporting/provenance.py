"""Provenance of a run's numbers: commit, machine, date, data, and the selected epoch."""

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd

from saltext.errors import DamagedFileError
from saltext.results.run_record import RunRecord, chosen_epochs
from saltext.storage import read_json
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)

UNKNOWN = "–"
_PACKAGES = ("saltext", "torch", "lightning")

SHOWN = (
    "name", "label", "seed", "model.name", "data.tasks", "data.split_seed", "data.image_size", "evaluation.monitor",
    "evaluation.mode", "trainer.max_epochs",
)  # fmt: skip
"""Keys of a configuration that :func:`facts` reads."""


def starts(folder: RunFolder) -> list[dict[str, Any]]:
    """The records of a run's starts, see :func:`saltext.runs.provenance.describe`; empty if there are none to read."""
    try:
        records: list[dict[str, Any]] = read_json(folder.provenance, list) if folder.provenance.is_file() else []
    except DamagedFileError as error:
        _log.warning("%s; left out", error)
        return []
    return [start for start in records if isinstance(start, dict)]


def commit(start: Mapping[str, Any]) -> str:
    """Seven digits of a start's commit, with a + where there were uncommitted changes."""
    return str(start.get("commit") or UNKNOWN)[:7] + ("+" if start.get("uncommitted_changes") else "")


def machine(start: Mapping[str, Any]) -> str:
    """Cores, processor and GPUs of a start."""
    gpus = "".join(f", {gpu}" for gpu in start.get("gpus") or ())
    return f"{start.get('cores', UNKNOWN)} cores, {start.get('cpu', UNKNOWN)}{gpus}"


def minutes(folder: RunFolder) -> float | None:
    """Duration of the last start of a finished run, in minutes; None for a run that is not finished."""
    return folder.read_result()["seconds"] / 60 if folder.is_finished else None


def epochs(run: RunRecord) -> str:
    """Epochs of each training."""
    return ", ".join(f"{stage.name} {stage.epochs}".strip() for stage in run.stages)


def input_size(run: RunRecord) -> str:
    """Height and width of the network's input."""
    return "x".join(str(side) for side in run.cfg.data.image_size)


def facts(run: RunRecord, scores: pd.DataFrame) -> dict[str, str]:
    """The provenance of a run's numbers.

    Args:
        run: The run.
        scores: Of its own model, one row per test pair; may be empty.

    Returns:
        Name of the fact -> its text.
    """
    records = starts(run.folder)
    first, last = (records[0], records[-1]) if records else ({}, {})
    took, cfg = minutes(run.folder), run.cfg
    time = str(first.get("time", UNKNOWN)).replace("T", " ").replace("+00:00", " UTC")
    tested: Mapping[Any, int] = dict(scores["task"].value_counts(sort=False)) if len(scores) else {}
    packages = last.get("packages", {})
    tasks = cfg.data.tasks
    conditions = "all" if tasks is None else tasks if isinstance(tasks, str) else ", ".join(tasks)
    selected = [f"{stage.name} {epoch} ({run.monitor} {best:.3f})".strip() for stage, epoch, best in chosen_epochs(run)]
    return {
        "run": f"{cfg.name}: {run.label}",
        "folder": run.folder.root.resolve().name,
        "state": "not finished" if took is None else f"finished, {took:.1f} min in its last start",
        "started": time + (f", {len(records)} times" if records[1:] else ""),
        "commit": commit(last) + (" (with uncommitted changes)" if last.get("uncommitted_changes") else ""),
        "machine": machine(last),
        "versions": ", ".join(f"{name} {packages.get(name, UNKNOWN)}" for name in _PACKAGES),
        "model": str(cfg.model.name),
        "conditions": conditions,
        "evaluation setting": run.setting,
        "split sizes": run.split_sizes,
        "test pairs": ", ".join(f"{task} {count}" for task, count in tested.items()) or UNKNOWN,
        "seed": f"{cfg.seed} (of the split: {cfg.data.split_seed})",
        "input": f"{input_size(run)} pixels (height x width)",
        "epochs": epochs(run),
        "selected epoch (from 0)": ", ".join(selected) or UNKNOWN,
    }
