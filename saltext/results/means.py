"""Means by condition and metric of scores of one protocol, beside the published values."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from saltext.baselines import BASELINES
from saltext.data.tasks import TASK_BY_NAME, in_order
from saltext.data.yaml_files import read_packaged
from saltext.metrics import METRICS
from saltext.results.comparison import FEWEST, lower_ends
from saltext.results.score_table import averaged_over_seeds, metric_names

Published = Mapping[str, Mapping[str, Mapping[str, float]]]

POOLS: Mapping[str, tuple[str, ...]] = {"whole + general": ("whole", "general"), "all": tuple(TASK_BY_NAME)}
"""Conditions that a paper scores together in one row, by the row's name among the published values."""

OF_THE_VERY_IMAGE = frozenset(BASELINES[name].title for name in ("human_pure", "human_others", "split_half"))
"""Baselines predicted from human data of the test image itself, which no model has seen: they are not the best."""


class Mean(NamedTuple):
    """A mean over pairs. ``error`` is the standard error, NaN for published values and single pairs."""

    mean: float
    error: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        return f"{self.mean:.3f}" if math.isnan(self.error) else f"{self.mean:.3f} ± {self.error:.3f}"


class Row(NamedTuple):
    """A model under a condition; ``pairs`` is None for published values.

    It is best in a metric where the intervals of its differences from all other models leave out 0, of at least
    :data:`saltext.results.comparison.FEWEST` images.
    """

    task: str
    model: str
    pairs: int | None
    means: Mapping[str, Mean]
    best_in: frozenset[str] = frozenset()


@cache
def published(data_set: str) -> Mapping[str, Published]:
    """Published values of a data set: protocol -> model -> task -> metric -> value; empty if there are none."""
    known = read_packaged(Path(__file__).with_name("published.yaml"))
    values: Mapping[str, Published] = known.get(data_set, {})
    return values


def rows(scores: pd.DataFrame, references: Published) -> list[Row]:
    """All models under each condition and pool of conditions, then its published values; seeds of a pair are averaged.

    ``scores`` are of one protocol; ``references``: model -> task (or name of :data:`POOLS`) -> metric -> value.
    """
    names = [name for name in metric_names(scores) if scores[name].notna().any()]
    scores = averaged_over_seeds(scores)
    published_tasks = {task for by_task in references.values() for task in by_task}
    pools = {name: tasks for name, tasks in POOLS.items() if name in published_tasks}
    table: list[Row] = []
    for task, members in {**{task: (task,) for task in in_order(scores["task"])}, **pools}.items():
        models = scores[scores["task"].isin(members)].groupby("model", sort=False)
        # A model or baseline that lacks a condition of a pool is not comparable with those that have all.
        complete = {str(model): part for model, part in models if part["task"].nunique() == len(members)}
        winners = _winners(complete, names)
        for model, part in complete.items():
            means = {n: Mean(float(part[n].mean()), standard_error(part[n], part["image_id"])) for n in names}
            best_in = frozenset(name for name in names if winners.get(name) == model)
            table.append(Row(task, model, len(part), means, best_in))
        for model, by_task in references.items() if complete else ():
            if task in by_task:
                means = {name: Mean(by_task[task].get(name, math.nan), math.nan) for name in names}
                table.append(Row(task, model, None, means))
    return table


def _winners(scores: Mapping[str, pd.DataFrame], metrics: Sequence[str]) -> dict[str, str]:
    """Metric -> the best of some models on the same pairs; metrics in which none stands out are left out, see Row."""
    signs = [1 if METRICS[metric].higher_is_better else -1 for metric in metrics]
    competing = {model: part for model, part in scores.items() if model not in OF_THE_VERY_IMAGE}
    better = {name: part.set_index(["image_id", "task"])[metrics] * signs for name, part in competing.items()}
    leaders, gaps = {}, {}
    for metric in metrics:
        means = pd.Series({model: table[metric].mean() for model, table in better.items()}, dtype=float).dropna()
        for other in map(str, means.sort_values(ascending=False).index[1:]):
            leaders[metric] = first = str(means.idxmax())
            gaps[metric, other] = better[first][metric] - better[other][metric]
    if not gaps:
        return {}
    table = pd.DataFrame(gaps)
    images = table.notna().groupby(level="image_id").any().sum()
    is_clear = (lower_ends(table) > 0) & (images >= FEWEST)
    stands_out = is_clear.groupby(level=0).all()
    return {metric: first for metric, first in leaders.items() if stands_out[metric]}


def standard_error(values: pd.Series, images: pd.Series) -> float:
    """Standard error of a mean over pairs, clustered by image; NaN where fewer than two images have a defined score."""
    numbers = values.to_numpy(np.float64)  # a table has hundreds of these: pandas' own grouping takes ten times as long
    defined = ~np.isnan(numbers)
    codes, unique = pd.factorize(images[defined])
    n = len(unique)
    if n < 2:
        return math.nan
    by_image = np.bincount(codes, numbers[defined] - numbers[defined].mean())
    return math.sqrt(n / (n - 1) * (by_image**2).sum()) / len(codes)
