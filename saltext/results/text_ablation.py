"""Effect of the text on a model's scores, with the same weights: text ablation and text-swap test.

**Text ablation**: the score with a pair's own text minus the score with another one. A network *trained without text*
is another network, and no ablation of this one.

**Text-swap test**: on how many images with a salient and a non_salient text the prediction for the correct text scores
better than that for the swapped one. With P(t) the prediction for the text t and T(t) the human map after reading it,
an image is correct

* in the direction ``salient``: P(salient) scores better against T(salient) than P(non_salient) does,
* in the direction ``non_salient``: P(non_salient) scores better against T(non_salient) than P(salient) does,
* in ``both``: both are true.

Better means by more than 1e-6: a model that is indifferent to the text is correct on 0 % of the images, one whose maps
change at random on half of them, in each direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from saltext.errors import ConfigError, near
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.results.comparison import FEWEST, Difference, bootstrap_means, differences
from saltext.results.score_table import metric_names, of_protocol, read_scores, write_scores

TITLES: Mapping[str, str] = {
    "empty": "empty text",
    "other_image": "shuffled text (another image's)",
    "opposite": "swapped text (salient <-> non_salient)",
    "opposite_condition": "swapped text and condition",
}
"""Titles of the text variants by name, in their usual order."""

SWAPS = ("opposite", "opposite_condition")
"""The variants in which the two texts of an image are swapped."""

TASKS = ("salient", "non_salient")
"""The conditions whose texts are swapped."""

_TOLERANCE = 1e-6  # a map computed twice, in batches of different sizes, scores the same up to this
_LEVEL = 0.95


def short_title(variant: str) -> str:
    """The title of a text variant without what stands in brackets."""
    return TITLES.get(variant, variant).partition(" (")[0]


def ablation_differences(own: pd.DataFrame, variants: pd.DataFrame) -> dict[str, list[Difference]]:
    """Own text minus other text: variant -> differences by condition and metric, variants in their usual order.

    ``own`` and ``variants`` are scores of one model and protocol, the latter with a column ``variant``; may be empty.
    """
    scored = set(variants["variant"]) if len(variants) and len(own) else set()
    names = [*(name for name in TITLES if name in scored), *sorted(scored - set(TITLES))]
    return {name: differences(own, variants[variants["variant"] == name]) for name in names}


@dataclass(frozen=True)
class SwapAccuracy:
    """On which fraction of the images (0 to 1) the prediction for the correct text is the better one.

    The ``direction`` is ``salient``, ``non_salient``, ``both``, or ``texts``: all texts, two per image, which are not
    independent and have no ``exact`` interval (Clopper and Pearson, Biometrika 1934). Intervals are of 95 %.
    """

    variant: str
    metric: str
    direction: str
    images: int
    accuracy: float
    exact_low: float
    exact_high: float
    bootstrap_low: float
    bootstrap_high: float

    def __str__(self) -> str:
        is_pooled = self.direction == "texts"
        if is_pooled and self.images < FEWEST:  # resamples of so few say nothing; the exact interval is wide
            return f"{100 * self.accuracy:.0f} %"
        low, high = (self.bootstrap_low, self.bootstrap_high) if is_pooled else (self.exact_low, self.exact_high)
        return f"{100 * self.accuracy:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def check_variant(name: str) -> None:
    """Raise a ConfigError if there is no text variant of that name."""
    if name not in TITLES:
        raise ConfigError(f"Unknown text variant {name!r}{near(name, TITLES)}; choose from {', '.join(TITLES)}")


def write_variant(path: Path, scores: pd.DataFrame, variant: str) -> None:
    """Add a model's scores with other texts to a table, in place of those of the same pairs, model and variant.

    Args:
        path: The table; it is created where it is missing.
        scores: Rows as of :func:`saltext.evaluation.score_folder.score_folder`.
        variant: A name of :data:`TITLES`.

    Raises:
        ConfigError: An unknown variant.
        DamagedFileError: The table that is there cannot be read.
    """
    check_variant(variant)
    added = scores.assign(variant=variant)
    if path.is_file():
        keys = ["image_id", "task", "model", "variant"]
        added = pd.concat([read_scores(path), added], ignore_index=True)
        added = added.drop_duplicates(keys, keep="last", ignore_index=True)
    write_scores(path, added)


def has_swaps(variants: pd.DataFrame) -> bool:
    """Whether a run was scored with swapped texts in both directions on at least one image."""
    if variants.empty:
        return False
    tasks_of = variants[variants["variant"] == "opposite"].groupby("image_id")["task"].agg(set)
    return any(set(TASKS) <= tasks for tasks in tasks_of)


def gains(own: pd.DataFrame, exchanged: pd.DataFrame) -> pd.DataFrame:
    """How much better the prediction for the correct text scores than for the swapped one, on images that have both.

    ``exchanged`` are the model's scores with the image's other text, against the same ground truth as ``own``.

    Returns:
        One row per image and metric, with ``metric``, ``image_id``, ``salient`` and ``non_salient``, positive where the
        correct text is the better one. Images with an undefined score are left out.
    """
    both = own.merge(exchanged, on=["image_id", "task"], suffixes=("", "_other"), validate="one_to_one")
    parts = []
    for name in (name for name in metric_names(own) if f"{name}_other" in both):
        sign = 1 if METRICS[name].higher_is_better else -1
        gained = both.assign(gain=sign * (both[name] - both[f"{name}_other"]))
        table = gained.pivot(index="image_id", columns="task", values="gain").reindex(columns=list(TASKS))
        parts.append(table.dropna().reset_index().assign(metric=name))
    return pd.concat(parts, ignore_index=True)[["metric", "image_id", *TASKS]]


def swap_accuracies(own: pd.DataFrame, variants: pd.DataFrame) -> list[SwapAccuracy]:
    """The text-swap test: one entry per variant in :data:`SWAPS`, metric with defined scores, and direction.

    ``own`` and ``variants``: see :func:`ablation_differences`.
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # half a second

    accuracies = []
    for variant in SWAPS:
        exchanged = variants[variants["variant"] == variant]
        for metric, part in gains(own, exchanged).groupby("metric", sort=False):
            correct = (part[list(TASKS)] > _TOLERANCE).astype(float)
            columns = correct.assign(both=correct.min(axis=1), texts=correct.mean(axis=1))
            for direction, column in columns.items():
                values, exact = column.to_numpy(), (np.nan, np.nan)
                if direction != "texts":
                    interval = binomtest(int(values.sum()), len(values)).proportion_ci(_LEVEL, method="exact")
                    exact = (float(interval.low), float(interval.high))
                means = bootstrap_means(values, np.arange(len(values)).astype(object))
                ends = map(float, np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]))
                counted = (variant, str(metric), str(direction), len(values), float(values.mean()))
                accuracies.append(SwapAccuracy(*counted, *exact, *ends))
    return accuracies


def exchanged_pairs(variants: pd.DataFrame) -> pd.DataFrame:
    """The scores under the complete input of the image's other pair, so that the prediction is that of the other pair.

    This is the swapped text; for a model that is conditioned on the condition index, the swapped text and condition.
    """
    scored = set(variants["variant"])
    exchanged: pd.DataFrame = variants[variants["variant"] == next(name for name in reversed(SWAPS) if name in scored)]
    return exchanged


def own_scores(pairs: pd.DataFrame, variants: pd.DataFrame) -> pd.DataFrame:
    """The scores with every pair's own text that compare with ``variants``: same model, standard protocol."""
    standard = of_protocol(pairs, STANDARD)
    own: pd.DataFrame = standard[standard["model"] == variants["model"].iloc[0]]
    return own
