"""Tables of task x metric, computed from the scores of single pairs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from saltext.console import PRINT_WIDTH
from saltext.data.tasks import TASK_BY_NAME, in_order
from saltext.evaluation.protocols import PAPERS
from saltext.metrics import METRICS
from saltext.models.baselines import BASELINES
from saltext.reporting.scores import averaged_over_seeds, metric_names

Published = Mapping[str, Mapping[str, Mapping[str, float]]]

POOLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"whole + general": ("whole", "general"), "all": tuple(TASK_BY_NAME)}
)
"""Rows in which a paper scores the pairs of several tasks together, by their name among the published values."""

OF_THE_VERY_IMAGE = frozenset(BASELINES[name].title for name in ("human_pure", "human_others", "split_half"))

STANDARD_NOTE = (
    "Mean over pairs ± standard error, at each image's own resolution with the original fixation points. AUC-J: all "
    "pixels are negatives; sAUC: all fixations on other images of the same condition are; IG: bits per fixation over "
    "the centre prior of the other images. The split-half row predicts one half of an image's fixations from the other."
)
PAPER_NOTE = (
    "Mean over pairs ± standard error, as the paper's own script measures: maps and fixation images resized to "
    "{size}; AUC and sAUC of the map binarised at its 0.8 quantile. {published}"
)
_PUBLISHED_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "tranblend": (
            "Published rows: the paper's split by row (the same image is in training under another text) and its best "
            "test epoch."
        ),
        "clip_salgan": (
            "Published rows: a model for each of the paper's groups of tasks, on its own test images; those of the "
            "group total are in training under other texts. As in the paper, 'whole + general' and 'all' score the "
            "pairs of several tasks together; their standard errors count images, not pairs."
        ),
    }
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


@dataclass(frozen=True)
class TaskTable:
    """Rows that were measured alike: one protocol."""

    title: str
    note: str
    rows: Sequence[Row]


@cache
def published(data_set: str) -> Mapping[str, Published]:
    """Published values of a data set: protocol -> model -> task -> metric -> value; empty if there are none."""
    known = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("published.yaml")))
    values: Mapping[str, Published] = known.get(data_set, {}) if isinstance(known, dict) else {}
    return values


def tables(scores: pd.DataFrame, references: Mapping[str, Published], how: str = "") -> list[TaskTable]:
    """One table a protocol: what was measured differently never shares one.

    Args:
        scores: One row a pair, model and protocol, with columns ``task``, ``model``, ``protocol`` and the metrics.
        references: See :func:`published`.
        how: Said below each table: the split, and how the epoch was chosen.
    """
    return [
        TaskTable(*_heading(str(protocol), how), rows(part, references.get(str(protocol), {})))
        for protocol, part in scores.groupby("protocol", sort=False)
    ]


def _heading(protocol: str, how: str) -> tuple[str, str]:
    if protocol not in PAPERS:
        return "Standard metrics", f"{STANDARD_NOTE} {how}".strip()
    paper = PAPERS[protocol]
    height, width = paper.size or (0, 0)
    note = PAPER_NOTE.format(size=f"{height}x{width}", published=_PUBLISHED_NOTES[protocol])
    return f"As the {paper.title} paper measures", f"{note} Ours: {how}" if how else note


def _measured(task: str, model: str, scores: pd.DataFrame, names: Sequence[str]) -> Row:
    cells = {name: Cell(float(scores[name].mean()), _error(scores[name], scores["image_id"])) for name in names}
    return Row(task, model, len(scores), cells)


def _error(values: pd.Series, images: pd.Series) -> float:
    """Standard error of a mean over pairs, NaN for a single image; the pairs of an image are not independent."""
    known = values.dropna()
    by_image = (known - known.mean()).groupby(images).sum()
    n = len(by_image)
    return math.sqrt(n / (n - 1) * (by_image**2).sum()) / len(known) if n > 1 else math.nan


def _quoted(task: str, model: str, values: Mapping[str, float], names: Sequence[str]) -> Row:
    return Row(task, model, None, {name: Cell(values.get(name, math.nan), math.nan) for name in names})


def rows(scores: pd.DataFrame, references: Published) -> list[Row]:
    """All models on each task, then the published values of that task; likewise tasks pooled as published.

    Args:
        scores: One row a pair and model, of one protocol, with columns ``image_id``, ``task``, ``model`` and the
            metrics. Several seeds of a pair are averaged first.
        references: model -> task (or name of :data:`POOLS`) -> metric -> value.
    """
    names = [name for name in metric_names(scores) if scores[name].notna().any()]
    scores = averaged_over_seeds(scores)
    quoted = {task for by_task in references.values() for task in by_task}
    pools = {name: tasks for name, tasks in POOLS.items() if name in quoted}
    out: list[Row] = []
    for task, members in {**{task: (task,) for task in in_order(scores["task"])}, **pools}.items():
        of_task = scores[scores["task"].isin(members)]
        models = of_task.groupby("model", sort=False)
        # A baseline that has not all tasks of a pool would stand beside models that do.
        whole = {str(model): part for model, part in models if part["task"].nunique() == len(members)}
        out += [_measured(task, model, part, names) for model, part in whole.items()]
        if whole:
            out += [_quoted(task, m, by_task[task], names) for m, by_task in references.items() if task in by_task]
    return out


def headings(names: Sequence[str]) -> list[str]:
    """The metrics' titles with the direction in which they are better."""
    arrows = {True: "↑", False: "↓", None: ""}
    return [f"{METRICS[name].title} {arrows[METRICS[name].higher_is_better]}" for name in names]


def markdown(table: TaskTable) -> str:
    """A table as GitHub Markdown, with a note on what it compares."""
    names = list(table.rows[0].cells)
    lines = [
        f"**{table.title}**",
        "",
        "| task | model | pairs | " + " | ".join(headings(names)) + " |",
        "|---|---|---:|" + "---:|" * len(names),
    ]
    for row in table.rows:
        cells = " | ".join(str(row.cells[name]) for name in names)
        lines.append(f"| {row.task} | {row.model} | {'–' if row.pairs is None else row.pairs} | {cells} |")
    return "\n".join([*lines, "", table.note, ""])


def show(table: TaskTable, console: Console | None = None) -> None:
    """Print a table; the best measured mean of each task and metric is bold on a terminal."""
    names = list(table.rows[0].cells)
    view = Table("task", "model", "pairs", title=table.title)
    for heading in headings(names):
        view.add_column(heading, justify="right", no_wrap=True)
    tasks = dict.fromkeys(row.task for row in table.rows)
    leading = {(task, name): best(table.rows, task, name) for task in tasks for name in names}
    previous = table.rows[0].task
    for row in table.rows:
        if row.task != previous:
            view.add_section()
        previous = row.task
        cells = [f"[bold]{row.cells[n]}[/bold]" if row is leading[row.task, n] else str(row.cells[n]) for n in names]
        view.add_row(row.task, row.model, "–" if row.pairs is None else str(row.pairs), *cells)
    view.caption = table.note
    view.caption_justify = "left"
    console = console or Console(width=None if Console().is_terminal else PRINT_WIDTH)
    console.print(view)


def best(table: Sequence[Row], task: str, name: str) -> Row | None:
    """The measured row with the best mean of a metric on a task; None if there is none.

    Rows made from the human data of the very image, which no model has seen, do not compete.
    """
    competing = [row for row in table if row.task == task and row.pairs and row.model not in OF_THE_VERY_IMAGE]
    measured = [row for row in competing if not math.isnan(row.cells[name].mean)]
    sign = 1 if METRICS[name].higher_is_better else -1
    return max(measured, key=lambda row: sign * row.cells[name].mean, default=None)
