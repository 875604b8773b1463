"""Small charts as SVG inside a page: they follow its colours, light or dark, and their points say what they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from saltext.reporting.curves import spread

COLOURS = 7
"""Colours of a page's style, named ``s0`` to ``s6``; further curves have them again, dashed."""

_WIDTH, _HEIGHT = 400, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 22, 10, 40
_EMPTY = 0.05  # of the range of the values, left free on either side
_LINE = 12  # height of a number


@dataclass(frozen=True)
class Curve:
    """Points joined by a line; what is not finite is a gap.

    Attributes:
        label: In the legend.
        xs: Where.
        ys: As many values.
        low: Lower end of an interval around each value; empty for none.
        high: Its upper end.

    Raises:
        ValueError: Lengths differ.
    """

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.xs), len(self.ys), len(self.low) or len(self.ys), len(self.high) or len(self.ys)}
        if len(lengths) > 1:
            raise ValueError(f"curve {self.label!r}: a value for each of {len(self.xs)} places expected")


@dataclass(frozen=True)
class Dot:
    """A point of its own.

    Attributes:
        x: Where.
        y: Where.
        name: Shown when it is pointed at.
        number: Written beside it; empty for none.
    """

    x: float
    y: float
    name: str
    number: str = ""


@dataclass(frozen=True)
class Chart:
    """Curves or points on common axes.

    Attributes:
        title: Above it.
        xlabel: What lies along the x axis, with its unit.
        ylabel: Likewise.
        curves: Lines, by colour and number.
        dots: Points.
        square: Whether both axes are the same, with the line of equal values.
        limits: Smallest and largest value of both axes; of the values if None.
        whole: Whether only whole numbers are written along the x axis.
    """

    title: str
    xlabel: str
    ylabel: str
    curves: Sequence[Curve] = ()
    dots: Sequence[Dot] = ()
    square: bool = False
    limits: tuple[float, float] | None = None
    whole: bool = False

    @property
    def summary(self) -> str:
        """What it shows, for those who cannot see it."""
        counted = [f"{len(self.curves)} curves"] * bool(self.curves) + [f"{len(self.dots)} points"] * bool(self.dots)
        return f"{self.title}: {self.ylabel} against {self.xlabel}, {' and '.join(counted)}"


@dataclass(frozen=True)
class _Axis:
    """A range of values along a side of the picture; pixels grow to the right and downwards."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, whole: bool) -> list[float]:
        from matplotlib.ticker import MaxNLocator  # a second, and only to draw

        found = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(tick) for tick in found if self.low - slack <= tick <= self.high + slack]


def svg(chart: Chart) -> str:
    """The chart as an ``svg`` element; the page's style has to define what its classes look like."""
    x, y = _axes(chart)
    parts = [_frame(chart, x, y)]
    if chart.square:
        ends = (x.low, x.high)
        parts.append(f'<path class="even" d="{_path([(x.place(end), y.place(end)) for end in ends])}"/>')
    parts += [_curve(curve, place, x, y) for place, curve in enumerate(chart.curves)]
    parts += _numbers(chart.curves, x, y) if len(chart.curves) > 1 else []
    parts += [_dot(dot, x, y) for dot in chart.dots if math.isfinite(dot.x + dot.y)]
    width, height = x.end + _RIGHT, y.start + _BOTTOM
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(chart.summary)}">'
        + "".join(parts)
        + "</svg>"
    )


def _axes(chart: Chart) -> tuple[_Axis, _Axis]:
    points = [(dot.x, dot.y) for dot in chart.dots]
    for curve in chart.curves:
        points += [*zip(curve.xs, curve.ys, strict=True)]
        points += [*zip(curve.xs, curve.low, strict=False), *zip(curve.xs, curve.high, strict=False)]
    finite = np.array([point for point in points if math.isfinite(sum(point))]).reshape(-1, 2)
    shown = finite if len(finite) else np.array([[0.0, 0.0], [1.0, 1.0]])
    horizontal, vertical = (shown, shown) if chart.square else (shown[:, 0], shown[:, 1])
    bottom = _TOP + (_WIDTH - _LEFT - _RIGHT if chart.square else _HEIGHT - _TOP - _BOTTOM)
    return (
        _Axis(*(chart.limits or _range(horizontal)), _LEFT, _WIDTH - _RIGHT),
        _Axis(*(chart.limits or _range(vertical)), bottom, _TOP),
    )


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    free = _EMPTY * (high - low) or 0.5
    return low - free, high + free


def _frame(chart: Chart, x: _Axis, y: _Axis) -> str:
    parts = []
    for tick in x.ticks(chart.whole):
        place = x.place(tick)
        parts.append(f'<path class="grid" d="M{place:.1f} {y.end:.1f}V{y.start:.1f}"/>')
        parts.append(f'<text class="middle" x="{place:.1f}" y="{y.start + 15:.1f}">{_number(tick)}</text>')
    for tick in y.ticks(chart.whole and chart.square):
        place = y.place(tick)
        parts.append(f'<path class="grid" d="M{x.start:.1f} {place:.1f}H{x.end:.1f}"/>')
        parts.append(f'<text class="end" x="{x.start - 6:.1f}" y="{place + 4:.1f}">{_number(tick)}</text>')
    centre, middle = (x.start + x.end) / 2, (y.start + y.end) / 2
    parts.append(f'<text class="middle" x="{centre:.1f}" y="{y.start + 32:.1f}">{escape(chart.xlabel)}</text>')
    parts.append(
        f'<text class="middle" transform="translate(11 {middle:.1f}) rotate(-90)">{escape(chart.ylabel)}</text>'
    )
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:.10g}" if value else "0"


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A line through points; a new one after each gap."""
    found, drawing = [], False
    for x, y in points:
        if not math.isfinite(x + y):
            drawing = False
            continue
        found.append(f"{'L' if drawing else 'M'}{x:.1f} {y:.1f}")
        drawing = True
    return "".join(found)


def style(place: int) -> str:
    """Classes of the curve at a place among the curves of a chart."""
    return f"s{place % COLOURS}" + (" dashed" if place // COLOURS % 2 else "")


def _curve(curve: Curve, place: int, x: _Axis, y: _Axis) -> str:
    points = [(x.place(a), y.place(b)) for a, b in zip(curve.xs, curve.ys, strict=True)]
    finite = [point for point in points if math.isfinite(sum(point))]
    band = _band(curve, place, x, y)
    if not finite:
        return band
    name = f"<title>{escape(curve.label)}</title>"
    line = f'<path class="curve {style(place)}" d="{_path(points)}">{name}</path>'
    if len(finite) == 1:  # a single value is no line yet
        (only,) = finite
        line = f'<circle class="dot {style(place)}" cx="{only[0]:.1f}" cy="{only[1]:.1f}" r="3">{name}</circle>'
    return band + line


def _numbers(curves: Sequence[Curve], x: _Axis, y: _Axis) -> list[str]:
    """The curves' numbers, to the right of their ends and as high as far as there is room."""
    finite = [[p for p in zip(c.xs, c.ys, strict=True) if math.isfinite(sum(p))] for c in curves]
    ends = {place: (x.place(of[-1][0]), y.place(of[-1][1])) for place, of in enumerate(finite) if of}
    heights = spread([height for _, height in ends.values()], _LINE)
    return [
        f'<text class="number {style(place)}" x="{end + 5:.1f}" y="{height + 4:.1f}">{place + 1}</text>'
        for (place, (end, _)), height in zip(ends.items(), heights, strict=True)
    ]


def _band(curve: Curve, place: int, x: _Axis, y: _Axis) -> str:
    if not curve.low or not curve.high:
        return ""
    upper = [(x.place(a), y.place(b)) for a, b in zip(curve.xs, curve.high, strict=True)]
    lower = [(x.place(a), y.place(b)) for a, b in zip(curve.xs, curve.low, strict=True)]
    around = [point for point in [*upper, *reversed(lower)] if math.isfinite(sum(point))]
    return f'<path class="band {style(place)}" d="{_path(around)}Z"/>' if around else ""


def _dot(dot: Dot, x: _Axis, y: _Axis) -> str:
    left, top = x.place(dot.x), y.place(dot.y)
    marked = " marked" if dot.number else ""
    circle = f'<circle class="dot s0{marked}" cx="{left:.1f}" cy="{top:.1f}" r="3.5"><title>{escape(dot.name)}</title>'
    number = f'<text class="number" x="{left + 5:.1f}" y="{top - 4:.1f}">{escape(dot.number)}</text>'
    return f"{circle}</circle>{number if dot.number else ''}"
