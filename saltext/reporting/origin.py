"""Where a run's numbers come from, in words: commit, machine, date, data, and which epoch was chosen."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from saltext.data.splits import PARTS, Part, Split
from saltext.errors import DamagedFileError
from saltext.reporting.curves import read_curves
from saltext.runs.stages import stages
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


def epochs(cfg: DictConfig, folder: RunFolder) -> str:
    """Epochs of each training."""
    counts = [(stage.name, stage.cfg.trainer.max_epochs) for stage in stages(cfg, folder)]
    return ", ".join(f"{name} {count}".strip() for name, count in counts)


def input_size(cfg: DictConfig) -> str:
    """Height and width of the network's input."""
    return "x".join(str(side) for side in cfg.data.image_size)


def chosen_epochs(cfg: DictConfig, folder: RunFolder) -> str:
    """Which epoch of each tested training the monitored metric chose, as logged; where nothing chose, nothing."""
    logged = read_curves(folder)
    values = logged[logged["name"] == cfg.evaluation.monitor]
    found = []
    for stage in (stage for stage in stages(cfg, folder) if stage.tests):
        part = values[values["stage"] == stage.name].sort_values("epoch").reset_index(drop=True)
        if len(part):
            best = part.loc[part["value"].idxmax() if cfg.evaluation.mode == "max" else part["value"].idxmin()]
            found.append(f"{stage.name} {best['epoch']} ({cfg.evaluation.monitor} {best['value']:.3f})".strip())
    return ", ".join(found) or UNKNOWN


def facts(cfg: DictConfig, folder: RunFolder, how: str, scores: pd.DataFrame) -> dict[str, str]:
    """What a reader has to know of a run to judge its numbers.

    Args:
        cfg: Its configuration.
        folder: Its files.
        how: Split and choice of the epoch, see :func:`circumstances`.
        scores: Of its own model, one row a test pair; may be empty.
    """
    begun = starts(folder)
    first, last = (begun[0], begun[-1]) if begun else ({}, {})
    took = minutes(folder)
    split = Split.load(folder.split)
    time = str(first.get("time", UNKNOWN)).replace("T", " ").replace("+00:00", " UTC")
    tested: Mapping[Any, int] = dict(scores["task"].value_counts(sort=False)) if len(scores) else {}
    packages = last.get("packages", {})
    return {
        "run": f"{cfg.name}: {cfg.label}",
        "folder": folder.root.resolve().name,
        "state": "not finished" if took is None else f"finished, {took:.1f} min in its last start",
        "started": time + (f", {len(begun)} times" if begun[1:] else ""),
        "commit": commit(last) + (" (with uncommitted changes)" if last.get("uncommitted_changes") else ""),
        "machine": machine(last),
        "versions": ", ".join(f"{name} {packages.get(name, UNKNOWN)}" for name in _PACKAGES),
        "model": str(cfg.model.name),
        "tasks": _named(cfg.data.tasks),
        "split and epoch": how,
        "in its parts": ", ".join(f"{part} {len(split.parts[part])}" for part in PARTS) + f" {split.unit}s",
        "test pairs": ", ".join(f"{task} {count}" for task, count in tested.items()) or UNKNOWN,
        "seed": f"{cfg.seed} (of the split: {cfg.data.split_seed})",
        "input": f"{input_size(cfg)} pixels (height x width)",
        "epochs": epochs(cfg, folder),
        "epoch chosen (from 0)": chosen_epochs(cfg, folder),
    }


def _named(tasks: str | Sequence[str] | None) -> str:
    """The tasks as the configuration names them, one, several, or none for all."""
    if tasks is None:
        return "all"
    return tasks if isinstance(tasks, str) else ", ".join(tasks)


def circumstances(split: Split, choose_on: Part) -> str:
    """How the split was made and the epoch chosen, in a sentence."""
    grouped = "grouped by image" if split.unit == "image" else "by row: test images also train under other texts"
    chosen = {"val": "the validation part" if split.parts["val"] else "nothing (the last one)"}
    on = chosen.get(choose_on, "the test part itself, which makes its scores optimistic")
    return f"Split: {split.method}, seed {split.seed}, {grouped}. Epoch chosen on {on}."
