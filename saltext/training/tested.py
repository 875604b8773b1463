"""Testing with Lightning: all predictors of an evaluator are scored in one pass over the data."""

from collections.abc import Sequence

import lightning as L
import pandas as pd

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.pairs import Pair
from saltext.evaluation.evaluator import Evaluator
from saltext.evaluation.groups import EvaluationBatch
from saltext.training.score_tables import ScoreTables
from saltext.training.scored import ScoredModule


class EvaluatorModule(L.LightningModule):
    """Runs an evaluator by ``trainer.test``.

    Args:
        evaluator: The predictors to score, and their protocols.
        pairs: All pairs of the data set.
        model: The module whose predictions are scored, if any; it moves to the device along with this one.

    Attributes:
        scores: See :meth:`saltext.training.score_tables.ScoreTables.frame`; the same on all processes.
    """

    def __init__(self, evaluator: Evaluator, pairs: Sequence[Pair], model: ScoredModule | None) -> None:
        super().__init__()
        self.score_tables = ScoreTables(evaluator, pairs)
        self.model = model
        self.scores = pd.DataFrame()

    def on_test_start(self) -> None:
        """Encode the texts of all pairs to score in batches, on the device that scores."""
        data = getattr(self.trainer, "datamodule", None)
        if self.model is not None and isinstance(data, SaliencyDataModule):
            self.model.encode_ahead(data, data.indices("test"))

    def test_step(self, batch: EvaluationBatch, batch_index: int) -> None:
        """Score a batch."""
        self.score_tables.update(batch)

    def on_test_epoch_end(self) -> None:
        """Collect the scores of all pairs from all processes."""
        self.scores = self.score_tables.frame()
        self.score_tables.reset()
