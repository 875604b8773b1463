"""The difference of two runs on the same test pairs, with intervals.

Folds are pooled, and seeds averaged pair by pair. Differences A - B have a 95 % interval: a paired bootstrap over
images, since the pairs of one image are not independent. The command line is ``saltext compare``.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from saltext.console import PRINT_WIDTH
from saltext.data.tasks import in_order
from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.reporting.scores import averaged_over_seeds, metric_names, of_protocol, read_all
from saltext.system.run_folder import finished_runs, label

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

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f}..{self.high:+.3f})"


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
    times = _times_drawn(len(sizes), draws, seed)
    means: NDArray[np.float64] = (times @ sums) / (times @ sizes)
    return means


@lru_cache(maxsize=8)  # drawing takes ten times as long as using them, and tables have hundreds of intervals
def _times_drawn(groups: int, draws: int, seed: int) -> NDArray[np.uint16]:
    """How often each group is in each resample, shape (draws, groups)."""
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)
    return times.astype(np.uint16)  # 12 MB for 600 images


def interval(values: NDArray[np.float64], images: NDArray[np.object_]) -> tuple[float, float]:
    """Ends of the 95 % interval of a mean over pairs: bootstrap over images, see :func:`bootstrap_means`."""
    low, high = np.quantile(bootstrap_means(values, images), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def model_scores(root: Path) -> pd.DataFrame:
    """The scores of a run's own model, or of several runs' below a folder, standard protocol, seeds averaged.

    Raises:
        ConfigError: There is no finished run, or the runs are of several models.
    """
    runs = finished_runs(root)
    labels = sorted({label(run) for run in runs})
    if len(labels) != 1:
        found = (
            f"runs of {len(labels)} models ({', '.join(labels)})"
            if labels
            else "no finished run (no whole result.json with whole scores)"
        )
        raise ConfigError(f"Expected a finished run, or runs of one model, below {root}; found {found}.")
    scores = pd.concat(read_all({run: run.scores for run in runs}).values(), ignore_index=True)
    return averaged_over_seeds(of_protocol(scores[scores["model"] == labels[0]], STANDARD))


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
    return [(task, scores[scores["task"] == task]) for task in in_order(scores["task"])]


def _difference(part: pd.DataFrame, task: str, name: str) -> Difference:
    gaps = (part[name] - part[f"{name}_other"]).to_numpy(np.float64)
    images = part["image_id"].to_numpy()
    return Difference(task, name, float(gaps.mean()), *interval(gaps, images), len(set(images)))


def show(differences: list[Difference], title: str) -> None:
    """Print the differences; intervals that exclude zero are bold on a terminal."""
    names = list(dict.fromkeys(d.metric for d in differences))
    table = Table("task", "images", title=title)
    for name in names:
        table.add_column(METRICS[name].title, justify="right", no_wrap=True)
    for task in dict.fromkeys(d.task for d in differences):
        cells = {d.metric: d for d in differences if d.task == task}
        table.add_row(task, str(cells[names[0]].images), *(_cell(cells[name]) for name in names))
    Console(width=None if Console().is_terminal else PRINT_WIDTH).print(table)


def markdown(differences: list[Difference]) -> str:
    """The differences as GitHub Markdown; those whose interval excludes zero are bold."""
    names = list(dict.fromkeys(d.metric for d in differences))
    titles = " | ".join(METRICS[n].title for n in names)
    lines = [f"| task | images | {titles} |", "|---|---:|" + "---:|" * len(names)]
    for task in dict.fromkeys(d.task for d in differences):
        cells = {d.metric: d for d in differences if d.task == task}
        texts = (str(cells[n]) for n in names)
        bold = (f"**{t}**" if cells[n].excludes_zero else t for n, t in zip(names, texts, strict=True))
        lines.append(f"| {task} | {cells[names[0]].images} | " + " | ".join(bold) + " |")
    return "\n".join([*lines, ""])


def _cell(difference: Difference) -> str:
    text = str(difference)
    return f"[bold]{text}[/bold]" if difference.excludes_zero else text
