"""What the published protocol adds, as a part of a study's page: a figure, tables and the conclusion."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from saltext import storage
from saltext.data.tasks import in_order
from saltext.evaluation.protocols import PAPERS, STANDARD
from saltext.metrics import METRICS
from saltext.reporting import figures, tables
from saltext.reporting.document import Block, Figure
from saltext.reporting.figures import Series
from saltext.reporting.grid import Grid
from saltext.results.protocol_effects import AUTHORS, Effect, Kind, conclusion, effects, not_run, with_most_rows
from saltext.results.score_table import shown_metric

FIGURE_FILE, EFFECTS_FILE = "protocol_effects.png", "effects.csv"

_CAPTION = (
    "What the published protocol adds to {title}, with 95 % intervals over images, not over trainings: mean of the "
    "seeds, which the open circles show. Left: the network trained on the published rows minus the one without the "
    "rows of test images. Middle and right: its best epoch on the test pairs minus another choice of the epoch, at "
    "least 0 by construction."
)
_NOTE = (
    "Mean difference within one metric with its 95 % interval (paired bootstrap over images, not over trainings), "
    "seeds averaged pair by pair."
)
_DETAILS = (
    "Resolved: half of the interval's width; a smaller effect cannot be distinguished from zero. Adds or takes: "
    "the interval leaves out 0, and no seed has the other sign. None: both sides are the same epochs."
)
_SIDE_BY_SIDE = (
    "The same predictions, measured by the script of the network's own paper (TranBlend's for GroundedGaze) and by the "
    "standard metrics (AUC-Judd; sAUC with other images' fixations; NSS and CC at the images' own resolution), seeds "
    "averaged pair by pair. Of the arm published, at the epoch with the best mean test CC. Two columns of one name "
    "measure different things: their difference is no effect of the protocol, and is added to none."
)


_STANDARD_OF = {"AUC": "auc_judd", "sAUC": "auc_shuffled", "CC": "cc", "NSS": "nss"}  # of the same name


def blocks(
    epochs: pd.DataFrame, tested: pd.DataFrame, networks: Sequence[str], to: Path
) -> tuple[list[tuple[str, str]], list[Block]]:
    """The conclusion as sentences with their caveats, and what is shown; writes the figure and ``effects.csv``.

    Args:
        epochs: See :class:`saltext.results.protocol_effects.ArmScores`.
        tested: See there.
        networks: Of the study, whether they have run or not.
        to: Folder to write into.
    """
    points: list[tuple[str, str]] = []
    shown: list[Block] = []
    rows = list(dict.fromkeys(epochs["rows"]))
    written = []
    for order in rows:
        of_order = epochs[epochs["rows"] == order]
        found = effects(of_order)
        if not found:
            continue
        metric = shown_metric(list(dict.fromkeys(effect.metric for effect in found)))
        missing = not_run(of_order, networks)
        caveat = f"Test rows by {order}; of our networks, not of the published ones. {missing}".strip()
        points.append((conclusion(found, metric), caveat))
        name = FIGURE_FILE if order == AUTHORS or AUTHORS not in rows else f"stand-in_{FIGURE_FILE}"
        shown += [f"Test rows by {order}.", [_figure(with_most_rows(found), metric, to / name)]]
        shown += [_details(found, metric)]
        shown += [_by_task(found, name) for name in dict.fromkeys(effect.metric for effect in found) if name != metric]
        written.append(_frame(found).assign(rows=order))
        if len(tested):
            shown.append(side_by_side(tested[tested["rows"] == order]))
    if written:
        storage.write_csv(to / EFFECTS_FILE, pd.concat(written), float_format=None)
    return points, shown


def _figure(found: Sequence[Effect], metric: str, file: Path) -> Figure:
    panels: dict[str, list[Series]] = {}
    for kind in (kind for kind in Kind if kind is not Kind.CONTROL):
        of_kind = [effect for effect in found if effect.kind is kind and effect.metric == metric]
        for network in dict.fromkeys(effect.network for effect in of_kind):
            own = {effect.task: effect for effect in of_kind if effect.network == network}
            estimates = {task: effect.estimate for task, effect in own.items()}
            single = {task: list(effect.by_seed.values()) for task, effect in own.items()}
            panels.setdefault(kind.value, []).append(Series(network, estimates, single=single))
    title = METRICS[metric].title
    drawn = figures.gains(f"added to {title}", panels)
    figures.write_png(drawn, file)
    return Figure(figures.svg(drawn, "What the published protocol adds"), _CAPTION.format(title=title), file.name)


def _details(found: Sequence[Effect], metric: str) -> Grid:
    """Every effect on one metric: its interval, its seeds, what it resolves, and the verdict."""
    own = [effect for effect in found if effect.metric == metric]
    seeds = sorted({seed for effect in own for seed in effect.by_seed})
    headings = ["what", "network", "task", METRICS[metric].title, *(f"seed {seed}" for seed in seeds), "resolved",
                "images", "verdict"]  # fmt: skip
    rows = [
        [effect.kind.value, _tested(effect), effect.task, effect.estimate.signed(),
         *(f"{effect.by_seed[seed]:+z.3f}" if seed in effect.by_seed else "" for seed in seeds),
         f"{effect.resolved:.3f}", str(effect.estimate.images), effect.verdict]
        for effect in own
    ]  # fmt: skip
    numbers = frozenset(range(3, 6 + len(seeds)))
    return Grid(headings, rows, numbers, grouped=True, note=f"{_NOTE} {_DETAILS}", keys=3)


def _tested(effect: Effect) -> str:
    """The network, and how many fifths of the rows were tested where it is not the first alone."""
    return effect.network if effect.rotations == 1 else f"{effect.network}, {effect.rotations} fifths"


def _by_task(found: Sequence[Effect], metric: str) -> Grid:
    own = [effect for effect in found if effect.metric == metric]
    cells = [
        tables.Cell((e.kind.value, _tested(e)), e.task, e.estimate.signed(), best=e.verdict == "adds") for e in own
    ]
    columns = in_order(effect.task for effect in own)
    title = f"{tables.heading(metric)}: what the protocol adds"
    note = f"{_NOTE} Bold: it adds to the score."
    return tables.pivot(cells, ["what", "network"], columns=columns, grouped=True, title=title, note=note)


def _frame(found: Sequence[Effect]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "what": effect.kind.value,
            "network": effect.network,
            "rotations": effect.rotations,
            "task": effect.task,
            "metric": effect.metric,
            "difference": effect.estimate.mean,
            "low": effect.estimate.low,
            "high": effect.estimate.high,
            "resolved": effect.resolved,
            "images": effect.estimate.images,
            "seeds": " ".join(f"{seed}:{mean:.4f}" for seed, mean in effect.by_seed.items()),
            "verdict": effect.verdict,
        }
        for effect in found
    )


def side_by_side(tested: pd.DataFrame) -> Grid:
    """The same predictions by a paper's script and by the standard metrics: rows per task and network.

    ``tested`` is that of :class:`saltext.results.protocol_effects.ArmScores`.
    """
    cells = []
    for task in in_order(tested["task"].unique()):
        for network in tested["network"].unique():
            own = tested[(tested["task"] == task) & (tested["network"] == network)]
            for paper in (PAPERS[name] for name in own["protocol"].unique() if name in PAPERS):
                keys = (task, network, paper.title)
                for name, metric in zip(paper.metric_names, paper.metrics, strict=True):
                    for protocol, measured, whose in (
                        (paper.name, metric, "script"),
                        (STANDARD, _STANDARD_OF[name], "standard"),
                    ):
                        part = own[own["protocol"] == protocol]
                        mean = part.groupby("image_id")[measured].mean().mean() if measured in part else math.nan
                        text = "" if math.isnan(mean) else f"{mean:.3f}"
                        cells.append(tables.Cell(keys, f"{name}, {whose}", text))
    headings = ["task", "network", "script of"]
    return tables.pivot(cells, headings, grouped=True, title="Two ways to measure", note=_SIDE_BY_SIDE)
