"""Scores of a loader's batches, collected over all processes."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn

from saltext.data.pairs import Pair
from saltext.evaluation.evaluator import Evaluator, score_rows
from saltext.evaluation.groups import EvaluationBatch
from saltext.metrics import ScoreTable


class ScoreTables(nn.Module):
    """A score table for each entry of an evaluator.

    A module, so that the scores move to the model's device: processes gather them there.

    Args:
        evaluator: Scores the batches; no entry is added to it later.
        pairs: All pairs of the data set.
    """

    def __init__(self, evaluator: Evaluator, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self._evaluator = evaluator
        self._pairs = pairs
        self._tables = [ScoreTable(entry.protocol.metrics) for entry in evaluator.entries]
        self._modules_of_tables = nn.ModuleList(self._tables)

    def reset(self) -> None:
        """Delete all scores."""
        for table in self._tables:
            table.reset()

    def update(self, batch: EvaluationBatch) -> None:
        """Score an evaluation batch and keep the scores."""
        for entry, indices, values in self._evaluator.score_batch(batch):
            self._tables[entry].add(torch.tensor(indices, dtype=torch.long), values)

    def frame(self) -> pd.DataFrame:
        """One row per pair, predictor and protocol, of all processes; pairs in the order of their indices.

        Returns:
            image_id, task, text, model, variant, protocol, and a column for each metric of any protocol (NaN for the
            metrics of other protocols).
        """
        parts = []
        for entry, table in zip(self._evaluator.entries, self._tables, strict=True):
            indices, values = table.per_sample()
            labels = {"model": entry.model, "variant": entry.variant, "protocol": entry.protocol.name}
            parts.append(score_rows(self._pairs, indices.tolist(), values.numpy(), entry.protocol.metrics, **labels))
        return pd.concat(parts, ignore_index=True)
