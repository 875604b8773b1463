"""The results of :mod:`saltext.results` as tables."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from saltext.baselines.human import SplitHalf
from saltext.data.tasks import in_order
from saltext.evaluation.protocols import PAPERS
from saltext.metrics import METRICS
from saltext.models.transalnet.fix_rates import FreezeRow
from saltext.reporting.grid import Grid
from saltext.results import text_ablation
from saltext.results.calibration import LEVELS, Calibration
from saltext.results.comparison import FEWEST, Difference, estimate
from saltext.results.means import Published, Row, rows
from saltext.results.score_table import RunScores, metric_names, shown_metric
from saltext.results.text_ablation import TITLES, SwapAccuracy, short_title

STANDARD_NOTE = (
    "Mean over pairs ± standard error, at each image's own resolution with the original fixation points. AUC-J: all "
    "pixels are negatives; sAUC: all fixations on other images of the same condition are; IG: bits per fixation over "
    "the centre prior of the other images."
)
SPLIT_HALF_NOTE = "The split-half row predicts one half of an image's fixations from the other."
PAPER_NOTE = (
    "Mean over pairs ± standard error, as the paper's own script measures: maps and fixation images resized to "
    "{size}; AUC and sAUC of the map binarised at its 0.8 quantile. {published}"
)
_PUBLISHED_NOTES = {
    "tranblend": "Published rows: the paper's split by row (the same image is in training under another text) and its "
    "best test epoch.",
    "clip_salgan": "Published rows: a model for each of the paper's groups of tasks, on its own test images; those of "
    "the group total are in training under other texts. As in the paper, 'whole + general' and 'all' score the pairs "
    "of several tasks together; their standard errors count images, not pairs.",
}
BEST_NOTE = (
    f"Bold: better than every other measured model, by paired 95 % intervals over at least {FEWEST} images; human data "
    "of the same image do not compete."
)
PAIRED = "Mean difference with its 95 % interval (paired bootstrap over images)."
SWAP_NOTE = (
    "Share of the test images with both texts whose prediction for the correct text scores higher than for the swapped "
    "text: against the salient human map, the non_salient one, both. In brackets, the 95 % interval: exact "
    "(Clopper-Pearson) over images; of all texts, two per image, bootstrap over images. A map that does not change "
    "counts as not moved; one that moves at random is right for half of the texts."
)
CALIBRATION_NOTE = (
    "For each fraction of the predicted mass: the fraction of fixations in the densest pixels holding it, mean over "
    "test pairs with its 95 % interval (bootstrap over images). Above the diagonal the maps are more spread out than "
    "fixations, below it overconfident. The calibration error is the mean distance from the diagonal (0 to .5), the "
    "signed one the mean of the curve minus the diagonal. Human maps are blurred fixations, which spreads them out. A "
    "uniform map is on the diagonal: calibration does not say how much a map knows."
)


class Cell(NamedTuple):
    """A text in the row of some ``keys`` and in a ``column``, in bold if it is the ``best``."""

    keys: Sequence[str]
    column: str
    text: str
    best: bool = False


def pivot(
    cells: Iterable[Cell], headings: Sequence[str], keys: int = 0, columns: Sequence[str] = (), **more: Any
) -> Grid:
    """A table with a row for each keys and a column for each column of some cells, in the order in which they appear.

    The first ``keys`` of the ``headings`` identify a row (all by default), the others are of numbers; ``more`` are
    further fields of the table.
    """
    by_place = {(tuple(cell.keys), cell.column): cell for cell in cells}
    columns, first = columns or list(dict.fromkeys(column for _, column in by_place)), len(headings)
    texts: list[list[str]] = []
    strong = set()
    for row, of_row in enumerate(dict.fromkeys(of_row for of_row, _ in by_place)):
        found = [by_place.get((of_row, column)) for column in columns]
        texts.append([*of_row, *(cell.text if cell else "" for cell in found)])
        strong |= {(row, first + n) for n, cell in enumerate(found) if cell and cell.best}
    numbers = frozenset(range(keys or first, first + len(columns)))
    return Grid([*headings, *columns], texts, numbers, frozenset(strong), keys=keys or first, **more)


@dataclass(frozen=True)
class TaskTable:
    """The means of one protocol, one row per condition and model."""

    title: str
    note: str
    rows: Sequence[Row]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics in its rows."""
        return list(self.rows[0].means)


def task_tables(scores: pd.DataFrame, references: Mapping[str, Published], setting: str = "") -> list[TaskTable]:
    """One table per protocol, see :func:`saltext.results.means.published`; the note below each names the setting."""
    by_protocol = []
    for protocol, part in scores.groupby("protocol", sort=False):
        title, split_half = "Standard metrics", SPLIT_HALF_NOTE if SplitHalf.title in set(part["model"]) else ""
        note = " ".join(filter(None, (STANDARD_NOTE, split_half, BEST_NOTE, setting)))
        if protocol in PAPERS:
            paper = PAPERS[str(protocol)]
            height, width = paper.size or (0, 0)
            title = f"As the {paper.title} paper measures"
            note = PAPER_NOTE.format(size=f"{height}x{width}", published=_PUBLISHED_NOTES[str(protocol)])
            note += f" {BEST_NOTE}" + (f" Our runs: {setting}" if setting else "")
        by_protocol.append(TaskTable(title, note, rows(part, references.get(str(protocol), {}))))
    return by_protocol


def heading(metric: str, name: str = "") -> str:
    """A metric's title, or the name a paper gives it, with an arrow in the direction of better scores."""
    return f"{name or METRICS[metric].title} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def all_metrics(table: TaskTable) -> Grid:
    """One row per condition and model, one column per metric."""
    cells = [
        Cell((row.task, row.model, str(row.pairs or "published")), heading(name), str(mean), name in row.best_in)
        for row in table.rows
        for name, mean in row.means.items()
    ]
    return pivot(cells, ["task", "model", "pairs"], keys=2, grouped=True, title=table.title, note=table.note)


def one_metric(table: TaskTable, metric: str) -> Grid:
    """One metric: one row per model, then per published one, one column per condition."""
    cells = [
        Cell([row.model if row.pairs else f"{row.model} (published)"], row.task, str(row.means[metric]),
             metric in row.best_in)
        for row in sorted(table.rows, key=lambda row: row.pairs is None)
    ]  # fmt: skip
    return pivot(cells, [heading(metric)], title=table.title)


def intervals(scores: Mapping[str, pd.DataFrame]) -> Grid:
    """Means with their 95 % intervals, of models -> scores of one protocol: a row per model and metric."""
    tasks = in_order(task for table in scores.values() for task in table["task"])
    cells = [
        Cell((model, heading(name)), task, str(estimate(table[table["task"] == task], name)))
        for model, table in scores.items()
        for name in metric_names(table)
        for task in tasks
    ]
    return pivot(cells, ["model", "metric"], grouped=True, note="95 % intervals: bootstrap over images.")


def differences(by_name: Mapping[str, Sequence[Difference]], what: str, note: str = "") -> Grid:
    """Differences with their intervals by the name of the comparison: a row per name (``what``) and metric."""
    images: dict[str, int] = {}
    for gap in (gap for gaps in by_name.values() for gap in gaps):
        images[gap.task] = max(images.get(gap.task, 0), gap.images)
    columns = {task: f"{task} ({images[task]})" for task in in_order(images)}
    cells = [
        Cell((name, METRICS[gap.metric].title), columns[gap.task], gap.signed())
        for name, gaps in by_name.items()
        for gap in gaps
    ]
    note = f"{note or PAIRED} In brackets behind a condition: images."
    return pivot(cells, [what, "metric"], columns=list(columns.values()), grouped=True, note=note)


def ablation(
    effects: Mapping[str, Sequence[Difference]], name: str = "", metrics: Collection[str] | None = None
) -> Grid:
    """A text ablation, see :func:`saltext.results.text_ablation.ablation_differences`; by default of all metrics."""
    shown = {
        TITLES.get(variant, variant): [gap for gap in gaps if metrics is None or gap.metric in metrics]
        for variant, gaps in effects.items()
    }
    what = f"{name}: own text vs." if name else "own text vs."
    note = f"Text ablation: score with a pair's own text minus score with another one, same weights. {PAIRED}"
    return differences(shown, what, note)


def swaps(accuracies: Sequence[SwapAccuracy]) -> list[Grid]:
    """The text-swap test: one table per swapped variant, one row per metric, one column per direction."""
    grids = []
    for variant in dict.fromkeys(accuracy.variant for accuracy in accuracies):
        cells = [
            Cell((METRICS[one.metric].title, str(one.images)), one.direction.replace("texts", "all texts"), str(one))
            for one in accuracies
            if one.variant == variant
        ]
        title = f"Text-swap test ({short_title(variant)})"
        grids.append(pivot(cells, ["metric", "images"], keys=1, title=title, note=SWAP_NOTE))
    return grids


ALL = "all"
"""Selects every metric."""


def selected_metrics(names: Sequence[str], metric: str) -> list[str]:
    """The metrics to show: the one asked for, every one for :data:`ALL`, by default CC or else the first one."""
    if metric == ALL:
        return list(names)
    return [name for name in names if name == (metric or shown_metric(names))]


def text_tables(scores: RunScores, metric: str = ALL) -> tuple[list[Grid], list[Grid]]:
    """Text ablation and text-swap test of a run's model, as far as it was scored with other texts."""
    pairs, variants = scores
    own = text_ablation.own_scores(pairs, variants) if len(variants) else pairs[:0]
    metrics = selected_metrics(metric_names(own), metric)
    if own.empty or not metrics:
        return [], []
    accuracies = text_ablation.swap_accuracies(own, variants) if text_ablation.has_swaps(variants) else []
    shown = swaps([accuracy for accuracy in accuracies if accuracy.metric in metrics])
    return [ablation(text_ablation.ablation_differences(own, variants), metrics=metrics)], shown


def calibration(by_maps: Mapping[str, Sequence[Calibration]]) -> Grid:
    """Calibration by whose maps they are: one row per condition and kind of map."""
    shown = [index for index, level in enumerate(LEVELS) if level in (0.1, 0.25, 0.5, 0.75, 0.9)]
    curves = [(name, curve) for name, of_name in by_maps.items() for curve in of_name]
    order = in_order(curve.task for _, curve in curves)
    texts = [
        [curve.task, name, str(curve.pairs), f"{curve.error:.3f}", curve.signed_error.signed(),
         *(f"{curve.covered[index]:.3f}" for index in shown)]
        for name, curve in sorted(curves, key=lambda one: order.index(one[1].task))
    ]  # fmt: skip
    headings = ["task", "maps", "pairs", "calibration error", "signed (95 % interval)"]
    headings += [f"in {LEVELS[index]:.0%} of the mass" for index in shown]
    return Grid(headings, texts, numbers=frozenset(range(2, len(headings))), grouped=True, note=CALIBRATION_NOTE)


def spread(table: pd.DataFrame) -> Grid:
    """Means and standard errors over the runs of one model, see :func:`saltext.results.comparison.spread_over_runs`."""
    order, runs = in_order(table["task"]), table.groupby(["task", "model"])["runs"].max()
    ordered = table.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")
    cells = [
        Cell((task, model, str(runs[task, model])), METRICS[metric].title, f"{mean:.3f} ± {error:.3f}")
        for task, model, metric, mean, error, _ in ordered.itertuples(index=False, name=None)
    ]
    title = "Runs of one model: mean of their means ± standard error over runs"
    return pivot(cells, ["task", "model", "runs"], keys=2, grouped=True, title=title)


def trainable(counted: Sequence[FreezeRow]) -> Grid:
    """Layers and parameters of each module, and how many of them are frozen or trainable."""
    texts = []
    for row in counted:
        layers = (str(row.layers), str(row.frozen_layers)) if row.layers else ("", "")
        texts.append([row.module, *layers, f"{row.parameters:,}", f"{row.trainable_parameters:,}"])
    total, trained = (sum(getattr(row, name) for row in counted) for name in ("parameters", "trainable_parameters"))
    texts.append(["all", "", "", f"{total:,}", f"{trained:,}"])
    headings = ["module", "layers", "frozen", "parameters", "trainable"]
    return Grid(headings, texts, numbers=frozenset(range(1, 5)), title="Trainable parameters")
