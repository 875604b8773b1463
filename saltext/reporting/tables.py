"""The results of :mod:`saltext.results` as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from saltext.data.tasks import in_order
from saltext.evaluation.protocols import PAPERS
from saltext.metrics import METRICS
from saltext.models.transalnet.fix_rates import FreezeRow
from saltext.reporting.grid import Grid
from saltext.results import text_effect
from saltext.results.calibration import LEVELS, Calibration
from saltext.results.comparison import Difference, estimate
from saltext.results.means import Published, Row, best, rows
from saltext.results.score_table import metric_names
from saltext.results.text_effect import SwapAccuracy

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
INTERVALS = "95 % intervals: bootstrap over images"
PAIRED = "mean difference with its 95 % interval (paired bootstrap over images)"
SWAP_NOTE = (
    "Share of the test images with both texts whose prediction for the correct text scores higher than for the swapped "
    "text: against the salient human map, the non_salient one, both. In brackets, the 95 % interval: exact "
    "(Clopper-Pearson) over images; of all texts, two per image, bootstrap over images. A map that does not change "
    "counts as not moved; one that moves at random is right for half of the texts."
)
CALIBRATION_NOTE = (
    "For each fraction of the predicted mass: the fraction of fixations that fall into the densest pixels holding it, "
    "mean over test pairs with its 95 % interval (bootstrap over images). On the diagonal the predicted density means "
    "what it says; above it the maps are more spread out than human fixations, below it they are overconfident. The "
    "calibration error is the mean distance from the diagonal (0 to .5), the signed calibration error the mean of the "
    "curve minus the diagonal. Human maps are blurred fixations, which spreads them out: a model that predicted them "
    "exactly would have their curve. A uniform map is on the diagonal: calibration does not say how much a map knows."
)


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
    """One table per protocol: scores of different protocols never share one.

    Args:
        scores: One row per pair, model and protocol, with columns ``task``, ``model``, ``protocol`` and the metrics.
        references: See :func:`saltext.results.means.published`.
        setting: Evaluation setting, for the note below each table.
    """
    by_protocol = []
    for protocol, part in scores.groupby("protocol", sort=False):
        title, note = "Standard metrics", f"{STANDARD_NOTE} {setting}".strip()
        if protocol in PAPERS:
            paper = PAPERS[str(protocol)]
            height, width = paper.size or (0, 0)
            title = f"As the {paper.title} paper measures"
            note = PAPER_NOTE.format(size=f"{height}x{width}", published=_PUBLISHED_NOTES[str(protocol)])
            note += f" Our runs: {setting}" if setting else ""
        by_protocol.append(TaskTable(title, note, rows(part, references.get(str(protocol), {}))))
    return by_protocol


def heading(metric: str, name: str = "") -> str:
    """A metric's title, or the name a paper gives it, with an arrow in the direction of better scores."""
    return f"{name or METRICS[metric].title} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def all_metrics(table: TaskTable) -> Grid:
    """One row per condition and model, one column per metric; the best measured mean of each is in bold."""
    names = table.metrics
    texts = [
        [row.task, row.model, "published" if row.pairs is None else str(row.pairs), *(str(row.means[n]) for n in names)]
        for row in table.rows
    ]
    strong = {
        (index, 3 + column)
        for index, row in enumerate(table.rows)
        for column, name in enumerate(names)
        if row is best(table.rows, row.task, name)
    }
    return Grid(
        ["task", "model", "pairs", *map(heading, names)],
        texts,
        numbers=frozenset(range(2, 3 + len(names))),
        strong=frozenset(strong),
        grouped=True,
        title=table.title,
        note=table.note,
    )


def one_metric(table: TaskTable, metric: str) -> Grid:
    """One metric: one row per model, one column per condition; the best measured mean of each condition is in bold."""
    tasks = list(dict.fromkeys(row.task for row in table.rows))
    models = list(dict.fromkeys((row.pairs is None, row.model) for row in table.rows))
    texts, strong = [], set()
    for index, (is_published, model) in enumerate(sorted(models, key=lambda model: model[0])):
        own = {row.task: row for row in table.rows if (row.pairs is None, row.model) == (is_published, model)}
        texts.append([
            f"{model} (published)" if is_published else model,
            *(str(own[task].means[metric]) if task in own else "–" for task in tasks),
        ])  # fmt: skip
        strong |= {
            (index, 1 + column)
            for column, task in enumerate(tasks)
            if task in own and own[task] is best(table.rows, task, metric)
        }
    return Grid(
        [heading(metric), *tasks],
        texts,
        numbers=frozenset(range(1, 1 + len(tasks))),
        strong=frozenset(strong),
        title=table.title,
    )


def intervals(scores: Mapping[str, pd.DataFrame]) -> Grid:
    """Means with their 95 % intervals: one row per model and metric, one column per condition.

    Args:
        scores: Model -> its scores of single pairs, one protocol.
    """
    tasks = in_order(task for table in scores.values() for task in table["task"])
    texts = [
        [model, heading(name), *(str(estimate(table[table["task"] == task], name)) for task in tasks)]
        for model, table in scores.items()
        for name in metric_names(table)
    ]
    numbers = frozenset(range(2, 2 + len(tasks)))
    return Grid(["model", "metric", *tasks], texts, numbers=numbers, grouped=True, note=f"{INTERVALS}.")


def differences(by_name: Mapping[str, Sequence[Difference]], what: str, note: str = "") -> Grid:
    """Differences with their intervals: one row per comparison and metric, one column per condition.

    Args:
        by_name: Name of the comparison -> its differences.
        what: Heading of the column of names.
        note: Below the table.
    """
    tasks = in_order(gap.task for gaps in by_name.values() for gap in gaps)
    texts = []
    for name, gaps in by_name.items():
        for metric in dict.fromkeys(gap.metric for gap in gaps):
            by_task = {gap.task: gap for gap in gaps if gap.metric == metric}
            texts.append([
                name,
                METRICS[metric].title,
                *(by_task[task].signed() if task in by_task else "–" for task in tasks),
            ])  # fmt: skip
    images = {task: max(gap.images for gaps in by_name.values() for gap in gaps if gap.task == task) for task in tasks}
    headings = [what, "metric", *(f"{task} ({images[task]})" for task in tasks)]
    note = f"{note} In brackets behind a condition: images.".strip()
    return Grid(headings, texts, numbers=frozenset(range(2, len(headings))), grouped=True, note=note)


def swaps(accuracies: Sequence[SwapAccuracy]) -> list[Grid]:
    """The text-swap test: one table per swapped variant, one row per metric, one column per direction."""
    directions = {"salient": "salient", "non_salient": "non_salient", "both": "both", "texts": "all texts"}
    grids = []
    for variant in dict.fromkeys(accuracy.variant for accuracy in accuracies):
        of_variant = [accuracy for accuracy in accuracies if accuracy.variant == variant]
        texts = []
        for metric in dict.fromkeys(accuracy.metric for accuracy in of_variant):
            cells = {accuracy.direction: accuracy for accuracy in of_variant if accuracy.metric == metric}
            texts.append([METRICS[metric].title, str(cells["both"].images), *(str(cells[d]) for d in directions)])
        title = f"Text-swap test ({text_effect.VARIANTS[variant]})"
        headings = ["metric", "images", *directions.values()]
        grids.append(Grid(headings, texts, numbers=frozenset(range(1, 6)), title=title, note=SWAP_NOTE))
    return grids


def calibration(by_maps: Mapping[str, Sequence[Calibration]]) -> Grid:
    """Calibration: one row per condition and kind of map.

    Args:
        by_maps: Whose maps -> their calibration by condition.
    """
    shown = [index for index, level in enumerate(LEVELS) if level in (0.1, 0.25, 0.5, 0.75, 0.9)]
    texts = [
        [
            task,
            name,
            str(curve.pairs),
            f"{curve.error:.3f}",
            f"{curve.signed_error:+z.3f} ({curve.signed_low:+z.3f} to {curve.signed_high:+z.3f})",
            *(f"{curve.covered[index]:.3f}" for index in shown),
        ]
        for task in in_order(curve.task for curves in by_maps.values() for curve in curves)
        for name, curves in by_maps.items()
        for curve in curves
        if curve.task == task
    ]
    headings = ["task", "maps", "pairs", "calibration error", "signed (95 % interval)"]
    headings += [f"in {LEVELS[index]:.0%} of the mass" for index in shown]
    return Grid(headings, texts, numbers=frozenset(range(2, len(headings))), grouped=True, note=CALIBRATION_NOTE)


def spread(table: pd.DataFrame) -> Grid:
    """Means and standard errors over the runs of one model: one row per condition and model, one column per metric.

    Args:
        table: See :func:`saltext.results.comparison.spread_over_runs`; at least one row.
    """
    names = list(dict.fromkeys(table["metric"]))
    cells = table.assign(cell=[f"{row.mean:.3f} ± {row.error:.3f}" for row in table.itertuples()])
    texts = []
    for task in in_order(cells["task"]):
        for model, part in cells[cells["task"] == task].groupby("model", sort=False):
            by_metric = dict(zip(part["metric"], part["cell"], strict=True))
            texts.append([task, str(model), str(part["runs"].max()), *(by_metric.get(name, "–") for name in names)])
    return Grid(
        ["task", "model", "runs", *(METRICS[name].title for name in names)],
        texts,
        numbers=frozenset(range(2, 3 + len(names))),
        grouped=True,
        title="Runs of one model: mean of their means ± standard error over runs",
    )


def trainable(counted: Sequence[FreezeRow]) -> Grid:
    """Layers and parameters of each module, and how many of them are frozen or trainable."""
    texts = [
        [
            row.module,
            *((str(row.layers), str(row.frozen_layers)) if row.layers else ("–", "–")),
            f"{row.parameters:,}",
            f"{row.trainable_parameters:,}",
        ]
        for row in counted
    ]
    total, trained = (sum(getattr(row, name) for row in counted) for name in ("parameters", "trainable_parameters"))
    texts.append(["all", "", "", f"{total:,}", f"{trained:,}"])
    headings = ["module", "layers", "frozen", "parameters", "trainable"]
    return Grid(headings, texts, numbers=frozenset(range(1, 5)), title="Trainable parameters")
