"""Learning curves: the values that runs logged by epoch, as panels of curves."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from saltext.data.tasks import in_order
from saltext.metrics import METRICS
from saltext.reporting.figures import CurvePanel

MEAN = "mean of tasks"
"""Label of a metric's curve that averages its curves by condition."""

_LOSSES = {"train/loss": "loss"}
_GAN_LOSSES = {
    "train/loss": "generator",
    "train/adversarial": "its adversarial term",
    "train/discriminator": "discriminator",
}
_ACCURACIES = {"train/accuracy_real": "human maps", "train/accuracy_generated": "generated maps"}
_PARTS = {"val": "validation images", "test": "test images"}


def run_panels(history: pd.DataFrame) -> list[CurvePanel]:
    """The panels of one run that have a curve: losses, discriminator accuracy, and each metric that was validated.

    A run with stages shows each stage's mean over conditions; a run without stages shows every condition.
    """
    logged = list(dict.fromkeys(history["name"]))
    adversarial = "train/discriminator" in logged
    losses, title = (_GAN_LOSSES, "GAN losses") if adversarial else (_LOSSES, "Training loss")
    panels = [
        _panel(history, title, "mean of the epoch", losses),
        _panel(history, "Discriminator accuracy", "fraction of maps", _ACCURACIES),
    ]
    staged = bool(history["stage"].ne("").any())
    for part, images in _PARTS.items():
        for metric in (metric for metric in METRICS if f"{part}/{metric}" in logged):
            name, title = f"{part}/{metric}", METRICS[metric].title
            own = [entry for entry in logged if entry.startswith(f"{name}_") and _metric_of_key(entry) == metric]
            by_task = {f"{name}_{task}": task for task in in_order(entry.removeprefix(f"{name}_") for entry in own)}
            names = {name: MEAN} if staged or not by_task else by_task if len(by_task) == 1 else {name: MEAN, **by_task}
            panels.append(_panel(history, f"{title} on {images}", title, names))
    return [panel for panel in panels if panel.lines]


def _metric_of_key(key: str) -> str:
    """The metric of a log key PART/METRIC or PART/METRIC_TASK; empty if there is none.

    It is the longest name that fits, since some names begin with another one.
    """
    name = key.partition("/")[2]
    return max((metric for metric in METRICS if f"{name}_".startswith(f"{metric}_")), key=len, default="")


def _panel(history: pd.DataFrame, title: str, ylabel: str, names: Mapping[str, str]) -> CurvePanel:
    lines: dict[str, pd.Series[float]] = {}
    for stage in map(str, history["stage"].unique()):
        of_stage = history[history["stage"] == stage]
        for name, label in names.items():
            values = of_stage[of_stage["name"] == name].set_index("epoch")["value"]
            # A stage's only curve needs no other name than the stage's.
            label = label if not stage else f"{stage}, {label}" if len(names) > 1 else stage
            lines |= {label: values} if len(values) else {}
    return CurvePanel(title, ylabel, lines)


def of_runs(histories: Mapping[str, pd.DataFrame]) -> list[CurvePanel]:
    """The panels of several runs: one for each logged quantity, with the curves of all runs.

    A single run shows a curve for every condition, several runs show the mean over conditions alone.
    """
    panels: dict[str, CurvePanel] = {}
    for name, history in histories.items():
        for panel in run_panels(history):
            lines = dict(panel.lines)
            if len(histories) > 1:
                means = {MEAN: lines[MEAN]} if MEAN in lines else lines
                lines = {name if len(means) == 1 else f"{name}, {label}": line for label, line in means.items()}
            earlier = panels[panel.title].lines if panel.title in panels else {}
            panels[panel.title] = replace(panel, lines={**earlier, **lines})
    return list(panels.values())
