"""Learning curves: the values that runs logged by epoch, as panels of curves."""

from collections.abc import Mapping, Sequence

import pandas as pd

from saltext.data.tasks import in_order
from saltext.metrics import METRICS
from saltext.reporting.figures import CurvePanel, Line

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
    """The panels of one run: losses, discriminator accuracy, and one panel for each metric that was validated.

    Args:
        history: See :func:`saltext.results.run_record.read_history`.

    Returns:
        Panels with at least one curve. A run with stages shows each stage's mean over conditions; a run without stages
        shows every condition.
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
    lines = []
    for stage in history["stage"].unique():
        for name, label in names.items():
            part = history[(history["stage"] == stage) & (history["name"] == name)]
            # A stage's only curve needs no other name than the stage's.
            label = label if not stage else f"{stage}, {label}" if len(names) > 1 else stage
            if len(part):
                lines.append(Line(label, part["epoch"].tolist(), part["value"].tolist()))
    return CurvePanel(title, ylabel, lines)


def of_runs(histories: Mapping[str, pd.DataFrame]) -> list[CurvePanel]:
    """The panels of several runs: one for each logged quantity, with the curves of all runs.

    Args:
        histories: Name of the run -> its values by epoch. A single run shows a curve for every condition, several runs
            show the mean over conditions alone.
    """
    panels: dict[str, CurvePanel] = {}
    for name, history in histories.items():
        for panel in run_panels(history):
            lines: Sequence[Line] = panel.lines
            if len(histories) > 1:
                means = [line for line in lines if line.label == MEAN] or list(lines)
                lines = [
                    Line(name if len(means) == 1 else f"{name}, {line.label}", line.epochs, line.values)
                    for line in means
                ]
            earlier = panels[panel.title].lines if panel.title in panels else ()
            panels[panel.title] = CurvePanel(panel.title, panel.ylabel, [*earlier, *lines])
    return list(panels.values())
