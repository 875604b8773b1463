"""Which test pairs and images are shown in pictures: chosen by rule, never by how good they look."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from saltext.data.pairs import Pair
from saltext.data.tasks import in_order
from saltext.results import text_ablation
from saltext.results.text_ablation import TASKS, gains

Key = tuple[str, str]
"""Image and condition."""

QUANTILES = (0.1, 0.5, 0.9)
"""Quantiles of the gain by the right text at which images are shown."""

BY_EFFECT = (
    "Chosen by rule: the test images at the 10th, 50th and 90th percentile of the gain by the right text (CC under it "
    "minus CC under the swapped one, mean of the image's two texts)."
)
BY_ID = "Chosen by rule: the first test images by id that were tested under both texts."
_COUNT = 3


class Extreme(NamedTuple):
    """One of the best or worst pairs of its condition; ``position`` counts from that ``end`` (best, worst), from 1."""

    end: str
    position: int
    image_id: str
    task: str
    text: str
    cc: float

    @property
    def key(self) -> Key:
        """Image and condition."""
        return self.image_id, self.task


def extremes(scores: pd.DataFrame, count: int = _COUNT) -> list[Extreme]:
    """At most ``count`` pairs with the highest and lowest CC of each condition, the best first; no pair is both.

    ``scores`` are of one model and protocol; equal ones stand in the order of their images.
    """
    chosen: list[Extreme] = []
    for task in in_order(scores["task"]) if "cc" in scores else ():
        part = scores[scores["task"] == task].dropna(subset="cc").sort_values(["cc", "image_id"])
        ranked = list(part[["image_id", "task", "text", "cc"]].itertuples(index=False, name=None))
        best, worst = ranked[len(ranked) // 2 :][::-1][:count], ranked[: len(ranked) // 2][:count]
        for end, pairs in (("best", best), ("worst", worst)):
            chosen += [Extreme(end, position, *pair) for position, pair in enumerate(pairs, start=1)]
    return chosen


def images_by_effect(own: pd.DataFrame, exchanged: pd.DataFrame) -> dict[str, str]:
    """The images nearest to each of :data:`QUANTILES` of the gain by the right text -> both, in ascending order.

    ``own`` and ``exchanged`` are scores as in :func:`saltext.results.text_ablation.gains`.
    """
    table = gains(own, exchanged).query("metric == 'cc'")
    ranked = table.assign(gain=table[list(TASKS)].mean(axis=1)).sort_values(["gain", "image_id"])
    shown = {round(quantile * (len(ranked) - 1)): quantile for quantile in reversed(QUANTILES) if len(ranked)}
    return {
        str(ranked["image_id"].iloc[index]): f"CC {ranked['gain'].iloc[index]:+z.2f} by the right text, "
        f"{100 * quantile:.0f}th percentile of the test images"
        for index, quantile in sorted(shown.items())
    }


def images_under_both_texts(own: pd.DataFrame, variants: pd.DataFrame) -> tuple[dict[str, str], str]:
    """The images that are shown under their salient and non_salient text: image -> a remark, and the rule.

    ``own`` and ``variants`` are the model's scores with own and other texts, one protocol.
    """
    if text_ablation.has_swaps(variants) and "cc" in own and "cc" in variants:
        return images_by_effect(own, text_ablation.exchanged_pairs(variants)), BY_EFFECT
    ids = [set(own.loc[own["task"] == task, "image_id"]) for task in TASKS]
    return dict.fromkeys(sorted(set.intersection(*ids))[:_COUNT], ""), BY_ID


def pairs_by_id(pairs: Sequence[Pair], count: int) -> list[int]:
    """Positions in ``pairs`` of those that a run's picture shows.

    The first ``count`` images by id with a salient and a non_salient text, under both, then the first image with a
    ``whole`` text; where there are none, the first ``count`` pairs.
    """
    position_of: dict[Key, int] = {(pair.image_id, pair.task): position for position, pair in enumerate(pairs)}
    ids = sorted({pair.image_id for pair in pairs})
    both = [image for image in ids if all((image, task) in position_of for task in TASKS)]
    swapped = [position_of[image, task] for image in both[:count] for task in TASKS]
    whole = [position_of[image, "whole"] for image in ids if (image, "whole") in position_of]
    return [*swapped, *whole[:1]] or list(range(min(count, len(pairs))))


def gaps(one: pd.DataFrame, other: pd.DataFrame, task: str, metric: str = "cc") -> pd.DataFrame:
    """The pairs of a condition that two models have scores of, the largest advantage of ``one`` first.

    ``other`` needs no ``text``. Columns ``image_id``, ``text``, ``one``, ``other`` (the scores) and ``gap``.
    """
    first, second = (table[table["task"] == task].rename(columns={metric: "one"}) for table in (one, other))
    both = first.merge(second.rename(columns={"one": "other"}), on="image_id", suffixes=("", "_other"))
    both = both.reindex(columns=["image_id", "text", "one", "other"]).dropna(subset=["one", "other"])
    ranked = both.assign(gap=both["one"] - both["other"]).sort_values("image_id")
    return ranked.sort_values("gap", ascending=False, kind="stable", ignore_index=True)
