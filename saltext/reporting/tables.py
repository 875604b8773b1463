"""Tables of task x metric, computed from the scores of single pairs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from saltext.data.tasks import TASK_BY_NAME
from saltext.metrics import METRICS
from saltext.reporting.scores import metric_names

Published = Mapping[str, Mapping[str, Mapping[str, float]]]

NOTE = (
    "Mean over test pairs ± standard error. Ours: every image is in one part of the split only, the epoch is chosen on "
    "validation images, scores are taken at original resolution with the original fixation points. Published rows: the "
    "papers' own split (images leak between tasks), best test epoch, 288x384; comparable in name only."
)


@dataclass(frozen=True)
class Cell:
    """A mean over pairs. ``error`` is the standard error, NaN for published values and single pairs."""

    mean: float
    error: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        return f"{self.mean:.3f}" if math.isnan(self.error) else f"{self.mean:.3f} ± {self.error:.3f}"


@dataclass(frozen=True)
class Row:
    """One line of a table: a model on a task; ``pairs`` is None for published values."""

    task: str
    model: str
    pairs: int | None
    cells: Mapping[str, Cell]


def published(data_set: str) -> Published:
    """Published values of a data set: model -> task -> metric -> value; empty if there are none."""
    known = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("published.yaml")))
    values: Published = known.get(data_set, {}) if isinstance(known, dict) else {}
    return values


def _measured(task: str, model: str, scores: pd.DataFrame, names: Sequence[str]) -> Row:
    means, errors = scores[list(names)].mean(), scores[list(names)].sem()
    cells = {name: Cell(float(means[name]), float(errors[name])) for name in names}
    return Row(task, model, len(scores), cells)


def _quoted(task: str, model: str, values: Mapping[str, float], names: Sequence[str]) -> Row:
    return Row(task, model, None, {name: Cell(values.get(name, math.nan), math.nan) for name in names})


def rows(scores: pd.DataFrame, references: Published) -> list[Row]:
    """All models on each task, then the published values of that task.

    Args:
        scores: One row a pair and model, with columns ``task``, ``model`` and the metrics.
        references: See :func:`published`.
    """
    names = metric_names(scores)
    out: list[Row] = []
    for task in TASK_BY_NAME:
        of_task = scores[scores["task"] == task]
        out += [_measured(task, str(m), part, names) for m, part in of_task.groupby("model", sort=False)]
        if len(of_task):
            out += [_quoted(task, m, by_task[task], names) for m, by_task in references.items() if task in by_task]
    return out


def _headings(names: Sequence[str]) -> list[str]:
    arrows = {True: "↑", False: "↓", None: ""}
    return [f"{METRICS[name].title} {arrows[METRICS[name].higher_is_better]}" for name in names]


def markdown(table: Sequence[Row]) -> str:
    """The table as GitHub Markdown, with a note on what it compares."""
    names = list(table[0].cells)
    lines = [
        "| task | model | pairs | " + " | ".join(_headings(names)) + " |",
        "|---|---|---:|" + "---:|" * len(names),
    ]
    for row in table:
        cells = " | ".join(str(row.cells[name]) for name in names)
        lines.append(f"| {row.task} | {row.model} | {'–' if row.pairs is None else row.pairs} | {cells} |")
    return "\n".join([*lines, "", NOTE, ""])


def show(table: Sequence[Row], console: Console | None = None) -> None:
    """Print the table; the best measured mean of each task and metric is bold on a terminal."""
    names = list(table[0].cells)
    view = Table("task", "model", "pairs", title="Test scores")
    for heading in _headings(names):
        view.add_column(heading, justify="right", no_wrap=True)
    leading = {(task, name): best(table, task, name) for task in TASK_BY_NAME for name in names}
    previous = table[0].task
    for row in table:
        if row.task != previous:
            view.add_section()
        previous = row.task
        cells = [f"[bold]{row.cells[n]}[/bold]" if row is leading[row.task, n] else str(row.cells[n]) for n in names]
        view.add_row(row.task, row.model, "–" if row.pairs is None else str(row.pairs), *cells)
    view.caption = NOTE
    view.caption_justify = "left"
    # A log file has no width; a folded table is unreadable there.
    console = console or Console(width=None if Console().is_terminal else 180)
    console.print(view)


def best(table: Sequence[Row], task: str, name: str) -> Row | None:
    """The measured row with the best mean of a metric on a task; None if there is none."""
    measured = [row for row in table if row.task == task and row.pairs and not math.isnan(row.cells[name].mean)]
    sign = 1 if METRICS[name].higher_is_better else -1
    return max(measured, key=lambda row: sign * row.cells[name].mean, default=None)
