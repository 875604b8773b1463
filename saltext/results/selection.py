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
"""Quantiles of the text effect at which images are shown."""

BY_EFFECT = (
    "Chosen by rule: the test images at the 10th, 50th and 90th percentile of the text effect (CC under the right text "
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
    """The pairs with the highest and lowest CC of each condition, best first, then the worst; no pair is both.

    Args:
        scores: Of a run's own model, one protocol; without ``cc`` there are none.
        count: Pairs at either end, as far as there are any; equal scores stand in the order of their images.
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
    """The images nearest to each of :data:`QUANTILES` of the text effect: failures as well as successes.

    ``own`` and ``exchanged`` are scores as in :func:`saltext.results.text_ablation.gains`.

    Returns:
        Image -> its percentile and effect in words, in ascending order of the effect, then of ids.
    """
    table = gains(own, exchanged).query("metric == 'cc'")
    ranked = table.assign(effect=table[list(TASKS)].mean(axis=1)).sort_values(["effect", "image_id"])
    shown = {round(quantile * (len(ranked) - 1)): quantile for quantile in reversed(QUANTILES) if len(ranked)}
    return {
        str(ranked["image_id"].iloc[index]): f"{100 * quantile:.0f}th percentile: text effect "
        f"{ranked['effect'].iloc[index]:+.2f} CC"
        for index, quantile in sorted(shown.items())
    }


def images_under_both_texts(own: pd.DataFrame, variants: pd.DataFrame) -> tuple[dict[str, str], str]:
    """The images that are shown under their salient and non_salient text: image -> a remark, and the rule.

    They are chosen by the text effect where CC was scored with swapped texts, otherwise by id; none where no image was
    tested under both texts. ``own`` and ``variants`` are the model's scores with own and other texts, one protocol.
    """
    if text_ablation.has_swaps(variants) and "cc" in own and "cc" in variants:
        return images_by_effect(own, text_ablation.exchanged_pairs(variants)), BY_EFFECT
    ids = [set(own.loc[own["task"] == task, "image_id"]) for task in TASKS]
    return dict.fromkeys(sorted(set.intersection(*ids))[:_COUNT], ""), BY_ID


def pairs_by_id(pairs: Sequence[Pair], count: int) -> list[int]:
    """Positions in ``pairs`` of those that a run's picture shows.

    The first ``count`` images by id with both a salient and a non_salient text, each under the two, then the first
    image with a ``whole`` text; where there are none, the first ``count`` pairs.
    """
    position_of: dict[Key, int] = {(pair.image_id, pair.task): position for position, pair in enumerate(pairs)}
    ids = sorted({pair.image_id for pair in pairs})
    both = [image for image in ids if all((image, task) in position_of for task in TASKS)]
    swapped = [position_of[image, task] for image in both[:count] for task in TASKS]
    whole = [position_of[image, "whole"] for image in ids if (image, "whole") in position_of]
    return [*swapped, *whole[:1]] or list(range(min(count, len(pairs))))


def gaps(one: pd.DataFrame, other: pd.DataFrame, task: str, metric: str = "cc") -> pd.DataFrame:
    """The pairs of a condition that both models were scored on, the largest advantage of ``one`` first.

    Args:
        one: Scores of one model, one protocol: ``image_id``, ``task``, ``text`` and the metric.
        other: Scores of another model; ``text`` is not needed.
        task: The condition.
        metric: The one compared; pairs with an undefined score are left out.

    Returns:
        Columns ``image_id``, ``text``, ``one``, ``other`` (the scores) and ``gap``.
    """
    first, second = (table[table["task"] == task].rename(columns={metric: "one"}) for table in (one, other))
    both = first.merge(second.rename(columns={"one": "other"}), on="image_id", suffixes=("", "_other"))
    both = both.reindex(columns=["image_id", "text", "one", "other"]).dropna(subset=["one", "other"])
    ranked = both.assign(gap=both["one"] - both["other"]).sort_values("image_id")
    return ranked.sort_values("gap", ascending=False, kind="stable", ignore_index=True)
