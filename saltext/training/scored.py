"""The half every model shares: scores of single image-text pairs at their original resolution."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import pandas as pd
from torch import Tensor

from saltext.metrics import ScoreTable
from saltext.training import native


class ScoredModule(L.LightningModule):
    """A model that predicts saliency for batches, and how it is scored.

    Validation logs, for each validation metric, ``val/METRIC`` (mean of the tasks' means, so that a task with more
    pairs does not outweigh the others) and ``val/METRIC_TASK``. Testing keeps the score of every pair:
    :attr:`test_scores`.

    Args:
        validation_metrics: Names of ``saltext.metrics.METRICS`` scored after each epoch.
        test_metrics: Names scored by ``trainer.test``.
    """

    def __init__(self, validation_metrics: Sequence[str], test_metrics: Sequence[str]) -> None:
        super().__init__()
        self.validation_table = ScoreTable(validation_metrics)
        self.test_table = ScoreTable(test_metrics)
        self.test_scores = pd.DataFrame()

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        """Maps in 0..1, float32 (B,1,h,w), over the whole network input, at the model's own resolution."""
        raise NotImplementedError(f"{type(self).__name__} has to predict")

    def predict_saliency(self, batch: Mapping[str, Any]) -> Tensor:
        """The maps to score, like :meth:`saliency`; a model may spend more on them than in training."""
        return self.saliency(batch)

    def validation_step(self, batch: Mapping[str, Any], batch_index: int) -> None:
        """Score a batch for the choice of the epoch."""
        self._score(batch, self.validation_table)

    def test_step(self, batch: Mapping[str, Any], batch_index: int) -> None:
        """Score a batch for the report."""
        self._score(batch, self.test_table)

    def on_validation_epoch_end(self) -> None:
        """Log the means over tasks and the tasks' own means."""
        table = self._frame(self.validation_table)
        self.validation_table.reset()
        by_task = table.groupby("task", sort=False)[list(self.validation_table.names)].mean()
        for name in by_task.columns:
            self.log(f"val/{name}", float(by_task[name].mean()), prog_bar=True, rank_zero_only=True)
            for task, value in by_task[name].items():
                self.log(f"val/{name}_{task}", float(value), rank_zero_only=True)

    def on_test_epoch_end(self) -> None:
        """Keep the scores of all pairs, of all processes."""
        self.test_scores = self._frame(self.test_table)
        self.test_table.reset()

    def _score(self, batch: Mapping[str, Any], table: ScoreTable) -> None:
        for group in native.groups(self.predict_saliency(batch).float(), batch):
            table.update(group.saliency, group.density, group.fixations, group.index)

    def _frame(self, table: ScoreTable) -> pd.DataFrame:
        """One row a pair: image_id, task, text and the scores, ordered by the pair's number."""
        index, values = table.per_sample()
        pairs = [self._pairs[i] for i in index.tolist()]
        frame = pd.DataFrame(
            {"image_id": [p.image_id for p in pairs], "task": [p.task for p in pairs], "text": [p.text for p in pairs]}
        )
        return frame.assign(**{name: values[:, k].numpy() for k, name in enumerate(table.names)})

    @property
    def _pairs(self) -> Sequence[Any]:
        return self.trainer.datamodule.pairs  # type: ignore[attr-defined,no-any-return]
