"""Figures in one style: of the same Matplotlib figure, SVG that takes a page's colours, and PNG for files.

Colours are Okabe and Ito's, which colour-blind readers can distinguish; every curve and point also has a label or a
shape of its own. No figure is registered with ``pyplot``, so none has to be closed.
"""

import hashlib
import io
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

import numpy as np

from saltext import storage
from saltext.prediction.captions import caption, printable
from saltext.reporting.grid import one_line
from saltext.results.calibration import LEVELS, Calibration
from saltext.results.comparison import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

_STYLE = Path(__file__).with_name("figures.mplstyle")

FOREGROUND = "#010203"
"""A placeholder: in a page, what is drawn in this colour takes the colour of the text."""

COLOURS = ("#0072b2", "#d55e00", "#008f68", "#b3568c", "#2f8fc4", "#a87500", FOREGROUND)
"""Colours of series, darkened where they are faint on white. A page can set them as ``--s0`` to ``--s5``."""

_GREYS = (0.85, 0.6, 0.75, 0.5)  # opacity of published curves; each has a dash, since greys alone are too alike
_DASHES: Sequence["LineStyleType"] = ("solid", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 1)))
_PANEL = (4.0, 2.9)  # inches
_PANELS_A_ROW = 3
_TITLE, _AXIS = (540, 21, 2), (400, 18, 2)  # width and size in half points, lines at most
_DPI = 143
_LABEL = 22  # characters of a curve's label; longer ones are abbreviated
_LABEL_X = 1.06  # left end of the labels of curves, in widths of the axes
_LABEL_HEIGHT = 0.21  # inches from a label at the end of a curve to the next
_ROW = 0.175  # inches between two estimates
_SMALLEST_GAIN = 0.005  # an axis of differences reaches at least this far both ways: values have three digits

Kind = Literal["model", "text", "baseline"]
# Colour and shape of the first, second ... series of a kind.
_LOOKS: Mapping[Kind, Sequence[tuple[str, str]]] = {
    "model": ((COLOURS[0], "o"), (COLOURS[2], "p"), (COLOURS[3], "h"), (COLOURS[4], "8")),
    "text": ((COLOURS[1], "D"), (COLOURS[5], "v"), (COLOURS[3], "^")),
    "baseline": ((FOREGROUND, "s"), (FOREGROUND, "P"), (FOREGROUND, "X"), (FOREGROUND, "d")),
}


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: Written at the curve's end.
        epochs: Position of each value, from 0 as logged.
        values: As many as ``epochs``; a value that is not finite leaves a gap.
        published: Whether it is a published curve, drawn dashed and grey.

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
                f"line {self.label!r}: expected a value for each epoch, got {len(self.epochs)} epochs and "
                f"{len(self.values)} values"
            )


@dataclass(frozen=True)
class CurvePanel:
    """Curves that share their axes.

    Attributes:
        title: Above the panel.
        ylabel: The quantity, with its unit if it has one.
        lines: The curves, at least one.
    """

    title: str
    ylabel: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot.

    Attributes:
        x: Horizontal position.
        y: Vertical position; a point with a coordinate that is not finite is left out.
        name: A page shows it when the mouse is over the point.
        number: Written beside the point; empty for none.
    """

    x: float
    y: float
    name: str
    number: str = ""


@dataclass(frozen=True)
class Series:
    """Estimates of one model or baseline.

    Attributes:
        label: Beside each estimate.
        estimates: Condition -> estimate.
        kind: ``model``, ``text`` (a model with other texts) or ``baseline``; decides colour and shape.
    """

    label: str
    estimates: Mapping[str, Estimate]
    kind: Kind = "model"


def curves(panels: Sequence[CurvePanel]) -> "Figure":
    """Panels of curves by epoch, up to three per row; a label stands at the end of each curve.

    Raises:
        ValueError: There is no panel, or one without a curve.

    Example:
        >>> panel = CurvePanel("Training loss", "mean of the epoch", [Line("loss", [0, 1, 2], [9.0, 7.0, 6.5])])
        >>> drawn = curves([panel])
        >>> svg(drawn, "Training loss by epoch")[:79]
        '<svg viewBox="0 0 288 208.8" role="img" aria-label="Training loss by epoch" str'
    """
    if not panels or not all(panel.lines for panel in panels):
        raise ValueError("expected at least one panel, each with at least one curve")
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    rows = math.ceil(len(panels) / _PANELS_A_ROW)
    columns = math.ceil(len(panels) / rows)
    height = max(_PANEL[1], _LABEL_HEIGHT * max(len(panel.lines) for panel in panels) + 0.2)
    with _drawing(_PANEL[0] * columns, height * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            looks = cycle(itertools.product(_DASHES, COLOURS))
            published_looks = cycle(zip(_GREYS, _DASHES[1:], strict=True))
            ends = []
            for line in panel.lines:
                if line.published:
                    (alpha, dash), colour, width = next(published_looks), FOREGROUND, 1.3
                else:
                    alpha, (dash, colour), width = 1.0, next(looks), 1.7
                finite = np.flatnonzero(np.isfinite(line.values))
                # A single value makes no line: mark it.
                shape = {"marker": "o" if len(finite) == 1 else None, "markersize": 4}
                axes.plot(
                    line.epochs,
                    line.values,
                    color=colour,
                    alpha=alpha,
                    linestyle=dash,
                    linewidth=width,
                    url=one_line(line.label),
                    **shape,
                )
                if len(finite):
                    ends.append((line.label, (line.epochs[finite[-1]], line.values[finite[-1]]), colour, alpha))
            axes.set_title(caption(panel.title, *_TITLE))
            axes.set_ylabel(caption(panel.ylabel, *_AXIS))
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.autoscale_view()
            left, right = axes.dataLim.intervalx
            if 0 <= right - left < 1:  # a single epoch
                axes.set_xlim(left - 0.2, left + 1.2)
            # From above, so that no label stands higher than the axes.
            ends.sort(key=lambda end: -end[1][1])
            positions = [axes.transLimits.transform(end) for _, end, _, _ in ends]
            gap = _LABEL_HEIGHT / height
            levels = spread([min(float(y), 1 - index * gap) for index, (_, y) in enumerate(positions)], gap)
            for (label, _, colour, alpha), (x, y), level in zip(ends, positions, levels, strict=True):
                leader = Line2D((x, _LABEL_X - 0.01), (y, level), transform=axes.transAxes, clip_on=False)
                leader.set(color=colour, alpha=alpha, linewidth=0.8)
                axes.add_line(leader)
                axes.text(_LABEL_X, level, _short(label), transform=axes.transAxes, fontsize=8, va="center")
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
    return figure


def scatter(title: str, xlabel: str, ylabel: str, points: Sequence[Point]) -> "Figure":
    """Scores of the same pairs by two models, with the line of equal scores."""
    finite = [point for point in points if math.isfinite(point.x + point.y)]
    with _drawing(4.0, 4.0) as figure:
        axes = figure.subplots()
        values = [value for point in finite for value in (point.x, point.y)] or [0.0, 1.0]
        margin = 0.05 * (max(values) - min(values)) or 0.5
        limits = (min(values) - margin, max(values) + margin)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set_title(caption(title, *_TITLE))
        axes.set_xlabel(caption(xlabel, *_AXIS))
        axes.set_ylabel(caption(ylabel, *_AXIS))
        axes.plot(limits, limits, color=FOREGROUND, alpha=0.6, linestyle=(0, (4, 3)), linewidth=1)
        drawn = axes.scatter(
            [point.x for point in finite],
            [point.y for point in finite],
            s=22,
            facecolors=[(COLOURS[0], 0.95 if point.number else 0.4) for point in finite],
            edgecolors=COLOURS[0],
            linewidths=0.7,
        )
        drawn.set_urls([one_line(point.name) for point in finite])
        for point in finite:
            if point.number:
                axes.annotate(
                    point.number, (point.x, point.y), (4, 3), textcoords="offset points", weight="bold", fontsize=8.5
                )
    return figure


def calibration(title: str, curves_by_maps: Mapping[str, Calibration]) -> "Figure":
    """Calibration curves with their intervals as bands; a calibrated density is on the dashed diagonal.

    Args:
        title: Above the axes.
        curves_by_maps: Whose maps -> their calibration.
    """
    with _drawing(4.0, 4.1 + 0.2 * len(curves_by_maps)) as figure:
        axes = figure.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_title(caption(title, *_TITLE))
        axes.set_xlabel("predicted mass of the densest pixels")
        axes.set_ylabel("fraction of fixations in them")
        axes.plot((0, 1), (0, 1), color=FOREGROUND, alpha=0.6, linestyle=(0, (4, 3)), linewidth=1)
        lines = []
        for (name, curve), colour, dash in zip(curves_by_maps.items(), cycle(COLOURS), cycle(_DASHES), strict=False):
            # No mass holds no fixation, and all of it holds all fixations.
            mass, covered, low, high = (
                np.concatenate([[0.0], np.asarray(values, np.float64), [1.0]])
                for values in (LEVELS, curve.covered, curve.low, curve.high)
            )
            axes.fill_between(mass, low, high, color=colour, alpha=0.18, linewidth=0)
            lines += axes.plot(mass, covered, color=colour, linestyle=dash, linewidth=1.7, url=one_line(name))
        legend = figure.legend(lines, [str(n) for n in range(len(lines))], loc="outside lower center", frameon=False)
        for text, (name, curve) in zip(legend.get_texts(), curves_by_maps.items(), strict=True):
            text.set_text(_short(f"{name}, error {curve.error:.3f}", 60))  # as a label, "_..." would be left out
    return figure


def estimates(title: str, xlabel: str, series: Sequence[Series], gains: bool = False) -> "Figure":
    """Means with their intervals by condition, one row per estimate with its label and its value.

    Args:
        title: Above the axes.
        xlabel: The metric, and which direction is better.
        series: In the order of the rows within each condition; a series without an estimate of it has no row there.
        gains: Whether the estimates are differences: values have a sign, and a line marks zero.

    Raises:
        ValueError: There is no estimate.
    """
    number = "{:+z.3f}" if gains else "{:.3f}"
    looks = {kind: cycle(looks_of_kind) for kind, looks_of_kind in _LOOKS.items()}
    styled = [(one, *next(looks[one.kind])) for one in series]
    conditions = list(dict.fromkeys(name for one in series for name in one.estimates))
    if not conditions:
        raise ValueError("expected at least one estimate, got none")
    # A single series is labelled by the conditions alone, a single condition by the series alone.
    plain = len(series) == 1 or len(conditions) == 1
    rows: list[tuple[str, bool]] = []  # label, whether it is a condition above its estimates
    count = sum(len(one.estimates) for one in series) + (0 if plain else len(conditions))
    with _drawing(4.0, 0.8 + _ROW * max(count, 3)) as figure:
        axes = figure.subplots()
        for condition in conditions:
            if not plain:
                rows.append((condition, True))
            for one, colour, marker in styled:
                if condition not in one.estimates:
                    continue
                y, estimate = len(rows), one.estimates[condition]
                mean, low, high = estimate.mean, estimate.low, estimate.high
                rows.append((condition if len(series) == 1 else one.label, False))
                interval = f" ({number} to {number})".format(low, high) if low <= high else ""
                tooltip = one_line(f"{condition}, {one.label}: {number.format(mean)}{interval}")
                if math.isfinite(mean):
                    axes.plot((low, high), (y, y), color=colour, linewidth=1.6, url=tooltip)
                    axes.plot(mean, y, marker, color=colour, markersize=5, url=tooltip)
                value = number.format(mean).replace("-", "−") if math.isfinite(mean) else "–"
                axes.text(1.02, y, value, va="center", fontsize=8, transform=axes.get_yaxis_transform())
            axes.axhline(len(rows) - 0.5, color=FOREGROUND, alpha=0.15, linewidth=0.6)
        if gains:
            axes.axvline(0, color=FOREGROUND, alpha=0.7, linewidth=1)
            left, right = axes.get_xlim()
            axes.set_xlim(min(left, -_SMALLEST_GAIN), max(right, _SMALLEST_GAIN))
        axes.locator_params("x", nbins=4)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(rows)), [_short(label, 28) for label, _ in rows])
        axes.tick_params("y", length=0)
        for text, (_, is_condition) in zip(axes.get_yticklabels(), rows, strict=True):
            text.set_fontweight("bold" if is_condition else "normal")
        axes.set_title(caption(title, *_TITLE))
        axes.set_xlabel(caption(xlabel, *_AXIS))
    return figure


def svg(figure: "Figure", label: str) -> str:
    """The figure as an ``svg`` element for an HTML page; the same bytes for the same figure.

    Texts stay texts, colours are the page's, and ids are unique among figures. The name of a point or curve is its
    ``title``, which a browser shows under the mouse.

    Args:
        figure: Drawn by this module.
        label: Alternative text for readers who cannot see it.
    """
    written = io.StringIO()
    with _style():
        figure.canvas.print_figure(written, format="svg", facecolor="none", metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())  # noqa: S314  # Matplotlib's own
    suffix = hashlib.sha256((label + written.getvalue()).encode("utf-8", "replace")).hexdigest()[:8]
    ids = set(re.findall(r'(?:url\(|href=")#([^")]+)', written.getvalue()))
    for parent in list(root.iter()):
        for element in list(parent):
            if element.tag.endswith(("}metadata", "}style")):
                parent.remove(element)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib.clear()
        if element.tag == "title":
            continue
        if element.tag == "a":  # its href is the name of the point or curve inside
            element.tag = "g"
            title = ElementTree.Element("title")
            title.text = attributes["href"]
            element.insert(0, title)
            continue
        if element.tag != "text":
            element.text = None
        element.tail = None
        if attributes.get("id") not in ids:
            attributes.pop("id", None)
        for name, value in attributes.items():
            if name == "id":
                value = f"{value}-{suffix}"
            elif name in ("href", "clip-path") and "#" in value:
                value = re.sub(r"#([^)]+)", rf"#\1-{suffix}", value)
            elif name == "style":
                value = re.sub(r"font-family: [^;]+;? ?", "", value).replace(FOREGROUND, "currentColor")
                for number, colour in enumerate(COLOURS):
                    value = value.replace(colour, f"var(--s{number}, {colour})")
            element.set(name, value)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": one_line(label), "stroke-linejoin": "round"})
    return ElementTree.tostring(root, encoding="unicode")


def write_png(figure: "Figure", path: Path) -> None:
    """Write the figure as a PNG file on white, replacing an earlier one.

    Raises:
        OSError: The file cannot be written.
    """
    with _style():
        storage.write_figure(path, figure, dpi=_DPI, facecolor="white")


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move positions apart until they are at least ``gap`` apart, keeping their order.

    Args:
        wanted: Positions, in any order.
        gap: Smallest distance of two.

    Returns:
        Positions in the order of ``wanted``. Neighbours that are too close move apart around their common mean.
    """

    def block_start(total: float, members: list[int]) -> float:
        return total / len(members)

    # Blocks of labels that touch: the sum of the block starts that its members want, and the members.
    blocks: list[tuple[float, list[int]]] = []
    for index in sorted(range(len(wanted)), key=lambda index: wanted[index]):
        total, members = wanted[index], [index]
        while blocks and block_start(*blocks[-1]) + gap * len(blocks[-1][1]) > total / len(members):
            before, earlier = blocks.pop()
            total += before - gap * len(earlier) * len(members)
            members = [*earlier, *members]
        blocks.append((total, members))
    moved = {index: block_start(*block) + gap * step for block in blocks for step, index in enumerate(block[1])}
    return [moved[index] for index in range(len(wanted))]


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib.style  # a second, and only to draw

    with matplotlib.style.context(_STYLE):
        yield


@contextmanager
def _drawing(width: float, height: float) -> Iterator["Figure"]:
    """A figure of a size in inches to draw on; its layout is computed once afterwards, so every file of it is alike."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
        figure.set_layout_engine("none")


def _short(text: str, longest: int = _LABEL) -> str:
    """A label in one line; one that is too long keeps its beginning and its end."""
    text = printable(" ".join(text.split()))
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2].rstrip()}…{text[-(longest // 2) + 1 :].lstrip()}"
