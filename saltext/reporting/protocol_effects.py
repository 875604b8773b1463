"""What the published protocol adds, as a part of a study's page: a figure, tables and the conclusion."""

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
from saltext.results.protocol_effects import Effect, Kind, conclusion, effects
from saltext.results.score_table import metric_names, shown_metric

FIGURE_FILE, EFFECTS_FILE = "protocol_effects.png", "effects.csv"

_CAPTION = (
    "What the published protocol adds to {title}, with 95 % intervals over images: mean of the seeds, which the open "
    "circles show. Left: the network trained on the published rows minus the one without the rows of test images. "
    "Middle and right: its best epoch on the test pairs minus another choice of the epoch, at least 0 by construction."
)
_NOTE = (
    "Mean difference within one metric with its 95 % interval (paired bootstrap over images), seeds averaged pair by "
    "pair."
)
_DETAILS = (
    "Resolved: half of the interval's width; a smaller effect is not told from none. Adds or takes: the interval "
    "leaves out 0, and no seed has the other sign."
)
_SIDE_BY_SIDE = (
    "The same predictions in both papers' way to measure and in the standard one, seeds averaged pair by pair: the "
    "published arm, which trains on all published rows, at the epoch with the best mean test CC. The columns measure "
    "different things: their differences are no effects, and are not added to any."
)


def blocks(epochs: pd.DataFrame, tested: pd.DataFrame, to: Path) -> tuple[list[tuple[str, str]], list[Block]]:
    """The conclusion as sentences with their caveats, and what is shown; writes the figure and ``effects.csv``.

    Args:
        epochs: See :class:`saltext.results.protocol_effects.ArmScores`.
        tested: See there.
        to: Folder to write into.
    """
    points: list[tuple[str, str]] = []
    shown: list[Block] = []
    rows = list(dict.fromkeys(epochs["rows"]))
    written = []
    for order in rows:
        found = effects(epochs[epochs["rows"] == order])
        if not found:
            continue
        metric = shown_metric(list(dict.fromkeys(effect.metric for effect in found)))
        points.append((conclusion(found, metric), f"Test rows by {order}; of our networks, not of the published ones."))
        name = FIGURE_FILE if order == rows[0] else f"stand-in_{FIGURE_FILE}"
        shown += [f"Test rows by {order}.", [_figure(found, metric, to / name)], _details(found, metric)]
        shown += [_by_task(found, name) for name in dict.fromkeys(effect.metric for effect in found) if name != metric]
        written.append(_frame(found).assign(rows=order))
    if written:
        storage.write_csv(to / EFFECTS_FILE, pd.concat(written), float_format=None)
    if len(tested):
        shown.append(side_by_side(tested))
    return points, shown


def _figure(found: Sequence[Effect], metric: str, file: Path) -> Figure:
    panels: dict[str, list[Series]] = {}
    for kind in Kind:
        of_kind = [effect for effect in found if effect.kind is kind and effect.metric == metric]
        for network in dict.fromkeys(effect.network for effect in of_kind):
            own = {effect.task: effect for effect in of_kind if effect.network == network}
            estimates = {task: effect.estimate for task, effect in own.items()}
            single = {task: list(effect.by_seed.values()) for task, effect in own.items()}
            panels.setdefault(kind.value.replace(" instead", "\ninstead").replace(" also", "\nalso"), []).append(
                Series(network, estimates, single=single)
            )
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
        [effect.kind.value, effect.network, effect.task, effect.estimate.signed(),
         *(f"{effect.by_seed[seed]:+z.3f}" if seed in effect.by_seed else "" for seed in seeds),
         f"{effect.resolved:.3f}", str(effect.estimate.images), effect.verdict]
        for effect in own
    ]  # fmt: skip
    numbers = frozenset(range(3, 6 + len(seeds)))
    return Grid(headings, rows, numbers, grouped=True, note=f"{_NOTE} {_DETAILS}", keys=3)


def _by_task(found: Sequence[Effect], metric: str) -> Grid:
    own = [effect for effect in found if effect.metric == metric]
    cells = [
        tables.Cell(
            (effect.kind.value, effect.network), effect.task, effect.estimate.signed(), effect.verdict == "adds"
        )
        for effect in own
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
    """The same predictions by the paper's script and by the standard metrics: rows per task and network.

    ``tested`` is that of :class:`saltext.results.protocol_effects.ArmScores`.
    """
    cells = []
    protocols = sorted(tested["protocol"].unique(), key=lambda name: name == STANDARD)
    for task in in_order(tested["task"].unique()):
        for network in tested["network"].unique():
            own = tested[(tested["task"] == task) & (tested["network"] == network)]
            for protocol in protocols:
                part = own[own["protocol"] == protocol]
                whose = f"{PAPERS[protocol].title} script" if protocol in PAPERS else "standard"
                for name in metric_names(part.dropna(axis="columns", how="all")):
                    mean = part.groupby("image_id")[name].mean().mean()
                    cells.append(tables.Cell((task, network), f"{METRICS[name].title}, {whose}", f"{mean:.3f}"))
    return tables.pivot(cells, ["task", "network"], grouped=True, title="Two ways to measure", note=_SIDE_BY_SIDE)
