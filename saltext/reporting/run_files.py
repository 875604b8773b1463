"""Tables and curves written into a run's folder, and tables of runs printed by commands."""

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
from saltext.reporting.grid import Grid
from saltext.reporting.tables import ALL, TaskTable, selected_metrics
from saltext.results import score_table, text_ablation
from saltext.results.comparison import differences, model_scores, spread_over_runs
from saltext.results.means import published
from saltext.results.run_record import read_history
from saltext.results.score_table import RunScores, metric_names
from saltext.system.run_folder import RunFolder, finished_runs, label


def write_tables(
    folder: RunFolder, scores: RunScores, setting: str, data_set: str | None, stages: Sequence[str] = ()
) -> list[TaskTable]:
    """Write ``table.md``, text ablation and text-swap test (``text_ablation.md``, ``text_swap.md``, ``.csv``), curves.

    ``data_set`` is its name among the published values, None if there are none. Returns the tables of the scores, the
    standard protocol's first.
    """
    by_protocol = tables.task_tables(scores.pairs, published(data_set) if data_set else {}, setting)
    storage.write_text(folder.table, markdown([tables.all_metrics(table) for table in by_protocol]))
    effects, swaps = tables.text_tables(scores)
    if effects:
        storage.write_text(folder.text_ablation_table, markdown(effects))
    if swaps:
        own = text_ablation.own_scores(scores.pairs, scores.text_ablation)
        accuracies = pd.DataFrame(text_ablation.swap_accuracies(own, scores.text_ablation))
        storage.write_csv(folder.root / "text_swap.csv", accuracies, float_format=None)
        storage.write_text(folder.root / "text_swap.md", markdown(swaps))
    with not_essential("the curves"):
        write_curves(folder, stages)
    return by_protocol


def markdown(grids: Sequence[Grid]) -> str:
    """Several tables as one Markdown text."""
    return "\n\n".join(grid.markdown() for grid in grids) + "\n"


def write_curves(folder: RunFolder, stages: Sequence[str] = ()) -> bool:
    """Write ``curves.png`` and their values ``curves.csv`` of a run with these stages; False if nothing was logged."""
    history = read_history(folder, stages)
    panels = figures.run_panels(history)
    if panels:
        storage.write_csv(folder.root / "curves.csv", history)
        figures.write_png(figures.curves(panels), folder.root / "curves.png")
    return bool(panels)


def show(table: TaskTable, metric: str = "") -> None:
    """Print a metric of a table, CC or its first one by default, or :data:`ALL`: models down, conditions across."""
    for name in selected_metrics(table.metrics, metric):
        show_grid(tables.one_metric(table, name))


def show_grid(grid: Grid) -> None:
    """Print a table, as wide as the terminal if there is one."""
    Console(width=None if Console().is_terminal else PRINT_WIDTH).print(grid, "")


def show_folder(root: Path, metric: str = "") -> None:
    """Print tables, differences and text ablation of the runs below a folder; see :func:`show`.

    Raises:
        ConfigError: No run is finished, or the metric is unknown.
    """
    runs = finished_runs(root)
    if not runs:
        raise ConfigError(
            f"Expected finished runs below {root}, found none (no whole result.json with whole scores). "
            "Start some first."
        )
    scores = score_table.pooled(runs)
    _check_metric(metric, metric_names(scores))
    show_pooled(scores, list(dict.fromkeys(label(run) for run in runs)), metric)
    if len(runs) == 1:
        effects, swaps = tables.text_tables(score_table.read_run_scores(runs[0]), metric)
        for grid in (*effects, *swaps):
            show_grid(grid)


def show_pooled(scores: pd.DataFrame, labels: Sequence[str], metric: str = "") -> None:
    """Print tables, the spread over runs, and the differences of the models from the first one; see :func:`show`.

    ``labels`` are the runs' own models in ``scores``, see :func:`saltext.results.score_table.pooled`; at least one.
    """
    for table in tables.task_tables(scores, {}):
        show(table, metric)
    standard = score_table.of_protocol(scores, STANDARD)
    several = spread_over_runs(standard[standard["model"].isin(labels)])
    if len(several):
        show_grid(tables.spread(several))
    own = {name: score_table.averaged_over_seeds(standard[standard["model"] == name]) for name in labels}
    _show_differences(own, metric)


def show_runs(runs: Sequence[Path], metric: str = "") -> None:
    """Print the first run minus each of the others, see :func:`saltext.results.comparison.compare`."""
    scores = model_scores(runs)
    _check_metric(metric, metric_names(next(iter(scores.values()))))
    _show_differences(scores, metric)


def _check_metric(metric: str, scored: Sequence[str]) -> None:
    if metric not in ("", ALL, *scored):
        problem = "was not scored" if metric in METRICS else f"is unknown{near(metric, METRICS)}"
        raise ConfigError(f"Metric {metric!r} {problem}; choose from {ALL}, {', '.join(scored)}")


def _show_differences(scores: Mapping[str, pd.DataFrame], metric: str) -> None:
    """Print the first model minus each of the others; nothing where there is one alone."""
    (first, own), *others = scores.items()
    names, gaps = selected_metrics(metric_names(own), metric), {}
    for name, other in others:
        gaps[f"{first} - {name}"] = [gap for gap in differences(own, other) if gap.metric in names]
    if any(gaps.values()):
        show_grid(tables.differences(gaps, "difference"))
