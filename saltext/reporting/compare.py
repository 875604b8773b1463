"""The difference of two runs on the same test pairs, with intervals.

    python -m saltext.reporting.compare outputs/run/A outputs/run/B

Prints A - B of every task and metric with its 95 % interval: a paired bootstrap over images, since the pairs of one
image are not independent.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from saltext.data.tasks import TASK_BY_NAME
from saltext.errors import ConfigError, SaltextError
from saltext.metrics import METRICS
from saltext.reporting.scores import metric_names, read_scores
from saltext.run_folder import RunFolder

_DRAWS = 10_000
_LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean difference over pairs with its bootstrap interval, in the metric's unit."""

    task: str
    metric: str
    mean: float
    low: float
    high: float
    images: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def bootstrap_means(
    values: NDArray[np.float64], groups: NDArray[np.object_], draws: int = _DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Means of resampled data in which whole groups are drawn with replacement.

    Args:
        values: One number an observation, shape (n,).
        groups: The group of each, shape (n,): here the image a pair belongs to.
        draws: Number of resamples.
        seed: Of the resampling.

    Returns:
        Means, shape (draws,).

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8 (resampling of independent units).
    """
    _, owner = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(owner, weights=values), np.bincount(owner)
    n = len(sizes)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    means: NDArray[np.float64] = (times @ sums) / (times @ sizes)
    return means


def model_scores(folder: RunFolder) -> pd.DataFrame:
    """The run's own model, without the baselines beside it."""
    scores = read_scores(folder.scores)
    own: pd.DataFrame = scores[scores["model"] == scores["model"].iloc[0]]
    return own


def compare(one: pd.DataFrame, other: pd.DataFrame) -> list[Difference]:
    """``one`` minus ``other`` on the pairs both have.

    Args:
        one: Score table of one model: ``image_id``, ``task`` and metrics.
        other: Score table of another.

    Returns:
        One entry a task and metric, tasks in their usual order.

    Raises:
        ConfigError: No pair or no metric is in both.
    """
    keys = ["image_id", "task"]
    names = [name for name in metric_names(one) if name in other]
    both = one.merge(other, on=keys, suffixes=("", "_other"))
    if both.empty or not names:
        raise ConfigError(
            f"Expected two runs tested on the same pairs, but of {len(one)} and {len(other)} pairs {len(both)} are in "
            f"both, with {len(names)} metrics in common. Compare runs with one data set, split and split_seed."
        )
    return [_difference(part, str(task), name) for task, part in _by_task(both) for name in names]


def _by_task(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(task, scores[scores["task"] == task]) for task in TASK_BY_NAME if (scores["task"] == task).any()]


def _difference(part: pd.DataFrame, task: str, name: str) -> Difference:
    gaps = (part[name] - part[f"{name}_other"]).to_numpy(np.float64)
    images = part["image_id"].to_numpy()
    low, high = np.quantile(bootstrap_means(gaps, images), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Difference(task, name, float(gaps.mean()), float(low), float(high), len(set(images)))


def show(differences: list[Difference], title: str) -> None:
    """Print the differences; intervals that exclude zero are bold on a terminal."""
    names = list(dict.fromkeys(d.metric for d in differences))
    table = Table("task", "images", title=title)
    for name in names:
        table.add_column(METRICS[name].title, justify="right", no_wrap=True)
    for task in dict.fromkeys(d.task for d in differences):
        cells = {d.metric: d for d in differences if d.task == task}
        table.add_row(task, str(cells[names[0]].images), *(_cell(cells[name]) for name in names))
    Console(width=None if Console().is_terminal else 180).print(table)


def _cell(difference: Difference) -> str:
    text = f"{difference.mean:+.3f} ({difference.low:+.3f}..{difference.high:+.3f})"
    return f"[bold]{text}[/bold]" if difference.excludes_zero else text


def main() -> None:
    """Entry point; see the module's help."""
    if len(sys.argv) != 3 or {"-h", "--help"} & set(sys.argv):
        sys.exit(__doc__)
    try:
        one, other = (RunFolder.existing(Path(path)) for path in sys.argv[1:])
        differences = compare(model_scores(one), model_scores(other))
    except SaltextError as error:
        sys.exit(f"error: {error}")
    show(differences, f"{one.root.name} - {other.root.name}, mean and 95 % interval over images")


if __name__ == "__main__":
    main()
