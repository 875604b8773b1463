"""The tables and curves a finished run leaves in its folder, and what commands print of runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from saltext import storage
from saltext.console import PRINT_WIDTH, not_essential
from saltext.errors import ConfigError, near
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.reporting import figures, tables
from saltext.reporting.curves import run_panels
from saltext.reporting.grid import Grid
from saltext.reporting.tables import TaskTable
from saltext.results import text_effect
from saltext.results.comparison import Difference, differences, model_scores, spread_over_runs
from saltext.results.means import published
from saltext.results.run_record import read_history
from saltext.results.score_table import (
    RunScores,
    averaged_over_seeds,
    metric_names,
    of_protocol,
    pooled,
    read_run_scores,
)
from saltext.results.text_effect import TITLES, text_effects
from saltext.system.run_folder import RunFolder, finished_runs, label


def write_tables(
    folder: RunFolder, scores: RunScores, setting: str, data_set: str | None, stages: Sequence[str] = ()
) -> list[TaskTable]:
    """Write ``table.md``, what other texts do (``text_effect.md``, ``text_swap.md`` and ``.csv``), and the curves.

    Args:
        folder: Where to.
        scores: Of the run.
        setting: See :func:`saltext.results.run_record.evaluation_setting`.
        data_set: Its name among the published values, if it has any.
        stages: Names of the run's stages in their order.

    Returns:
        The tables of the scores, the standard protocol's first.
    """
    found = tables.task_tables(scores.pairs, published(data_set) if data_set else {}, setting)
    storage.write_text(folder.table, markdown([tables.all_metrics(table) for table in found]))
    effects, swaps = text_tables(scores)
    if effects:
        storage.write_text(folder.text_effect_table, markdown(effects))
    if swaps:
        own = text_effect.own_scores(scores.pairs, scores.text_effect)
        accuracies = pd.DataFrame(text_effect.swap_accuracies(own, scores.text_effect))
        storage.write_csv(folder.root / "text_swap.csv", accuracies, float_format=None)
        storage.write_text(folder.root / "text_swap.md", markdown(swaps))
    with not_essential("the curves"):
        write_curves(folder, stages)
    return found


def text_tables(scores: RunScores, metric: str = "all") -> tuple[list[Grid], list[Grid]]:
    """Text ablation and text-swap test of a run's model, as far as it was scored with other texts.

    Args:
        scores: Of the run.
        metric: See :func:`show`.
    """
    variants = scores.text_effect
    if variants.empty:
        return [], []
    own = text_effect.own_scores(scores.pairs, variants)
    names = wanted(metric_names(own), metric)
    effects = {
        TITLES.get(name, name): [one for one in found if one.metric in names]
        for name, found in text_effects(own, variants).items()
    }
    note = f"Text ablation: score with a pair's own text minus score with another one, {tables.PAIRED}."
    accuracies = text_effect.swap_accuracies(own, variants) if text_effect.has_swaps(variants) else []
    swaps = tables.swaps([one for one in accuracies if one.metric in names])
    return [tables.differences(effects, "own text vs.", note)] if names else [], swaps


def markdown(grids: Sequence[Grid]) -> str:
    """Several tables as one Markdown text."""
    return "\n\n".join(grid.markdown() for grid in grids) + "\n"


def write_curves(folder: RunFolder, stages: Sequence[str] = ()) -> bool:
    """Write ``curves.png`` and the values it shows, ``curves.csv``.

    Args:
        folder: Of a run, finished or not.
        stages: Names of its stages in their order.

    Returns:
        Whether anything was logged.
    """
    history = read_history(folder, stages)
    panels = run_panels(history)
    if panels:
        storage.write_csv(folder.root / "curves.csv", history)
        figures.write_png(figures.curves(panels), folder.root / "curves.png")
    return bool(panels)


ALL = "all"
"""Asks for every metric."""


def wanted(names: Sequence[str], metric: str) -> list[str]:
    """The metrics that are shown of those there are: the one asked for, all, or by default CC, else the first one."""
    if metric:
        return list(names) if metric == ALL else [name for name in names if name == metric]
    return ["cc"] if "cc" in names else list(names[:1])


def show(table: TaskTable, metric: str = "") -> None:
    """Print one metric of a table, models down and conditions across.

    Args:
        table: Of one protocol.
        metric: A name, or :data:`ALL`; CC or its first metric by default.
    """
    for name in wanted(table.metrics, metric):
        show_grid(tables.one_metric(table, name))


def show_grid(grid: Grid) -> None:
    """Print a table, as wide as the terminal if there is one."""
    Console(width=None if Console().is_terminal else PRINT_WIDTH).print(grid, "")


def check_metric(metric: str, scored: Sequence[str]) -> None:
    """Make sure that a metric that is asked for is there.

    Raises:
        ConfigError: It is neither :data:`ALL`, nor empty, nor one of those that were scored.
    """
    if metric not in ("", ALL, *scored):
        what = "was not scored" if metric in METRICS else f"is unknown{near(metric, METRICS)}"
        raise ConfigError(f"Metric {metric!r} {what}; choose from {ALL}, {', '.join(scored)}")


def show_folder(root: Path, metric: str = "") -> None:
    """Print what the runs below a folder show.

    Args:
        root: The folder.
        metric: See :func:`show`.

    Raises:
        ConfigError: There is no finished run, or the metric is unknown.
    """
    runs = finished_runs(root)
    if not runs:
        raise ConfigError(
            f"Expected finished runs below {root}, found none (no whole result.json with whole scores). "
            "Start some first."
        )
    scores = pooled(runs)
    check_metric(metric, metric_names(scores))
    show_pooled(scores, list(dict.fromkeys(label(run) for run in runs)), metric)
    if len(runs) == 1:
        for grids in text_tables(read_run_scores(runs[0]), metric):
            for grid in grids:
                show_grid(grid)


def show_pooled(scores: pd.DataFrame, labels: Sequence[str], metric: str = "") -> None:
    """Print tables, the spread over runs, and the differences of the models from the first one.

    Args:
        scores: See :func:`saltext.results.score_table.pooled`.
        labels: The models among them that are the runs' own, at least one.
        metric: See :func:`show`.
    """
    for table in tables.task_tables(scores, {}):
        show(table, metric)
    standard = of_protocol(scores, STANDARD)
    several = spread_over_runs(standard[standard["model"].isin(labels)])
    if len(several):
        show_grid(tables.spread(several))
    first, *others = (averaged_over_seeds(standard[standard["model"] == name]) for name in labels)
    found = {f"{labels[0]} - {name}": differences(first, other) for name, other in zip(labels[1:], others, strict=True)}
    show_differences(found, metric)


def show_runs(runs: Sequence[Path], metric: str = "") -> None:
    """Print the first run minus each of the others.

    Raises:
        ConfigError: A run is not finished, two share no test pair, or the metric is unknown.
    """
    (first, scores), *others = ((path.name, model_scores(path)) for path in runs)
    check_metric(metric, metric_names(scores))
    show_differences({f"{first} - {name}": differences(scores, other) for name, other in others}, metric)


def show_differences(found: Mapping[str, Sequence[Difference]], metric: str = "") -> None:
    """Print differences with their intervals; nothing where there are none.

    Args:
        found: What was compared -> differences.
        metric: See :func:`show`.
    """
    names = wanted(list(dict.fromkeys(one.metric for several in found.values() for one in several)), metric)
    if names:
        shown = {name: [one for one in several if one.metric in names] for name, several in found.items()}
        show_grid(tables.differences(shown, "difference", f"{tables.PAIRED}.".capitalize()))
