"""Score tables as tables of a page."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from saltext.data.tasks import TASK_BY_NAME
from saltext.metrics import METRICS
from saltext.reporting.compare import Difference, interval
from saltext.reporting.page import Grid
from saltext.reporting.scores import metric_names
from saltext.reporting.tables import TaskTable, best, headings


def results(table: TaskTable) -> Grid:
    """All models on each task; the best measured mean of each task and metric stands out, as :func:`best` has it."""
    names = list(table.rows[0].cells)
    tasks = dict.fromkeys(row.task for row in table.rows)
    leading = {(task, name): best(table.rows, task, name) for task in tasks for name in names}
    texts = [
        [row.task, row.model, "published" if row.pairs is None else str(row.pairs), *(str(row.cells[n]) for n in names)]
        for row in table.rows
    ]
    strong = frozenset(
        (place, 3 + column)
        for place, row in enumerate(table.rows)
        for column, name in enumerate(names)
        if row is leading[row.task, name]
    )
    numbers = frozenset(range(2, 3 + len(names)))
    return Grid(["task", "model", "pairs", *headings(names)], texts, numbers, strong=strong, grouped=True)


def intervals(scores: Mapping[str, pd.DataFrame]) -> Grid:
    """Mean of each task and metric with its 95 % interval.

    Args:
        scores: Model -> its scores of single pairs, one protocol; all with the same metrics.
    """
    names = list(dict.fromkeys(name for table in scores.values() for name in metric_names(table)))
    rows = [
        [task, model, str(len(part)), *(_interval(part, name) for name in names)]
        for task in TASK_BY_NAME
        for model, table in scores.items()
        if len(part := table[table["task"] == task])
    ]
    columns = ["task", "model", "pairs", *headings(names)]
    return Grid(columns, rows, frozenset(range(2, len(columns))), grouped=True)


def _interval(part: pd.DataFrame, name: str) -> str:
    known = part.dropna(subset=[name]) if name in part else part[:0]
    if known.empty:
        return "–"
    values = known[name].to_numpy(np.float64)
    low, high = interval(values, known["image_id"].to_numpy())
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def differences(found: Mapping[str, Sequence[Difference]], what: str) -> Grid:
    """Differences with their intervals; those whose interval excludes zero stand out.

    Args:
        found: What was subtracted -> differences.
        what: Heading of its column.
    """
    names = list(dict.fromkeys(one.metric for several in found.values() for one in several))
    by_row: dict[tuple[str, str], dict[str, Difference]] = {}
    for title, several in found.items():
        for one in several:
            by_row.setdefault((title, one.task), {})[one.metric] = one
    rows, strong = [], set()
    for place, ((title, task), cells) in enumerate(by_row.items()):
        rows.append([title, task, str(next(iter(cells.values())).images), *(_difference(cells.get(n)) for n in names)])
        strong |= {(place, 3 + column) for column, n in enumerate(names) if n in cells and cells[n].excludes_zero}
    columns = [what, "task", "images", *(METRICS[name].title for name in names)]
    return Grid(columns, rows, frozenset(range(2, len(columns))), strong=frozenset(strong), grouped=True)


def _difference(one: Difference | None) -> str:
    if one is None or math.isnan(one.mean):
        return "–"
    return f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
