"""What runs logged by epoch, as curves: ``curves.png`` and the values in it, ``curves.csv``.

The loss (of both players, with the discriminator's accuracies, where there is a discriminator) and the scores that
choose the epoch. The command line is ``saltext report``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from saltext import storage
from saltext.data.tasks import in_order
from saltext.errors import SaltextError
from saltext.metrics import METRICS
from saltext.runs.trust import record
from saltext.system.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("stage", "epoch", "name", "value")

MEAN = "mean of tasks"
"""Label of the curve that a metric's curves by task are summed up in."""

# Okabe and Ito's colours, told apart by colour-blind readers, too, without yellow, which is faint on white.
_OURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_PUBLISHED = ("#4a4a4a", "#8c8c8c", "#6b6b6b", "#a8a8a8")
_DASHES = ((0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 1)))  # one to each grey, which alone are too alike
_LABEL_GAP = 0.065  # of an axes' height: a line of small print in the smallest panel
_PANELS_A_ROW = 3

_PLAYERS = {
    "train/loss": "generator",
    "train/adversarial": "its adversarial term",
    "train/discriminator": "discriminator",
}
_ACCURACIES = {"train/accuracy_real": "people's maps", "train/accuracy_generated": "generated maps"}
_PARTS = {"val": "validation images", "test": "test images"}


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: Written at the curve's end.
        epochs: Where, from 0 as logged.
        values: As many as ``epochs``; what is not finite is a gap.
        published: Whether somebody else measured it.

    Raises:
        ValueError: ``epochs`` and ``values`` differ in length.
    """

    label: str
    epochs: Sequence[float]
    values: Sequence[float]
    published: bool = False

    def __post_init__(self) -> None:
        if len(self.epochs) != len(self.values):
            raise ValueError(
                f"line {self.label!r}: a value for each epoch expected, {len(self.epochs)} epochs and "
                f"{len(self.values)} values came"
            )


@dataclass(frozen=True)
class CurvePanel:
    """Curves that share their axes.

    Attributes:
        title: Above it.
        ylabel: What is measured, with its unit if it has one.
        lines: At least one.
    """

    title: str
    ylabel: str
    lines: Sequence[Line]


def read_curves(folder: RunFolder) -> pd.DataFrame:
    """Everything a run and its stages logged by epoch.

    A resumed run goes on in another file; where two files have a value for an epoch, the later one counts.

    Args:
        folder: Of a run, finished or not.

    Returns:
        One row a value: ``stage`` (empty without a schedule; stages in the schedule's order), ``epoch`` (int, from 0),
        ``name`` (as logged, such as ``val/cc``) and ``value``; without rows where nothing was logged.
    """
    parts = [
        _logged(training).assign(stage=stage).sort_values(["name", "epoch"], kind="stable")
        for stage, training in _trainings(folder)
    ]
    found = pd.concat(parts, ignore_index=True)
    return found[list(COLUMNS)].astype({"stage": str, "epoch": int, "name": str, "value": float})


def _trainings(folder: RunFolder) -> list[tuple[str, RunFolder]]:
    names = [path.name for path in (folder.root / "stages").glob("*") if path.is_dir()]
    try:
        cfg = record(folder)
    except SaltextError:  # it is asked for the order of the stages alone
        cfg = OmegaConf.create()
    order = list(OmegaConf.select(cfg, "schedule.stages") or {})
    names.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    return [("", folder), *((name, folder.stage(name)) for name in names)]


def _logged(folder: RunFolder) -> pd.DataFrame:
    versions = folder.root.glob("metrics/version_*/metrics.csv")
    files = sorted(versions, key=lambda path: int(path.parent.name.removeprefix("version_")))
    long = [table.drop(columns="step", errors="ignore").melt("epoch", var_name="name") for table in map(_lines, files)]
    nothing = pd.DataFrame({"epoch": [], "name": [], "value": []})
    values = pd.concat([nothing, *long]).dropna() if long else nothing
    return values.drop_duplicates(["epoch", "name"], keep="last")


def _lines(path: Path) -> pd.DataFrame:
    """The values of a logger's file; its damaged lines are left out, as a process may be killed while it writes one."""
    try:
        table = pd.read_csv(path, on_bad_lines="skip", encoding_errors="replace", dtype=str)
    except (OSError, ValueError):  # an empty one, for example
        table = pd.DataFrame()
    if "epoch" not in table:
        table = pd.DataFrame({"epoch": []})
    numbers = table.apply(pd.to_numeric, errors="coerce")
    found: pd.DataFrame = numbers[numbers["epoch"].notna()]
    return found


def run_panels(curves: pd.DataFrame) -> list[CurvePanel]:
    """What a run's own figure shows: losses, accuracies, and a panel for each metric that was validated.

    Args:
        curves: See :func:`read_curves`.

    Returns:
        Panels with at least one curve. A run with stages shows each stage's mean over tasks, one without each task.
    """
    logged = list(dict.fromkeys(curves["name"]))
    adversarial = "train/discriminator" in logged
    losses = _PLAYERS if adversarial else {"train/loss": "loss"}
    panels = [
        _panel(curves, "Losses of both players" if adversarial else "Training loss", "mean of the epoch", losses),
        _panel(curves, "What the discriminator told rightly", "fraction of maps", _ACCURACIES),
    ]
    staged = bool(curves["stage"].ne("").any())
    for part, images in _PARTS.items():
        for metric in (metric for metric in METRICS if f"{part}/{metric}" in logged):
            names = _scores(logged, f"{part}/{metric}", staged)
            panels.append(_panel(curves, f"{METRICS[metric].title} on {images}", METRICS[metric].title, names))
    return [panel for panel in panels if panel.lines]


def _scores(logged: Sequence[str], name: str, staged: bool) -> dict[str, str]:
    own = [entry for entry in logged if entry.startswith(f"{name}_") and _metric(entry) == _metric(name)]
    tasks = {f"{name}_{task}": task for task in in_order(entry.removeprefix(f"{name}_") for entry in own)}
    if staged or not tasks:
        return {name: MEAN}
    return tasks if len(tasks) == 1 else {name: MEAN, **tasks}


def _metric(logged: str) -> str:
    """The metric of PART/METRIC or PART/METRIC_TASK: the longest name that fits, since some begin with another."""
    name = logged.partition("/")[2]
    return max((metric for metric in METRICS if f"{name}_".startswith(f"{metric}_")), key=len, default="")


def _panel(curves: pd.DataFrame, title: str, ylabel: str, names: dict[str, str]) -> CurvePanel:
    lines = []
    for stage in curves["stage"].unique():
        for name, label in names.items():
            part = curves[(curves["stage"] == stage) & (curves["name"] == name)]
            # A stage's only curve needs no other name than the stage's.
            label = label if not stage else f"{stage}, {label}" if len(names) > 1 else stage
            if len(part):
                lines.append(Line(label, part["epoch"].tolist(), part["value"].tolist()))
    return CurvePanel(title, ylabel, lines)


def draw(panels: Sequence[CurvePanel], path: Path) -> None:
    """Write a PNG of all panels, up to three beside each other; published curves are dashed and grey, ours solid.

    Raises:
        ValueError: There is no panel, or one without a curve.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second, and only to draw
    from matplotlib.figure import Figure

    if not panels or not all(panel.lines for panel in panels):
        raise ValueError("at least one panel, each with at least one curve, expected")
    rows = math.ceil(len(panels) / _PANELS_A_ROW)
    columns = math.ceil(len(panels) / rows)
    height = max(3.0, 0.22 * max(len(panel.lines) for panel in panels))
    figure = Figure(figsize=(5.2 * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    storage.write_figure(path, figure, dpi=110)


def _draw_panel(axes: "Axes", panel: CurvePanel) -> None:
    from matplotlib.ticker import MaxNLocator

    colours, dashes = (cycle(_OURS), cycle(_PUBLISHED)), cycle(_DASHES)
    used = []
    for line in panel.lines:
        colour = next(colours[line.published])
        # A single epoch is no line yet, but it was measured.
        marker = "o" if np.isfinite(line.values).sum() == 1 else None
        width = 1.3 if line.published else 1.7
        style = next(dashes) if line.published else "solid"
        axes.plot(line.epochs, line.values, color=colour, linestyle=style, linewidth=width, marker=marker, markersize=4)
        used.append(colour)
    axes.set_title(panel.title, fontsize=10)
    axes.set_ylabel(panel.ylabel, fontsize=9)
    axes.set_xlabel("epoch", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, panel.lines, used)


def _label(axes: "Axes", lines: Sequence[Line], colours: Sequence[str]) -> None:
    """Write each curve's name to the right of the panel, at the height of its end as far as there is room."""
    axes.autoscale_view()
    ends = {place: end for place, line in enumerate(lines) if (end := _end(line)) is not None}
    heights = [float(axes.transLimits.transform(end)[1]) for end in ends.values()]
    for (place, end), height in zip(ends.items(), spread(heights, _LABEL_GAP), strict=True):
        axes.annotate(
            lines[place].label,
            end,
            (1.04, height),
            textcoords="axes fraction",
            color=colours[place],
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[place], "alpha": 0.35, "linewidth": 0.7},
        )


def _end(line: Line) -> tuple[float, float] | None:
    finite = np.flatnonzero(np.isfinite(line.values))
    return (line.epochs[finite[-1]], line.values[finite[-1]]) if len(finite) else None


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions at least ``gap`` apart, in the order of the wanted ones and near them.

    Args:
        wanted: Positions, in any order.
        gap: Smallest distance of two.

    Returns:
        Positions in the order of ``wanted``. Neighbours that are too close move apart around their common mean.
    """
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    # Blocks of labels that touch: the sum of what their members want of the block's start, and the members.
    blocks: list[tuple[float, list[int]]] = []
    for place in order:
        total, members = wanted[place], [place]
        while blocks and _start(blocks[-1]) + gap * len(blocks[-1][1]) > total / len(members):
            before, earlier = blocks.pop()
            total += before - gap * len(earlier) * len(members)
            members = [*earlier, *members]
        blocks.append((total, members))
    found = {place: _start(block) + gap * step for block in blocks for step, place in enumerate(block[1])}
    return [found[place] for place in range(len(wanted))]


def _start(block: tuple[float, list[int]]) -> float:
    total, members = block
    return total / len(members)


def write(folder: RunFolder) -> bool:
    """Write a run's figure and the values it shows.

    Args:
        folder: Of a run, finished or not.

    Returns:
        Whether there was anything to show.
    """
    curves = read_curves(folder)
    panels = run_panels(curves)
    if panels:
        storage.write_csv(folder.root / "curves.csv", curves)
        draw(panels, folder.root / "curves.png")
    return bool(panels)
