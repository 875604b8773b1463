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
from saltext.metrics import METRICS, Fixations, check_names, score

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
    """Score every predictor on the pairs it covers.

    Pairs of one size are scored together, a few at a time, and maps are not kept: memory depends on the largest image,
    not on the number of pairs. Scores do not depend on which other pairs are scored.

    Args:
        truth: The whole data set, from which shuffled AUC and information gain take the other images.
        predictors: Label -> predictor, in the order of the rows.
        places: Pairs to score.
        metrics: Names of ``saltext.metrics.METRICS``.
        track: Shows how far it is.

    Returns:
        image_id, task, text, model and a column for each metric; one row a predictor and covered pair, pairs in the
        data set's order. An undefined score is NaN.

    Raises:
        ValueError: An unknown metric.
    """
    names = check_names(metrics)
    reference = Reference(truth)
    scores: dict[tuple[str, int], list[float]] = {}
    for batch in _batches(truth, places, track):
        group = _group(truth, reference, batch, names)
        for label, predictor in predictors.items():
            chosen = [place for place, index in enumerate(batch) if predictor.covers(index)]
            if chosen:
                part = group.select(chosen)
                rows = torch.stack(list(_scored(predictor, part, names).values()), dim=1)
                scores |= {(label, index): row for index, row in zip(part.index, rows.tolist(), strict=True)}
    return _frame(truth, list(predictors), scores, names)


def _batches(truth: Truth, places: Sequence[int], track: Track) -> Iterator[list[int]]:
    """Pairs of one size, those of one image next to each other, few enough at a time."""
    ordered = sorted(places, key=lambda place: (truth.native_size(place), truth.pairs[place].image_id, place))
    most_points = max(sum(len(truth.points(place)) for place in of_task) for of_task in truth.tasks.values())
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
    density, fixations = predictor.truth(group.index, group.size) or (group.density, group.fixations)
    maps = predictor.maps(group.index, group.size)
    return score(maps, density, fixations, names, others=group.others, baseline=group.baseline)


def _frame(
    truth: Truth, labels: Sequence[str], scores: Mapping[tuple[str, int], Sequence[float]], names: Sequence[str]
) -> pd.DataFrame:
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
