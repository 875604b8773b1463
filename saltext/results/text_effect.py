"""Effect of the text on a model's scores, with the same weights: text ablation and text-swap test.

**Text ablation**: the score with a pair's own text minus the score with another one. A network *trained without text*
is another network, and no ablation of this one.

**Text-swap test**: on how many images with a salient and a non_salient text the prediction for the correct text scores
better than that for the swapped one. With P(t) the prediction for the text t and T(t) the human map after reading it,
an image is correct

* in the direction ``salient``: P(salient) scores better against T(salient) than P(non_salient) does,
* in the direction ``non_salient``: P(non_salient) scores better against T(non_salient) than P(salient) does,
* in ``both``: both are true.

Better means by more than 1e-6: a map that does not change is not correct. A model that is indifferent to the text is
correct on 0 % of the images, one whose maps change at random on half of them, in each direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.results.comparison import Difference, bootstrap_means, differences
from saltext.results.score_table import metric_names, of_protocol

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "empty": "empty text",
        "other_image": "shuffled text (another image's)",
        "opposite": "swapped text (salient <-> non_salient)",
        "opposite_condition": "swapped text and condition",
    }
)
"""Titles of the text variants by name, in their usual order."""


def text_effects(own: pd.DataFrame, variants: pd.DataFrame) -> dict[str, list[Difference]]:
    """Own text minus other text, for each variant.

    Args:
        own: Scores of the model with every pair's own text, one protocol.
        variants: Its scores with other texts, with a column ``variant``.

    Returns:
        Variant -> differences by condition and metric, with intervals over images; variants in their usual order.
    """
    scored = set(variants["variant"]) if len(variants) else set()
    names = [*(name for name in TITLES if name in scored), *sorted(scored - set(TITLES))]
    return {name: differences(own, variants[variants["variant"] == name]) for name in names}


TASKS = ("salient", "non_salient")
VARIANTS = {
    "opposite": "swapped text",
    "opposite_condition": "swapped text and condition",
}
"""Titles of the variants in which texts are swapped, by name."""

_TOLERANCE = 1e-6  # a map computed twice, in batches of different sizes, scores the same up to this
_LEVEL = 0.95


@dataclass(frozen=True)
class SwapAccuracy:
    """On which fraction of the images the prediction for the correct text is the better one.

    Attributes:
        variant: One of :data:`VARIANTS`.
        metric: The one compared.
        direction: ``salient``, ``non_salient``, ``both``, or ``texts``: of all texts, two per image.
        images: Number of images.
        accuracy: Fraction of images, 0 to 1.
        exact_low: Lower end of the exact 95 % interval (Clopper and Pearson, Biometrika 1934) of the fraction;
            NaN for ``texts``, since the two texts of an image are not independent.
        exact_high: Its upper end.
        bootstrap_low: Lower end of the 95 % interval by resampling images.
        bootstrap_high: Its upper end.
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
        low, high = self.exact_low, self.exact_high
        if self.direction == "texts":
            low, high = self.bootstrap_low, self.bootstrap_high
        return f"{100 * self.accuracy:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def has_swaps(variants: pd.DataFrame) -> bool:
    """Whether a run was scored with swapped texts in both directions on at least one image."""
    if variants.empty:
        return False
    exchanged = variants[variants["variant"] == "opposite"]
    ids = [set(exchanged.loc[exchanged["task"] == task, "image_id"]) for task in TASKS]
    return bool(set.intersection(*ids))


def gains(own: pd.DataFrame, exchanged: pd.DataFrame) -> pd.DataFrame:
    """How much better the prediction for the correct text scores than for the swapped one, on images that have both.

    Args:
        own: Scores of the model with every pair's own text, one protocol: ``image_id``, ``task`` and metrics.
        exchanged: Its scores with the image's other text, against the same ground truth.

    Returns:
        One row per image and metric, with ``metric``, ``image_id``, ``salient`` and ``non_salient``, in the metric's
        unit, positive where the correct text is the better one. Images with an undefined score are left out.
    """
    both = own.merge(exchanged, on=["image_id", "task"], suffixes=("", "_other"), validate="one_to_one")
    parts = []
    for name in (name for name in metric_names(own) if f"{name}_other" in both):
        gap = both[name] - both[f"{name}_other"]
        gained = both.assign(gain=gap if METRICS[name].higher_is_better else -gap)
        table = gained.pivot(index="image_id", columns="task", values="gain").reindex(columns=list(TASKS))
        parts.append(table.dropna().reset_index().assign(metric=name))
    return pd.concat(parts, ignore_index=True)[["metric", "image_id", *TASKS]]


def swap_accuracies(own: pd.DataFrame, variants: pd.DataFrame) -> list[SwapAccuracy]:
    """On which fraction of the images the prediction for the correct text is the better one.

    Args:
        own: See :func:`gains`.
        variants: The model's scores with other texts, with a column ``variant``; only those in :data:`VARIANTS` count.

    Returns:
        One entry per variant, metric and direction; a metric without an image on which all scores are defined has none.
    """
    accuracies = []
    for variant in VARIANTS:
        exchanged = variants[variants["variant"] == variant]
        if exchanged.empty:
            continue
        for metric, part in gains(own, exchanged).groupby("metric", sort=False):
            correct = (part[list(TASKS)].to_numpy() > _TOLERANCE).astype(np.float64)
            columns = {"salient": correct[:, 0], "non_salient": correct[:, 1], "both": correct.min(axis=1)}
            columns["texts"] = correct.mean(axis=1)
            accuracies += [_with_intervals(variant, str(metric), name, column) for name, column in columns.items()]
    return accuracies


def _with_intervals(variant: str, metric: str, direction: str, correct: NDArray[np.float64]) -> SwapAccuracy:
    """The accuracy of one direction; ``correct`` is 0 to 1 for each image, shape (images,)."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # half a second

    tails = [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
    bootstrap = np.quantile(bootstrap_means(correct, np.arange(len(correct)).astype(object)), tails)
    exact = (np.nan, np.nan)
    if direction != "texts":
        interval = binomtest(int(correct.sum()), len(correct)).proportion_ci(_LEVEL, method="exact")
        exact = (float(interval.low), float(interval.high))
    ends = (*exact, float(bootstrap[0]), float(bootstrap[1]))
    return SwapAccuracy(variant, metric, direction, len(correct), float(correct.mean()), *ends)


def exchanged_pairs(variants: pd.DataFrame) -> pd.DataFrame:
    """The scores under the complete input of the image's other pair, so that the prediction is that of the other pair.

    This is the swapped text; for a model that is conditioned on the condition index, the swapped text and condition.
    """
    scored = set(variants["variant"])
    name = next(name for name in reversed(VARIANTS) if name in scored)
    exchanged: pd.DataFrame = variants[variants["variant"] == name]
    return exchanged


def own_scores(pairs: pd.DataFrame, variants: pd.DataFrame) -> pd.DataFrame:
    """The scores with every pair's own text that compare with ``variants``: same model, standard protocol."""
    standard = of_protocol(pairs, STANDARD)
    own: pd.DataFrame = standard[standard["model"] == variants["model"].iloc[0]]
    return own
