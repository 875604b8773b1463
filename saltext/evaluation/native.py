"""Scores of any predictors at native resolution, against original fixation points, in one pass over the truth."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from saltext.data.faults import Track
from saltext.data.geometry import Size
from saltext.data.truth import Truth
from saltext.evaluation.groups import Group
from saltext.evaluation.reference import Reference
from saltext.metrics import METRICS, Fixations, GroundTruth, check_names, score_against
from saltext.metrics.scores import one_thread_each

PairScores = Mapping[tuple[str, int], Sequence[float]]
"""(label of a predictor, place of a pair) -> a score for each metric."""

_BATCH_PIXELS = 2**22
_BATCH_POINTS = 2**23  # of other images' fixations, which each image of a batch is compared with


class NativePredictor(Protocol):
    """What can be scored here; every :class:`saltext.models.baselines.Baseline` can."""

    def covers(self, index: int) -> bool:
        """Whether it has a prediction for a pair."""

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """Predictions of covered pairs, ``(n, 1, *size)``."""

    def truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations] | None:
        """Density and fixations to score against, or None for the pairs' own."""


def score_natively(
    truth: Truth,
    predictors: Mapping[str, NativePredictor],
    places: Sequence[int],
    metrics: Sequence[str],
    track: Track,
) -> pd.DataFrame:
    """Score every predictor on the pairs it covers, see :func:`score_pairs` and :func:`score_frame`."""
    names = check_names(metrics)
    return score_frame(truth, list(predictors), score_pairs(truth, predictors, places, names, track), names)


def score_pairs(
    truth: Truth,
    predictors: Mapping[str, NativePredictor],
    places: Sequence[int],
    metrics: Sequence[str],
    track: Track,
) -> PairScores:
    """Scores of every predictor on the pairs it covers, by label and pair.

    Pairs of one size are scored together, a few at a time, and maps are not kept: memory depends on the largest image,
    not on the number of pairs. Scores do not depend on which other pairs are scored (but for the last digit of a sum).

    Args:
        truth: The whole data set, from which shuffled AUC and information gain take the other images. Of other
            conditions than those of ``places``, only what a predictor asks for is read.
        predictors: Label -> predictor.
        places: Pairs to score.
        metrics: Names of ``saltext.metrics.METRICS``.
        track: Shows how far it is.

    Returns:
        A score for each metric; an undefined one is NaN.

    Raises:
        ValueError: An unknown metric.
    """
    names = check_names(metrics)
    reference = Reference(truth, scored=places)
    scores: dict[tuple[str, int], Sequence[float]] = {}
    for batch in _batches(truth, places, track):
        with one_thread_each(torch.device("cpu")):
            group = _group(truth, reference, batch, names)
        for label, predictor in predictors.items():
            chosen = [place for place, index in enumerate(batch) if predictor.covers(index)]
            if chosen:
                part = group.select(chosen)
                rows = torch.stack(list(_scored(predictor, part, names).values()), dim=1)
                scores |= {(label, index): row for index, row in zip(part.index, rows.tolist(), strict=True)}
    return scores


def _batches(truth: Truth, places: Sequence[int], track: Track) -> Iterator[list[int]]:
    """Pairs of one size, those of one image next to each other, few enough at a time."""
    ordered = sorted(places, key=lambda place: (truth.native_size(place), truth.pairs[place].image_id, place))
    tasks = {truth.pairs[place].task for place in places}
    most_points = max((sum(len(truth.points(place)) for place in truth.tasks[task]) for task in tasks), default=0)
    batch: list[int] = []
    for place in track(ordered, "scoring", len(ordered)):
        if batch and (
            truth.native_size(batch[0]) != truth.native_size(place)
            or (len(batch) + 1) * int(np.prod(truth.native_size(place))) > _BATCH_PIXELS
            or (len(batch) + 1) * most_points > _BATCH_POINTS
        ):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _group(truth: Truth, reference: Reference, batch: Sequence[int], names: Sequence[str]) -> Group:
    needs = {need for name in names for need in METRICS[name].needs}
    size = truth.native_size(batch[0])
    return Group(
        batch,
        size,
        (0, 0, *size),
        truth.density(batch),
        truth.fixations(batch, size),
        reference.others(batch, size) if "others" in needs else None,
        reference.baseline(batch, size) if "baseline" in needs else None,
    )


def _scored(predictor: NativePredictor, group: Group, names: Sequence[str]) -> dict[str, Tensor]:
    with one_thread_each(group.density.device):
        own = predictor.truth(group.index, group.size)
        maps = predictor.maps(group.index, group.size)
    truth = group.truth if own is None else GroundTruth(*own, others=group.others, baseline=group.baseline)
    return score_against(maps, truth, names)


def score_frame(truth: Truth, labels: Sequence[str], scores: PairScores, names: Sequence[str]) -> pd.DataFrame:
    """Scores as a table.

    Args:
        truth: The whole data set.
        labels: Of the predictors, in the order of the rows.
        scores: See :func:`score_pairs`.
        names: Of the metrics.

    Returns:
        image_id, task, text, model and a column for each metric; one row a predictor and covered pair, pairs in the
        data set's order.
    """
    keys = sorted(scores, key=lambda key: (labels.index(key[0]), key[1]))
    pairs = [truth.pairs[index] for _, index in keys]
    who = {
        "image_id": [pair.image_id for pair in pairs],
        "task": [pair.task for pair in pairs],
        "text": [pair.text for pair in pairs],
        "model": [label for label, _ in keys],
    }
    values = np.array([scores[key] for key in keys], dtype=np.float64).reshape(-1, len(names))
    return pd.DataFrame({**who, **{name: values[:, column] for column, name in enumerate(names)}})
