"""Two models pair by pair: on which images one does better than the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from saltext.data.tasks import TASK_BY_NAME
from saltext.metrics import METRICS
from saltext.reporting.charts import Chart, Dot
from saltext.reporting.compare import Difference, compare
from saltext.reporting.page import Grid

NAMED = 3
"""Pairs at either end of the differences that get a number."""


@dataclass(frozen=True)
class Point:
    """A test pair with its score by two models."""

    image_id: str
    text: str
    one: float
    other: float

    @property
    def gap(self) -> float:
        """The first model's score minus the other's."""
        return self.one - self.other


@dataclass(frozen=True)
class Scatter:
    """Scores of the same pairs by two models.

    Attributes:
        task: Of the pairs.
        metric: A name of ``saltext.metrics.METRICS``.
        one: Name of a model; its scores lie along the y axis.
        other: Name of the other.
        points: The pairs without undefined scores, the largest gap first.
        difference: Mean gap with its interval.
    """

    task: str
    metric: str
    one: str
    other: str
    points: Sequence[Point]
    difference: Difference

    @property
    def numbered(self) -> dict[str, Point]:
        """Number -> pair, of those with the largest and the smallest gaps."""
        ends = dict.fromkeys([*self.points[:NAMED], *self.points[-NAMED:]])
        return {str(number): point for number, point in enumerate(ends, start=1)}


def scatters(one: pd.DataFrame, other: pd.DataFrame, names: tuple[str, str], metric: str = "cc") -> list[Scatter]:
    """Two models on each task they share.

    Args:
        one: Scores of single pairs of one model, one protocol: ``image_id``, ``task``, ``text`` and the metric.
        other: Those of another; ``text`` is not needed.
        names: What the two are called.
        metric: Compared.

    Returns:
        Tasks in their usual order; empty where no pair has a score by both.
    """
    keys = ["image_id", "task"]
    known = [table.dropna(subset=[metric]) for table in (one, other) if metric in table]
    if len(known) < 2:
        return []
    both = known[0][[*keys, "text", metric]].merge(known[1][[*keys, metric]], on=keys, suffixes=("", "_other"))
    found = []
    for task in TASK_BY_NAME:
        part = both[both["task"] == task].rename(columns={metric: "one", f"{metric}_other": "other"})
        if len(part):
            (difference,) = compare(*(_scores(part, column, metric) for column in ("one", "other")))
            found.append(Scatter(task, metric, *names, _ranked(part), difference))
    return found


def _scores(part: pd.DataFrame, column: str, metric: str) -> pd.DataFrame:
    return part[["image_id", "task", column]].rename(columns={column: metric})


def _ranked(part: pd.DataFrame) -> list[Point]:
    columns = (part[name].tolist() for name in ("image_id", "text", "one", "other"))
    points = [Point(*values) for values in zip(*columns, strict=True)]
    return sorted(points, key=lambda point: (-point.gap, point.image_id))


def chart(scatter: Scatter) -> Chart:
    """A point for each pair, named when it is pointed at, and the line of equal scores."""
    numbers = {point: number for number, point in scatter.numbered.items()}
    title, mean = METRICS[scatter.metric].title, scatter.difference
    dots = [
        Dot(p.other, p.one, f"{p.image_id} {p.text}: {p.one:.3f} against {p.other:.3f}", numbers.get(p, ""))
        for p in scatter.points
    ]
    return Chart(
        f"{scatter.task}: {mean.mean:+.3f} ({mean.low:+.3f} to {mean.high:+.3f})",
        f"{title} of {scatter.other}",
        f"{title} of {scatter.one}",
        dots=dots,
        square=True,
    )


def table(found: Sequence[Scatter]) -> Grid:
    """The numbered pairs of several charts of the same two models, at least one."""
    rows = [
        [scatter.task, number, p.image_id, p.text, f"{p.one:.3f}", f"{p.other:.3f}", f"{p.gap:+.3f}"]
        for scatter in found
        for number, p in scatter.numbered.items()
    ]
    headings = ["task", "number", "image", "text", found[0].one, found[0].other, "difference"]
    return Grid(headings, rows, frozenset({1, 4, 5, 6}), grouped=True)
