"""The evaluator: it scores several predictors on the same pairs in one pass, with or without Lightning.

It yields scores and stores none. :func:`score_pairs` collects them without Lightning;
:class:`saltext.training.score_tables.ScoreTables` collects them with Lightning, over all processes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from saltext.data.ground_truth import GroundTruth, ImageTextPair
from saltext.data.report import Track
from saltext.evaluation.groups import EvaluationBatch, Group, recorded_groups
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.predictor import OWN, Predictor
from saltext.evaluation.protocols import Protocol, standard
from saltext.evaluation.reference import Reference
from saltext.metrics import METRICS, Targets, score_against
from saltext.metrics.maps import metric_device
from saltext.metrics.scores import one_thread_each

PairScores = Mapping[tuple[str, int], Sequence[float]]
"""(label of a predictor, index of a pair) -> a score for each metric."""


@dataclass(frozen=True)
class Entry:
    """A predictor, and how it is scored.

    Attributes:
        model: Label in score tables (column ``model``).
        predictor: Gives the maps.
        protocol: Metrics and size of the scoring.
        variant: What a model reads: the pairs' ``"own"`` texts, or the name of a text variant.
        known: Index of each pair that the predictor covers -> its score for each metric, where these were computed
            before; the predictor is then not asked for maps. None: not known.
    """

    model: str
    predictor: Predictor
    protocol: Protocol
    variant: str = OWN
    known: Mapping[int, Sequence[float]] | None = None


class Scores(NamedTuple):
    """Scores of some pairs.

    Attributes:
        entry: Number of the entry, counted from 0.
        indices: Indices of the pairs in the data set.
        values: A column for each metric of the entry's protocol, float64 (pairs, metrics), on the device they were
            computed on; NaN where a score is undefined.
    """

    entry: int
    indices: Sequence[int]
    values: Tensor


class Evaluator:
    """Scores predictors on the same pairs, batch by batch. Ground truth is prepared once for all of them.

    Args:
        reference: Fixations and centre prior of other images, for the metrics that need them; None where none does.

    Attributes:
        entries: The predictors to score, in the order of the tables.

    Example:
        >>> evaluator = Evaluator(Reference(truth))  # doctest: +SKIP
        >>> evaluator.add("uniform map", Uniform(truth), standard(["cc", "nss"]))  # doctest: +SKIP
        >>> for entry, indices, values in evaluator.score_batch(batch): ...  # doctest: +SKIP
    """

    def __init__(self, reference: Reference | None = None) -> None:
        self._reference = reference
        self.entries: list[Entry] = []

    def add(
        self,
        model: str,
        predictor: Predictor,
        protocol: Protocol,
        variant: str = OWN,
        known: Mapping[int, Sequence[float]] | None = None,
    ) -> None:
        """Score a predictor under a protocol, see :class:`Entry`."""
        self.entries.append(Entry(model, predictor, protocol, variant, known))

    def score_batch(self, batch: EvaluationBatch) -> Iterator[Scores]:
        """Score an evaluation batch of a loader under all protocols.

        Each network among the predictors predicts the batch once, first. Scores are computed on the device of the
        images, or on the CPU where that device has no float64 (mps), wherever the ground truth lies.

        Args:
            batch: See :class:`saltext.data.dataset.Batch`.

        Yields:
            Scores of the covered pairs of one size, for one entry at a time.
        """
        for predictor in {id(entry.predictor): entry.predictor for entry in self.entries}.values():
            if isinstance(predictor, ModelPredictor):
                predictor.read(batch)
        device = metric_device(batch["image"].device)
        for protocol in dict.fromkeys(entry.protocol for entry in self.entries):
            yield from self.score(protocol.groups(batch, device), protocol)

    def score(self, groups: Iterable[Group], protocol: Protocol) -> Iterator[Scores]:
        """Score groups of pairs under one protocol.

        Args:
            groups: Pairs with their ground truth at the size they are scored at.
            protocol: Of the entries to score.

        Yields:
            Scores of the covered pairs of one group, for one entry at a time.
        """
        entries = [(number, entry) for number, entry in enumerate(self.entries) if entry.protocol == protocol]
        computed = [(number, entry) for number, entry in entries if entry.known is None]
        for group in groups:
            device = group.density.device
            for number, entry in entries:
                known = {} if entry.known is None else entry.known
                if rows := {index: known[index] for index in group.index if index in known}:
                    yield Scores(number, list(rows), torch.tensor(list(rows.values()), dtype=torch.float64).to(device))
            if not computed:
                continue
            with one_thread_each(device):
                complete = self._with_reference(group, protocol)
            for number, entry in computed:
                covered = [row for row, index in enumerate(group.index) if entry.predictor.covers(index)]
                if not covered:
                    continue
                scored = complete.select(covered)
                with one_thread_each(device):
                    own = entry.predictor.ground_truth(scored.index, scored.size)
                    maps = entry.predictor.maps(scored.index, scored.size).to(device)
                targets = scored.targets
                if own is not None:
                    density, fixations = own[0].to(device), own[1].to(device)
                    targets = Targets(density, fixations, others=scored.others, baseline=scored.baseline)
                scores = score_against(maps, targets, protocol.metrics)
                yield Scores(number, scored.index, torch.stack(list(scores.values()), dim=1))

    def _with_reference(self, group: Group, protocol: Protocol) -> Group:
        """The group with the fixations and the centre prior of other images, where a metric needs them."""
        needs = {need for name in protocol.metrics for need in METRICS[name].needs}
        if self._reference is None or not needs & {"others", "baseline"}:
            return group
        device = group.density.device
        return replace(
            group,
            others=self._reference.others(group.index, group.size).to(device) if "others" in needs else None,
            baseline=self._reference.baseline(group.index, group.size).to(device) if "baseline" in needs else None,
        )


def score_natively(
    truth: GroundTruth,
    predictors: Mapping[str, Predictor],
    indices: Sequence[int],
    metrics: Sequence[str],
    track: Track,
) -> pd.DataFrame:
    """Score every predictor on the pairs it covers, see :func:`score_pairs` and :func:`score_frame`."""
    return score_frame(truth, list(predictors), score_pairs(truth, predictors, indices, metrics, track), metrics)


def score_pairs(
    truth: GroundTruth,
    predictors: Mapping[str, Predictor],
    indices: Sequence[int],
    metrics: Sequence[str],
    track: Track,
) -> PairScores:
    """Scores of every predictor on the pairs it covers, at native resolution against the original fixation points.

    Memory depends on the largest image, not on the number of pairs: no map is kept. Scores do not depend on which
    other pairs are scored (except for the last digit of a sum).

    Args:
        truth: Ground truth of the whole data set, from which shuffled AUC and information gain take the other images.
            Of conditions other than those of ``indices``, only what a predictor needs is read.
        predictors: Label -> predictor.
        indices: Indices of the pairs to score.
        metrics: Names of ``saltext.metrics.METRICS``.
        track: Shows the progress.

    Returns:
        A score for each metric; an undefined one is NaN.

    Raises:
        ValueError: An unknown metric.
    """
    protocol = standard(metrics)
    evaluator = Evaluator(Reference(truth, scored=indices))
    for label, predictor in predictors.items():
        evaluator.add(label, predictor, protocol)
    scores: dict[tuple[str, int], Sequence[float]] = {}
    for entry, covered, values in evaluator.score(recorded_groups(truth, indices, track), protocol):
        label = evaluator.entries[entry].model
        scores |= {(label, index): row for index, row in zip(covered, values.tolist(), strict=True)}
    return scores


def score_frame(truth: GroundTruth, labels: Sequence[str], scores: PairScores, names: Sequence[str]) -> pd.DataFrame:
    """Scores of :func:`score_pairs` as a table.

    Args:
        truth: Ground truth of the whole data set.
        labels: Labels of the predictors, in the order of the rows.
        scores: Scores of all predictors.
        names: Names of the metrics.

    Returns:
        image_id, task, text, model and a column for each metric; one row per predictor and covered pair, pairs in the
        data set's order.
    """
    keys = sorted(scores, key=lambda key: (labels.index(key[0]), key[1]))
    values = np.array([scores[key] for key in keys], dtype=np.float64).reshape(-1, len(names))
    return score_rows(truth.pairs, [index for _, index in keys], values, names, model=[label for label, _ in keys])


def score_rows(
    pairs: Sequence[ImageTextPair],
    indices: Sequence[int],
    values: npt.NDArray[np.float64],
    names: Sequence[str],
    **labels: str | Sequence[str],
) -> pd.DataFrame:
    """Scores as a table with one row per scored pair.

    Args:
        pairs: All pairs of the data set.
        indices: Index of the pair of each row.
        values: Scores, shape (rows, metrics).
        names: Names of the metrics.
        labels: Columns between the pair's and the metrics'; a single string is repeated in all rows.

    Returns:
        image_id, task, text, the labels, and a column for each metric.
    """
    row_pairs = [pairs[index] for index in indices]
    columns: dict[str, str | Sequence[str]] = {
        "image_id": [pair.image_id for pair in row_pairs],
        "task": [pair.task for pair in row_pairs],
        "text": [pair.text for pair in row_pairs],
        **labels,
    }
    return pd.DataFrame({**columns, **{name: values[:, column] for column, name in enumerate(names)}})
