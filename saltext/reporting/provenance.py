"""Provenance of a run's numbers: commit, machine, date, data, and the selected epoch."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from saltext.results.run_record import RunRecord, chosen_epochs

UNKNOWN = "–"
_PACKAGES = ("saltext", "torch", "lightning")

SHOWN = (
    "name", "label", "seed", "model.name", "data.tasks", "data.split_seed", "data.image_size", "evaluation.monitor",
    "evaluation.mode", "trainer.max_epochs",
)  # fmt: skip
"""Keys of a configuration that :func:`facts` reads."""


def row(run: RunRecord) -> dict[str, str]:
    """The provenance of one run among several; a + behind the commit stands for uncommitted changes."""
    last = (run.folder.read_starts() or [{}])[-1]
    gpus = "".join(f", {gpu}" for gpu in last.get("gpus") or ())
    return {
        "input": "x".join(str(side) for side in run.cfg.data.image_size),
        "epochs": ", ".join(f"{stage.name} {stage.epochs}".strip() for stage in run.stages),
        "seed": str(run.cfg.seed),
        "minutes": f"{run.folder.read_result()['seconds'] / 60:.1f}" if run.folder.is_finished else "not finished",
        "commit": str(last.get("commit") or UNKNOWN)[:7] + ("+" if last.get("uncommitted_changes") else ""),
        "machine": f"{last.get('cores', UNKNOWN)} cores, {last.get('cpu', UNKNOWN)}{gpus}",
    }


def facts(run: RunRecord, scores: pd.DataFrame) -> dict[str, str]:
    """The provenance of a run's numbers, by the names of the facts; ``scores`` are of its own model, may be empty."""
    records = run.folder.read_starts()
    first, last = (records[0], records[-1]) if records else ({}, {})
    cfg, shown = run.cfg, row(run)
    time = str(first.get("time", UNKNOWN)).replace("T", " ").replace("+00:00", " UTC")
    tested: Mapping[Any, int] = dict(scores["task"].value_counts(sort=False)) if len(scores) else {}
    packages = last.get("packages", {})
    tasks = cfg.data.tasks
    conditions = "all" if tasks is None else tasks if isinstance(tasks, str) else ", ".join(tasks)
    selected = [f"{stage.name} {epoch} ({run.monitor} {best:.3f})".strip() for stage, epoch, best in chosen_epochs(run)]
    return {
        "run": f"{cfg.name}: {run.label}",
        "folder": run.folder.root.resolve().name,
        "state": f"finished, {shown['minutes']} min in its last start" if run.folder.is_finished else "not finished",
        "started": time + (f", {len(records)} times" if records[1:] else ""),
        "commit": shown["commit"] + (" (with uncommitted changes)" if last.get("uncommitted_changes") else ""),
        "machine": shown["machine"],
        "versions": ", ".join(f"{name} {packages.get(name, UNKNOWN)}" for name in _PACKAGES),
        "model": str(cfg.model.name),
        "conditions": conditions,
        "evaluation setting": run.setting,
        "split sizes": run.split_sizes,
        "test pairs": ", ".join(f"{task} {count}" for task, count in tested.items()) or UNKNOWN,
        "seed": f"{cfg.seed} (of the split: {cfg.data.split_seed})",
        "input": f"{shown['input']} pixels (height x width)",
        "epochs": shown["epochs"],
        "selected epoch (from 0)": ", ".join(selected) or UNKNOWN,
    }
