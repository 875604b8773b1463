"""How far runs of one model lie apart: folds of a cross-validation, seeds."""

import pandas as pd
from rich.console import Console
from rich.table import Table

from saltext.console import PRINT_WIDTH
from saltext.data.tasks import in_order
from saltext.metrics import METRICS
from saltext.reporting.scores import metric_names


def over_runs(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error of the runs' means.

    Args:
        scores: One row a pair and run, one protocol, with columns ``task``, ``model``, ``run`` and the metrics.

    Returns:
        One row a task, model and metric: ``mean``, ``error`` (standard deviation of the runs' means divided by the
        root of their number) and ``runs``; models with a single run are left out.
    """
    names = metric_names(scores)
    by_run = scores.groupby(["task", "model", "run"], sort=False)[names].mean()
    long = by_run.melt(ignore_index=False, var_name="metric").reset_index()
    table = long.groupby(["task", "model", "metric"], sort=False)["value"].agg(mean="mean", error="sem", runs="count")
    several: pd.DataFrame = table[table["runs"] > 1].reset_index()
    return several


def show(spread: pd.DataFrame) -> None:
    """Print it; nothing where no model has several runs."""
    if spread.empty:
        return
    names = list(dict.fromkeys(spread["metric"]))
    view = Table("task", "model", "runs", title="Runs of one model: mean of their means ± standard error over runs")
    for name in names:
        view.add_column(METRICS[name].title, justify="right", no_wrap=True)
    for task in in_order(spread["task"]):
        for model, part in spread[spread["task"] == task].groupby("model", sort=False):
            cells = {row.metric: f"{row.mean:.3f} ± {row.error:.3f}" for row in part.itertuples()}
            view.add_row(task, str(model), str(part["runs"].max()), *(cells[name] for name in names))
    Console(width=None if Console().is_terminal else PRINT_WIDTH).print(view)
