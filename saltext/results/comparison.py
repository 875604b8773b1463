"""Means and differences with 95 % intervals: a bootstrap over images, since the pairs of one image are not independent.

Seeds are averaged pair by pair and folds of a cross-validation pooled before anything is compared.

References:
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8 (resampling of independent units).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saltext.data.tasks import in_order
from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.results.score_table import averaged_over_seeds, metric_names, of_protocol, read_all
from saltext.system.run_folder import finished_runs, label

_DRAWS = 10_000
_TAILS = (0.025, 0.975)

FEWEST = 6
"""Images from which on there is an interval: fewer may all differ in one direction by chance (p > .05)."""


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs with its 95 % interval, in the metric's unit; NaN where no score is defined.

    ``images`` is 0 where it is not known. Of fewer than :data:`FEWEST` the text has no interval, and none excludes 0.

    >>> Estimate(0.0531, 0.0402, 0.0663, 30).signed()
    '+0.053 (+0.040 to +0.066)'
    """

    mean: float
    low: float = np.nan
    high: float = np.nan
    images: int = 0

    def __str__(self) -> str:
        return self._text("")

    def signed(self) -> str:
        """The text of a difference: mean and interval with their signs."""
        return self._text("+z")

    def _text(self, sign: str) -> str:
        if np.isnan(self.mean):
            return "–"
        interval = f"{self.low:{sign}.3f} to {self.high:{sign}.3f}"
        if self._has_few_images:
            interval = f"{self.images} image{'s' * (self.images > 1)}, no interval"
        return f"{self.mean:{sign}.3f} ({interval})"

    @property
    def _has_few_images(self) -> bool:
        return 0 < self.images < FEWEST

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return (self.low > 0 or self.high < 0) and not self._has_few_images


@dataclass(frozen=True)
class Difference(Estimate):
    """A mean difference of two sets of scores of the same pairs, under one condition (``task``) by one ``metric``."""

    task: str = ""
    metric: str = ""


def bootstrap_means(
    values: NDArray[np.float64], groups: NDArray[np.object_], draws: int = _DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Means of resampled data in which whole groups are drawn with replacement, shape (draws,).

    ``values`` and ``groups`` have shape (n,); the group of a pair is its image.
    """
    _, group_index = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(group_index, weights=values), np.bincount(group_index)
    times = _times_drawn(len(sizes), draws, seed).astype(np.float64)  # products of integers are slow
    means: NDArray[np.float64] = (times @ sums) / (times @ sizes)
    return means


@lru_cache(maxsize=8)  # drawing takes ten times as long as using them, and tables have hundreds of intervals
def _times_drawn(groups: int, draws: int, seed: int) -> NDArray[np.uint16]:
    """How often each resample contains each group, shape (draws, groups)."""
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)
    return times.astype(np.uint16)  # 12 MB for 600 images


def estimate(scores: pd.DataFrame, metric: str) -> Estimate:
    """The mean of a metric over pairs with a defined score; NaN with 0 images where there is none."""
    defined = scores.dropna(subset=[metric]) if metric in scores else scores[:0]
    if defined.empty:
        return Estimate(np.nan)
    values, images = defined[metric].to_numpy(np.float64), defined["image_id"].to_numpy()
    low, high = np.quantile(bootstrap_means(values, images), _TAILS)
    return Estimate(float(values.mean()), float(low), float(high), len(set(images)))


def lower_ends(values: pd.DataFrame) -> "pd.Series[float]":
    """Lower ends of the 95 % intervals of the means of columns, over pairs in rows indexed by ``image_id`` and more.

    One resampling serves all columns; undefined values are left out.
    """
    sums = values.groupby(level="image_id").sum().to_numpy(np.float64)
    sizes = values.notna().groupby(level="image_id").sum().to_numpy(np.float64)
    times = _times_drawn(len(sums), _DRAWS, 0).astype(np.float64)
    with np.errstate(invalid="ignore"):  # resamples of images without a value
        means = np.nan_to_num((times @ sums) / (times @ sizes), nan=np.finfo(np.float64).min)
    return pd.Series(np.quantile(means, _TAILS[0], axis=0), index=values.columns)


def differences(one: pd.DataFrame, other: pd.DataFrame) -> list[Difference]:
    """``one`` minus ``other``, score tables of two models, on the pairs both have, by condition and metric.

    A pair with an undefined score of either is left out; where no pair is left, the difference is NaN.

    Raises:
        ConfigError: No pair or no metric is in both.
    """
    names = [name for name in metric_names(one) if name in other]
    both = one.merge(other, on=["image_id", "task"], suffixes=("", "_other"))
    if both.empty or not names:
        raise ConfigError(
            f"Expected two runs tested on the same pairs, but of {len(one)} and {len(other)} pairs {len(both)} are in "
            f"both, with {len(names)} metrics in common. Compare runs with one data set, split and split_seed."
        )
    gaps = both[["image_id", "task"]].assign(**{name: both[name] - both[f"{name}_other"] for name in names})
    parts = [(task, gaps[gaps["task"] == task]) for task in in_order(gaps["task"])]
    return [Difference(**vars(estimate(part, name)), task=t, metric=name) for t, part in parts for name in names]


def unique_names(labels: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Names of runs: their labels; runs of one label with what else is in their folder's name, or with a number.

    >>> unique_names(["film", "film", "none"], [Path("film_3b9a"), Path("film_37ac"), Path("none_29f4")])
    ['film (3b9a)', 'film (37ac)', 'none']
    """
    names = []
    for given, folder in zip(labels, folders, strict=True):
        rest = folder.resolve().name.replace(given, "").strip("_-")
        names.append(f"{given} ({rest})" if rest and labels.count(given) > 1 else given)
    return [name if names.count(name) == 1 else f"{name} {n}" for n, name in enumerate(names, start=1)]


def model_scores(roots: Sequence[Path | str]) -> dict[str, pd.DataFrame]:
    """Scores of the models in several folders by unique names, see :func:`compare`: standard protocol, seeds averaged.

    Raises:
        ConfigError: No run below a folder is finished, or its runs are of several models.
    """
    names, tables = [], []
    for root in roots:
        runs = finished_runs(Path(root))
        labels = sorted({label(run) for run in runs})
        if len(labels) != 1:
            what = f"runs of {len(labels)} models ({', '.join(labels)})"
            what = what if labels else "no finished run (no whole result.json with whole scores)"
            raise ConfigError(f"Expected a finished run, or runs of one model, below {root}; found {what}.")
        scores = pd.concat(read_all({run: run.scores for run in runs}).values(), ignore_index=True)
        names += labels
        tables.append(averaged_over_seeds(of_protocol(scores[scores["model"] == labels[0]], STANDARD)))
    return dict(zip(unique_names(names, [Path(root) for root in roots]), tables, strict=True))


def compare(runs: Sequence[Path | str]) -> pd.DataFrame:
    """How several runs differ from the first one, on the test pairs they share.

    Args:
        runs: Folders of at least two finished runs, or of several runs of one model each (folds, seeds).

    Returns:
        A row for each later run, condition and metric, with the names of the first run (``run``) and the later one
        (``minus``), ``task``, ``metric``, ``difference``, ``low`` and ``high`` (95 % interval, paired bootstrap over
        images) and ``images``.

    Raises:
        ConfigError: Fewer than two runs, one that is not finished, or runs without a test pair in common.
    """
    if len(runs) < 2:
        raise ConfigError(f"Expected the folders of at least two runs, got {len(runs)}")
    (first, first_scores), *others = model_scores(runs).items()
    rows = [
        (first, name, gap.task, gap.metric, gap.mean, gap.low, gap.high, gap.images)
        for name, scores in others
        for gap in differences(first_scores, scores)
    ]
    return pd.DataFrame(rows, columns=["run", "minus", "task", "metric", "difference", "low", "high", "images"])


def spread_over_runs(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error (``error``) of the means of several runs of one model, which differ in fold or seed.

    ``scores`` are of one protocol, with a column ``run``. One row per condition, metric and model of several ``runs``.
    """
    by_run = scores.groupby(["task", "model", "run"], sort=False)[metric_names(scores)].mean()
    long = by_run.melt(ignore_index=False, var_name="metric").reset_index()
    table = long.groupby(["task", "model", "metric"], sort=False)["value"].agg(mean="mean", error="sem", runs="count")
    several: pd.DataFrame = table[table["runs"] > 1].reset_index()
    return several
