"""Figures in one style: of the same Matplotlib figure, SVG that takes a page's colours, and PNG for files.

No figure is registered with ``pyplot``, so none has to be closed.
"""

import hashlib
import io
import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from saltext import storage
from saltext.data.tasks import in_order
from saltext.metrics import METRICS
from saltext.prediction.captions import caption, printable
from saltext.reporting.grid import one_line
from saltext.results.calibration import LEVELS, Calibration
from saltext.results.comparison import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

_STYLE = Path(__file__).with_name("figures.mplstyle")

FOREGROUND = "#010203"
"""A placeholder: in a page, what is drawn in this colour takes the colour of the text."""

COLOURS = ("#0072b2", "#d55e00", "#008f68", "#b3568c", "#2f8fc4", "#a87500", FOREGROUND)
"""Okabe and Ito's colours, which colour-blind readers can distinguish; darkened where they are faint on white."""

_GREYS = (0.85, 0.6, 0.75, 0.5)  # opacity of published curves; each has a dash, since greys alone are too alike
_DASHES: Sequence["LineStyleType"] = ("solid", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 1)))
_PANEL = (4.0, 2.9)  # inches
_PANELS_A_ROW = 3
_TITLE, _AXIS = (540, 21, 2), (400, 18, 2)  # width and size in half points, lines at most
_NARROW_TITLE, _NARROW_AXIS = (290, 21, 3), (330, 18, 2)
_DPI = 143
_LABEL_HEIGHT = 0.17  # inches from a label of a curve to the next
_ROW = 0.175  # inches between two estimates
_SMALLEST_GAIN = 0.005  # an axis of differences reaches at least this far both ways: values have three digits

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

Kind = Literal["model", "text", "baseline"]
# Colour and shape of the first, second ... series of a kind.
_MARKER_STYLES: Mapping[Kind, Sequence[tuple[str, str]]] = {
    "model": ((COLOURS[0], "o"), (COLOURS[2], "p"), (COLOURS[3], "h"), (COLOURS[4], "8")),
    "text": ((COLOURS[1], "D"), (COLOURS[5], "v"), (COLOURS[3], "^")),
    "baseline": ((FOREGROUND, "s"), (FOREGROUND, "P"), (FOREGROUND, "X"), (FOREGROUND, "d")),
}


@dataclass(frozen=True)
class CurvePanel:
    """Curves on the same axes: label -> values by epoch from 0; those labelled ``published`` are dashed and grey."""

    title: str
    ylabel: str
    lines: Mapping[str, "pd.Series[float]"]
    published: Collection[str] = ()


@dataclass(frozen=True)
class Series:
    """Estimates of a model, a model with other texts (``text``) or a baseline: condition -> estimate.

    ``single`` has the means behind an estimate, such as those of each seed.
    """

    label: str
    estimates: Mapping[str, Estimate]
    kind: Kind = "model"
    single: Mapping[str, Sequence[float]] = field(default_factory=dict)


def curves(panels: Sequence[CurvePanel]) -> "Figure":
    """Panels of curves by epoch, up to three per row; labels stand beside them in the order in which curves end.

    Raises:
        ValueError: There is no panel, or one without a curve.

    Example:
        >>> svg(curves([CurvePanel("Loss", "mean", {"loss": pd.Series([9.0, 7.0, 6.5])})]), "Loss by epoch")[:61]
        '<svg viewBox="0 0 288 208.8" role="img" aria-label="Loss by e'
    """
    if not panels or not all(panel.lines for panel in panels):
        raise ValueError("expected at least one panel, each with at least one curve")
    from matplotlib.ticker import MaxNLocator

    rows = math.ceil(len(panels) / _PANELS_A_ROW)
    columns = math.ceil(len(panels) / rows)
    height = max(_PANEL[1], _LABEL_HEIGHT * max(len(panel.lines) for panel in panels) + 0.4)
    with drawing(_PANEL[0] * columns, height * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            styles = cycle({"linestyle": d, "color": c} for d, c in itertools.product(_DASHES, COLOURS))
            greys = zip(_GREYS, _DASHES[1:], strict=True)
            dashed = cycle({"alpha": a, "linestyle": d, "color": FOREGROUND, "linewidth": 1.3} for a, d in greys)
            ends = []
            for label, values in panel.lines.items():
                style: dict[str, Any] = next(dashed if label in panel.published else styles)
                finite = values[np.isfinite(values)]
                # A single value makes no line: mark it.
                marker = "o" if len(finite) == 1 else None
                (curve,) = axes.plot(values.index, values, marker=marker, url=one_line(label), **style)
                ends += [(finite.iloc[-1], curve, _short(label))] if len(finite) else []
            ends.sort(key=lambda end: -end[0])
            axes.set_title(caption(panel.title, *_TITLE))
            axes.set(ylabel=caption(panel.ylabel, *_AXIS), xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            left, right = axes.dataLim.intervalx
            if 0 <= right - left < 1:  # a single epoch
                axes.set_xlim(left - 0.2, left + 1.2)
            drawn, labels = [curve for _, curve, _ in ends], [label for _, _, label in ends]
            axes.legend(drawn, labels, loc="upper left", bbox_to_anchor=(1.02, 1))
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
    return figure


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
            # Some names begin with another one.
            longer = tuple(f"{part}/{other}_" for other in METRICS if other.startswith(f"{metric}_"))
            own = (key for key in logged if key.startswith(f"{name}_") and not f"{key}_".startswith(longer))
            by_task = {f"{name}_{task}": task for task in in_order(key.removeprefix(f"{name}_") for key in own)}
            names = {name: MEAN} if staged or not by_task else by_task if len(by_task) == 1 else {name: MEAN, **by_task}
            panels.append(_panel(history, f"{title} on {images}", title, names))
    return [panel for panel in panels if panel.lines]


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


def panels_of_runs(histories: Mapping[str, pd.DataFrame]) -> list[CurvePanel]:
    """A panel for each logged quantity, with the curves of all runs; of several runs the mean over conditions alone."""
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


def scatter(title: str, xlabel: str, ylabel: str, points: pd.DataFrame) -> "Figure":
    """Scores of the same pairs by two models, with the line of equal scores.

    ``points`` has columns ``x``, ``y``, ``name`` (a page shows it when the mouse is over the point) and ``number``
    (written beside the point, may be empty). Points that are not finite are left out.
    """
    shown = points.astype({"x": float, "y": float}).replace([np.inf, -np.inf], np.nan).dropna(subset=["x", "y"])
    with drawing(4.0, 4.0) as figure:
        values = shown[["x", "y"]].to_numpy().ravel() if len(shown) else np.array([0.0, 1.0])
        margin = 0.05 * np.ptp(values) or 0.5
        axes = _square(figure, title, xlabel, ylabel, (values.min() - margin, values.max() + margin))
        faces = [(COLOURS[0], 0.95 if number else 0.4) for number in shown["number"]]
        drawn = axes.scatter(shown["x"], shown["y"], s=22, facecolors=faces, edgecolors=COLOURS[0], linewidths=0.7)
        drawn.set_urls([one_line(name) for name in shown["name"]])
        for x, y, number in shown[["x", "y", "number"]].itertuples(index=False, name=None):
            axes.annotate(number, (x, y), (4, 3), textcoords="offset points", weight="bold")
    return figure


def calibration(title: str, curves_by_maps: Mapping[str, Calibration]) -> "Figure":
    """Calibration curves by whose maps they are, intervals as bands; a calibrated density is on the dashed diagonal."""
    with drawing(4.0, 4.1 + 0.2 * len(curves_by_maps)) as figure:
        xlabel, ylabel = "predicted mass of the densest pixels", "fraction of fixations in them"
        axes, lines = _square(figure, title, xlabel, ylabel, (0, 1)), []
        for (name, curve), colour, dash in zip(curves_by_maps.items(), cycle(COLOURS), cycle(_DASHES), strict=False):
            # No mass holds no fixation, and all of it holds all fixations.
            mass, covered, low, high = (
                np.concatenate([[0.0], values, [1.0]]) for values in (LEVELS, curve.covered, curve.low, curve.high)
            )
            axes.fill_between(mass, low, high, color=colour, alpha=0.18, linewidth=0)
            lines += axes.plot(mass, covered, color=colour, linestyle=dash, url=one_line(name))
        labels = [_short(f"{name}, error {curve.error:.3f}", 60) for name, curve in curves_by_maps.items()]
        figure.legend(lines, labels, loc="outside lower center")
    return figure


def _square(figure: "Figure", title: str, xlabel: str, ylabel: str, limits: tuple[float, float]) -> "Axes":
    """Axes whose both sides have the same limits, with the line of equal values."""
    axes = figure.subplots()
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_title(caption(title, *_TITLE))
    axes.set(xlabel=caption(xlabel, *_AXIS), ylabel=caption(ylabel, *_AXIS))
    axes.plot(limits, limits, color=FOREGROUND, alpha=0.6, linestyle=(0, (4, 3)), linewidth=1)
    return axes


def estimates(title: str, xlabel: str, series: Sequence[Series], gains: bool = False) -> "Figure":
    """Means with their intervals by condition, one row per estimate with its label and its value.

    ``gains`` are differences: their values have a sign, and a line marks zero.

    Raises:
        ValueError: There is no estimate.
    """
    styles = {kind: cycle(of_kind) for kind, of_kind in _MARKER_STYLES.items()}
    styled = [(one, *next(styles[one.kind])) for one in series]
    conditions = list(dict.fromkeys(name for one in series for name in one.estimates))
    if not conditions:
        raise ValueError("expected at least one estimate, got none")
    # A single series is labelled by the conditions alone, a single condition by the series alone.
    plain = len(series) == 1 or len(conditions) == 1
    rows: list[tuple[str, bool]] = []  # label, whether it is a condition above its estimates
    count = sum(len(one.estimates) for one in series) + (0 if plain else len(conditions))
    with drawing(4.0, 0.8 + _ROW * max(count, 3)) as figure:
        axes = figure.subplots()
        for condition in conditions:
            rows += [] if plain else [(condition, True)]
            for one, colour, marker in styled:
                if condition not in one.estimates:
                    continue
                y, estimate = len(rows), one.estimates[condition]
                rows.append((condition if len(series) == 1 else one.label, False))
                mean = f"{estimate.mean:{'+z' if gains else ''}.3f}"
                shown = estimate.signed() if gains else str(estimate)
                tooltip = one_line(f"{condition}, {one.label}: {shown if estimate.low <= estimate.high else mean}")
                if math.isfinite(estimate.mean):
                    axes.plot((estimate.low, estimate.high), (y, y), color=colour, url=tooltip)
                    axes.plot(estimate.mean, y, marker, color=colour, url=tooltip)
                value = mean.replace("-", "−") if math.isfinite(estimate.mean) else "–"
                axes.text(1.02, y, value, va="center", fontsize=8, transform=axes.get_yaxis_transform())
            axes.axhline(len(rows) - 0.5, color=FOREGROUND, alpha=0.15, linewidth=0.6)
        if gains:
            axes.axvline(0, color=FOREGROUND, alpha=0.7, linewidth=1)
            left, right = axes.get_xlim()
            axes.set_xlim(min(left, -_SMALLEST_GAIN), max(right, _SMALLEST_GAIN))
        axes.set_title(caption(title, *_TITLE))
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=caption(xlabel, *_AXIS))
        axes.locator_params("x", nbins=4)
        axes.grid(visible=False, axis="y")
        axes.tick_params("y", length=0)
        axes.set_yticks(range(len(rows)), [_short(label, 28) for label, _ in rows])
        for text, (_, is_condition) in zip(axes.get_yticklabels(), rows, strict=True):
            text.set_fontweight("bold" if is_condition else "normal")
    return figure


def gains(xlabel: str, panels: Mapping[str, Sequence[Series]]) -> "Figure":
    """Differences with their intervals by condition, a panel for each thing that makes one, on the same axes.

    Models of one label have one colour and shape in all panels; small open circles are the means behind an estimate.

    Args:
        xlabel: What is gained.
        panels: Title -> differences of each model, which may have none under a condition.

    Raises:
        ValueError: There is no difference.
    """
    labels = list(dict.fromkeys(one.label for of_panel in panels.values() for one in of_panel))
    conditions = in_order(name for of_panel in panels.values() for one in of_panel for name in one.estimates)
    if not conditions:
        raise ValueError("expected at least one difference, got none")
    style = dict(zip(labels, cycle(_MARKER_STYLES["model"]), strict=False))
    height = len(labels) + 1  # of a condition, in rows
    with drawing(1.1 + 2.4 * len(panels), 1.3 + _ROW * height * len(conditions)) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (title, of_panel) in zip(grid, panels.items(), strict=True):
            axes.axvline(0, color=FOREGROUND, alpha=0.7, linewidth=1)
            for one in of_panel:
                colour, marker = style[one.label]
                for condition, estimate in one.estimates.items():
                    y = height * conditions.index(condition) + labels.index(one.label)
                    tooltip = one_line(f"{condition}, {one.label}: {estimate.signed()}")
                    axes.plot((estimate.low, estimate.high), (y, y), color=colour, url=tooltip)
                    axes.plot(estimate.mean, y, marker, color=colour, url=tooltip)
                    single = one.single.get(condition, ())
                    axes.plot(single, [y] * len(single), "o", color=colour, fillstyle="none", markersize=3, linewidth=0)
            for edge in range(1, len(conditions)):
                axes.axhline(height * edge - 1, color=FOREGROUND, alpha=0.15, linewidth=0.6)
            axes.set_title(caption(title, *_NARROW_TITLE))
            axes.set_xlabel(caption(xlabel, *_NARROW_AXIS))
            axes.locator_params("x", nbins=5)
            axes.grid(visible=False, axis="y")
            axes.tick_params("y", length=0)
        grid[0].set_ylim(height * len(conditions) - 1, -1)
        middle = (len(labels) - 1) / 2
        places = [height * index + middle for index in range(len(conditions))]
        grid[0].set_yticks(places, [_short(name) for name in conditions])
        left, right = grid[0].get_xlim()
        grid[0].set_xlim(min(left, -_SMALLEST_GAIN), max(right, _SMALLEST_GAIN))
        marks = [figure.axes[0].plot([], [], marker, color=colour)[0] for colour, marker in style.values()]
        figure.legend(marks, [_short(label) for label in labels], loc="outside lower center", ncols=len(labels))
    return figure


def svg(figure: "Figure", label: str) -> str:
    """The figure as an ``svg`` element for an HTML page, with an alternative text; the same bytes for the same figure.

    Texts stay texts, colours are the page's, and ids are unique among figures. The name of a point or curve is its
    ``title``, which a browser shows under the mouse.
    """
    stream = io.StringIO()
    with _style():
        figure.canvas.print_figure(stream, format="svg", facecolor="none", metadata={"Date": None})
    written = stream.getvalue()
    root = ElementTree.fromstring(written)  # noqa: S314  # Matplotlib's own
    suffix = hashlib.sha256((label + written).encode("utf-8", "replace")).hexdigest()[:8]
    ids = set(re.findall(r'(?:url\(|href=")#([^")]+)', written))
    for parent in list(root.iter()):
        for element in list(parent):
            if element.tag.endswith(("}metadata", "}style")):
                parent.remove(element)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib.clear()
        if element.tag == "a":  # its href is the name of the point or curve inside
            element.tag = "g"
            element.insert(0, ElementTree.Element("title"))
            element[0].text = attributes.pop("href")
        elif element.tag not in ("text", "title"):
            element.text = None
        element.tail = None
        for name, value in attributes.items():
            if name == "id":
                value = f"{value}-{suffix}" if value in ids else ""
            elif name in ("href", "clip-path"):
                value = re.sub(r"#([^)]+)", rf"#\1-{suffix}", value)
            elif name == "style":
                value = re.sub(r"font-family: [^;]+;? ?", "", value).replace(FOREGROUND, "currentColor")
                for number, colour in enumerate(COLOURS):
                    value = value.replace(colour, f"var(--s{number}, {colour})")
            if value:
                element.set(name, value)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": one_line(label), "stroke-linejoin": "round"})
    return ElementTree.tostring(root, encoding="unicode")


def write_png(figure: "Figure", path: Path) -> None:
    """Write the figure as a PNG file on white, replacing an earlier one."""
    with _style():
        storage.write_figure(path, figure, dpi=_DPI, facecolor="white")


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib.style  # a second, and only to draw

    with matplotlib.style.context(_STYLE):
        yield


@contextmanager
def drawing(width: float, height: float) -> Iterator["Figure"]:
    """A figure of a size in inches to draw on; its layout is computed once afterwards, so every file of it is alike."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
        figure.set_layout_engine(None)  # "none" would have a file drawn twice, once for a layout


def _short(text: str, longest: int = 22) -> str:
    """A label in one line; one that is too long keeps its beginning and its end."""
    text = printable(" ".join(text.split()))
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2].rstrip()}…{text[-(longest // 2) + 1 :].lstrip()}"
