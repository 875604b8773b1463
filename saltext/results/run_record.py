"""A run as results know it: where its files lie, its configuration for reading, and what it logged by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from saltext.data.splits import PARTS, Part, Split
from saltext.system.run_folder import RunFolder


@dataclass(frozen=True)
class StageRecord:
    """One training of a run.

    Attributes:
        name: Empty for the only one of a run without a schedule.
        epochs: How many were asked for.
        tests: Whether its test pairs are scored.
    """

    name: str
    epochs: int
    tests: bool = True


@dataclass(frozen=True)
class RunRecord:
    """A run that has begun to train, whether it has finished or not.

    Attributes:
        folder: Its files.
        cfg: Its configuration, for reading alone: nothing may be built from it.
        setting: Evaluation setting: the split, and what selects the epoch. Runs for which more of it differs than the
            fold share no table.
        generated: Whether its data set is a generated one, whose scores say nothing about published values.
        stages: Its trainings, in their order; at least one.
        started_by: The command that started it; empty if that is not known.
        failure: Why it failed; empty if it did not.
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
    """How the split was made and the epoch selected, in a sentence."""
    grouped = "grouped by image" if split.unit == "image" else "by row: test images also train under other texts"
    selected = {"val": "the validation part" if split.parts["val"] else "nothing (the last one)"}
    on = selected.get(selected_on, "the test part itself, which makes its scores optimistic")
    return f"Split: {split.method}, seed {split.seed}, {grouped}. Epoch chosen on {on}."


COLUMNS = ("stage", "epoch", "name", "value")


def read_history(folder: RunFolder, stages: Sequence[str] = ()) -> pd.DataFrame:
    """Everything a run and its stages logged by epoch.

    A resumed run continues in another file; where two files have a value for an epoch, the later one counts.

    Args:
        folder: Of a run, finished or not.
        stages: Names of its stages, in the order of its schedule; others follow by name.

    Returns:
        One row a value, with ``stage`` (empty without a schedule), ``epoch`` (int, from 0), ``name`` (as logged, such
        as ``val/cc``) and ``value``; without rows where nothing was logged.
    """
    names = sorted(path.name for path in (folder.root / "stages").glob("*") if path.is_dir())
    order = {name: index for index, name in enumerate(stages)}
    names.sort(key=lambda name: order.get(name, len(order)))
    trainings = [("", folder), *((name, folder.stage(name)) for name in names)]
    parts = [
        _logged(training).assign(stage=stage).sort_values(["name", "epoch"], kind="stable")
        for stage, training in trainings
    ]
    found = pd.concat(parts, ignore_index=True)
    return found[list(COLUMNS)].astype({"stage": str, "epoch": int, "name": str, "value": float})


def _logged(folder: RunFolder) -> pd.DataFrame:
    """Epoch, name and value; damaged lines are left out, as a process may be killed while it writes one."""
    versions = folder.root.glob("metrics/version_*/metrics.csv")
    found = [pd.DataFrame({"epoch": [], "name": [], "value": []})]
    for path in sorted(versions, key=lambda path: int(path.parent.name.removeprefix("version_"))):
        try:
            table = pd.read_csv(path, on_bad_lines="skip", encoding_errors="replace", dtype=str)
        except (OSError, ValueError):  # an empty one, for example
            continue
        if "epoch" in table:
            numbers = table.drop(columns="step", errors="ignore").apply(pd.to_numeric, errors="coerce")
            found.append(numbers.melt("epoch", var_name="name").dropna())
    return pd.concat(found).drop_duplicates(["epoch", "name"], keep="last")


def history(record: RunRecord) -> pd.DataFrame:
    """What a run logged, see :func:`read_history`."""
    return read_history(record.folder, [stage.name for stage in record.stages])


def chosen_epochs(record: RunRecord) -> list[tuple[StageRecord, int, float]]:
    """Which epoch of each tested training the monitored metric chose, with its value; nothing where nothing chose."""
    logged = history(record)
    values = logged[logged["name"] == record.monitor]
    found = []
    for stage in (stage for stage in record.stages if stage.tests):
        part = values[values["stage"] == stage.name].sort_values("epoch").reset_index(drop=True)
        if len(part):
            index = int(part["value"].argmax() if record.mode == "max" else part["value"].argmin())
            best = part.iloc[index]
            found.append((stage, int(best["epoch"]), float(best["value"])))
    return found


def monitored(record: RunRecord) -> float | None:
    """The best value of the metric that chooses the epoch (``evaluation.monitor``).

    Returns:
        Of a run with a schedule, the mean over the stages that are tested. None where nothing was validated.
    """
    values = [value for _, _, value in chosen_epochs(record)]
    return sum(values) / len(values) if values else None
