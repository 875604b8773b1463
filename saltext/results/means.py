"""Means by condition and metric of scores of one protocol, beside the published values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from saltext.baselines import BASELINES
from saltext.data.tasks import TASK_BY_NAME, in_order
from saltext.metrics import METRICS
from saltext.results.score_table import averaged_over_seeds, metric_names

Published = Mapping[str, Mapping[str, Mapping[str, float]]]

POOLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"whole + general": ("whole", "general"), "all": tuple(TASK_BY_NAME)}
)
"""Conditions that a paper scores together in one row, by the row's name among the published values."""

OF_THE_VERY_IMAGE = frozenset(BASELINES[name].title for name in ("human_pure", "human_others", "split_half"))


@dataclass(frozen=True)
class Mean:
    """A mean over pairs. ``error`` is the standard error, NaN for published values and single pairs."""

    mean: float
    error: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        return f"{self.mean:.3f}" if math.isnan(self.error) else f"{self.mean:.3f} ± {self.error:.3f}"


@dataclass(frozen=True)
class Row:
    """A model under a condition; ``pairs`` is None for published values."""

    task: str
    model: str
    pairs: int | None
    means: Mapping[str, Mean]


@cache
def published(data_set: str) -> Mapping[str, Published]:
    """Published values of a data set: protocol -> model -> task -> metric -> value; empty if there are none."""
    known = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("published.yaml")))
    values: Mapping[str, Published] = known.get(data_set, {}) if isinstance(known, dict) else {}
    return values


def rows(scores: pd.DataFrame, references: Published) -> list[Row]:
    """All models under each condition, then the published values of that condition; likewise for pooled conditions.

    Args:
        scores: One row per pair and model, of one protocol, with columns ``image_id``, ``task``, ``model`` and the
            metrics. Several seeds of a pair are averaged first.
        references: model -> task (or name of :data:`POOLS`) -> metric -> value.
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
        for model, part in complete.items():
            means = {n: Mean(float(part[n].mean()), standard_error(part[n], part["image_id"])) for n in names}
            table.append(Row(task, model, len(part), means))
        for model, by_task in references.items() if complete else ():
            if task in by_task:
                means = {name: Mean(by_task[task].get(name, math.nan), math.nan) for name in names}
                table.append(Row(task, model, None, means))
    return table


def standard_error(values: pd.Series, images: pd.Series) -> float:
    """Standard error of a mean over pairs, clustered by image since the pairs of one image are not independent.

    Args:
        values: Score of each pair; NaN is left out.
        images: Image of each pair.

    Returns:
        In the unit of ``values``; NaN where fewer than two images have a score.
    """
    numbers = values.to_numpy(np.float64)  # a table has hundreds of these: pandas' own grouping takes ten times as long
    defined = ~np.isnan(numbers)
    codes, unique = pd.factorize(images[defined])
    n = len(unique)
    if n < 2:
        return math.nan
    by_image = np.bincount(codes, numbers[defined] - numbers[defined].mean())
    return math.sqrt(n / (n - 1) * (by_image**2).sum()) / len(codes)


def best(table: Sequence[Row], task: str, name: str) -> Row | None:
    """The measured row with the best mean of a metric under a condition; None if there is none.

    Rows predicted from human data of the test image itself, which no model has seen, do not compete.
    """
    competing = [row for row in table if row.task == task and row.pairs and row.model not in OF_THE_VERY_IMAGE]
    measured = [row for row in competing if not math.isnan(row.means[name].mean)]
    sign = 1 if METRICS[name].higher_is_better else -1
    return max(measured, key=lambda row: sign * row.means[name].mean, default=None)
