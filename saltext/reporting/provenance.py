"""Where a run's numbers come from: commit, machine, date, data, and which epoch was selected."""

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
"""Keys of a configuration that are shown here."""


def starts(folder: RunFolder) -> list[dict[str, Any]]:
    """The records of a run's starts, see :func:`saltext.runs.provenance.describe`; empty if none is whole."""
    try:
        found: list[dict[str, Any]] = read_json(folder.provenance, list) if folder.provenance.is_file() else []
    except DamagedFileError as error:
        _log.warning("%s; what it says is left out", error)
        return []
    return [start for start in found if isinstance(start, dict)]


def commit(start: Mapping[str, Any]) -> str:
    """Seven digits of a start's commit, with a + where files were changed since."""
    return str(start.get("commit") or UNKNOWN)[:7] + ("+" if start.get("uncommitted_changes") else "")


def machine(start: Mapping[str, Any]) -> str:
    """Cores, processor and GPUs of a start."""
    gpus = "".join(f", {gpu}" for gpu in start.get("gpus") or ())
    return f"{start.get('cores', UNKNOWN)} cores, {start.get('cpu', UNKNOWN)}{gpus}"


def minutes(folder: RunFolder) -> float | None:
    """How long the last start of a finished run took; None for others."""
    return folder.read_result()["seconds"] / 60 if folder.is_finished else None


def epochs(run: RunRecord) -> str:
    """Epochs of each training."""
    return ", ".join(f"{stage.name} {stage.epochs}".strip() for stage in run.stages)


def input_size(run: RunRecord) -> str:
    """Height and width of the network's input."""
    return "x".join(str(side) for side in run.cfg.data.image_size)


def facts(run: RunRecord, scores: pd.DataFrame) -> dict[str, str]:
    """What a reader has to know of a run to judge its numbers.

    Args:
        run: The run.
        scores: Of its own model, one row a test pair; may be empty.
    """
    begun = starts(run.folder)
    first, last = (begun[0], begun[-1]) if begun else ({}, {})
    took, cfg = minutes(run.folder), run.cfg
    time = str(first.get("time", UNKNOWN)).replace("T", " ").replace("+00:00", " UTC")
    tested: Mapping[Any, int] = dict(scores["task"].value_counts(sort=False)) if len(scores) else {}
    packages = last.get("packages", {})
    tasks = cfg.data.tasks
    named = "all" if tasks is None else tasks if isinstance(tasks, str) else ", ".join(tasks)
    selected = [f"{stage.name} {epoch} ({run.monitor} {best:.3f})".strip() for stage, epoch, best in chosen_epochs(run)]
    return {
        "run": f"{cfg.name}: {run.label}",
        "folder": run.folder.root.resolve().name,
        "state": "not finished" if took is None else f"finished, {took:.1f} min in its last start",
        "started": time + (f", {len(begun)} times" if begun[1:] else ""),
        "commit": commit(last) + (" (with uncommitted changes)" if last.get("uncommitted_changes") else ""),
        "machine": machine(last),
        "versions": ", ".join(f"{name} {packages.get(name, UNKNOWN)}" for name in _PACKAGES),
        "model": str(cfg.model.name),
        "conditions": named,
        "evaluation setting": run.setting,
        "split sizes": run.split_sizes,
        "test pairs": ", ".join(f"{task} {count}" for task, count in tested.items()) or UNKNOWN,
        "seed": f"{cfg.seed} (of the split: {cfg.data.split_seed})",
        "input": f"{input_size(run)} pixels (height x width)",
        "epochs": epochs(run),
        "selected epoch (from 0)": ", ".join(selected) or UNKNOWN,
    }
