"""A run for evaluation: its folder, its configuration for reading, and what it logged by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from saltext.data.splits import PARTS, Part, Split
from saltext.system.run_folder import RunFolder

_LOGS = "metrics/version_*/metrics.csv"
_LARGEST_LOG, _MOST_EPOCHS = 2**30, 10**9  # bytes; the file of a long run has some MB


@dataclass(frozen=True)
class StageRecord:
    """One training of a run: name of the stage (empty in a run without stages), configured epochs, whether it tests."""

    name: str
    epochs: int
    tests: bool = True


@dataclass(frozen=True)
class RunRecord:
    """A run that has begun to train, whether it has finished or not.

    Only runs whose evaluation ``setting`` (the split, and what selects the epoch) differs by the fold alone share a
    table; scores of ``generated`` data do not compare with published values. ``started_by`` (a command) and ``failure``
    may be empty.
    """

    folder: RunFolder
    cfg: DictConfig
    setting: str
    generated: bool = False
    stages: Sequence[StageRecord] = (StageRecord("", 0),)
    started_by: str = ""
    failure: str = ""

    @property
    def label(self) -> str:
        """The name of its model in tables."""
        return str(self.cfg.label)

    @property
    def monitor(self) -> str:
        """The metric that selects the epoch, as logged, such as ``val/cc``."""
        return str(OmegaConf.select(self.cfg, "evaluation.monitor", default=""))

    @property
    def mode(self) -> str:
        """``max`` or ``min``: which of its values is the best."""
        return str(OmegaConf.select(self.cfg, "evaluation.mode", default="max"))

    @property
    def split(self) -> Split:
        """Which images it trained on, and which it was tested on."""
        return Split.load(self.folder.split)

    @property
    def split_sizes(self) -> str:
        """Such as ``train 420, val 90, test 90 images``."""
        split = self.split
        return ", ".join(f"{part} {len(split.parts[part])}" for part in PARTS) + f" {split.unit}s"


def evaluation_setting(split: Split, selected_on: Part) -> str:
    """How the split was made and the checkpoint selected, in two sentences."""
    grouped = "grouped by image" if split.unit == "image" else "by row: test images may train under other texts"
    if selected_on == "test":
        selected = "Checkpoint selected on the test set, which makes its scores optimistic."
    else:
        selected = (
            "Checkpoint selected on the validation set." if split.parts["val"] else "Last epoch, no model selection."
        )
    return f"Split: {split.method}, seed {split.seed}, {grouped}. {selected}"


def read_history(folder: RunFolder, stages: Sequence[str] = ()) -> pd.DataFrame:
    """Everything a run and its stages logged by epoch.

    A resumed run continues in another file; where two have a value for an epoch, the later one counts. Damaged lines
    are left out, since a process may be killed while it writes one. ``stages`` are its stages in order; others follow.

    Returns:
        A row for each value, with ``stage`` (empty without stages), ``epoch`` (from 0), ``name`` (as logged) and
        ``value``.
    """
    names = sorted(path.name for path in (folder.root / "stages").glob("*") if path.is_dir())
    names.sort(key=lambda name: stages.index(name) if name in stages else len(stages))
    columns = ["stage", "epoch", "name", "value"]
    by_stage = [pd.DataFrame(columns=columns)]
    for stage, training in [("", folder), *((name, folder.stage(name)) for name in names)]:
        logged = []
        versions = {path.parent.name.removeprefix("version_"): path for path in training.root.glob(_LOGS)}
        for version in sorted(filter(str.isdecimal, versions), key=int):
            path = versions[version]
            if not path.is_file() or path.stat().st_size > _LARGEST_LOG:  # opening a pipe would wait forever
                continue
            try:
                table = pd.read_csv(path, on_bad_lines="skip", encoding_errors="replace", dtype=str)
            except (OSError, ValueError):  # an empty one, for example
                continue
            if "epoch" in table:
                numbers = table.drop(columns="step", errors="ignore").apply(pd.to_numeric, errors="coerce")
                numbers = numbers[numbers["epoch"].between(0, _MOST_EPOCHS)]
                logged.append(numbers.melt("epoch", var_name="name").dropna())
        if logged:
            latest = pd.concat(logged).drop_duplicates(["epoch", "name"], keep="last")
            by_stage.append(latest.assign(stage=stage).sort_values(["name", "epoch"], kind="stable"))
    values = pd.concat(by_stage[1:] or by_stage, ignore_index=True)[columns]
    return values.astype({"stage": str, "epoch": int, "name": str, "value": float})


def history(record: RunRecord) -> pd.DataFrame:
    """Everything a run logged by epoch, see :func:`read_history`."""
    return read_history(record.folder, [stage.name for stage in record.stages])


def chosen_epochs(record: RunRecord) -> list[tuple[StageRecord, int, float]]:
    """(stage, epoch from 0, value) that each tested training selected, where it logged the monitored metric."""
    logged = history(record).query("name == @record.monitor")
    chosen = []
    for stage in record.stages:
        values = logged[logged["stage"] == stage.name].set_index("epoch")["value"].sort_index()
        if stage.tests and len(values):
            epoch: Any = values.idxmax() if record.mode == "max" else values.idxmin()
            chosen.append((stage, int(epoch), float(values[epoch])))
    return chosen


def monitored(record: RunRecord) -> float | None:
    """The best value of the metric that selects the epoch, mean over tested stages; None if nothing was validated."""
    values = [value for _, _, value in chosen_epochs(record)]
    return sum(values) / len(values) if values else None
