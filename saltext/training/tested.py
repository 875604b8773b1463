"""Scoring test pairs with Lightning: whatever is on the scoreboard, in one pass over the data."""

import lightning as L
import pandas as pd

from saltext.evaluation.groups import Batch
from saltext.evaluation.scoreboard import Scoreboard
from saltext.training.scored import ScoredModule


class ScoreboardModule(L.LightningModule):
    """Fills a scoreboard by ``trainer.test``.

    Args:
        scoreboard: What to score.
        model: The module whose predictions are on it, if any; it moves to the device along with this one.

    Attributes:
        scores: See :meth:`~saltext.evaluation.scoreboard.Scoreboard.frame`; the same on all processes.
    """

    def __init__(self, scoreboard: Scoreboard, model: ScoredModule | None) -> None:
        super().__init__()
        self.scoreboard = scoreboard
        self.model = model
        self.scores = pd.DataFrame()

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Score a batch."""
        self.scoreboard.update(batch)

    def on_test_epoch_end(self) -> None:
        """Keep the scores of all pairs, of all processes."""
        self.scores = self.scoreboard.frame()
        self.scoreboard.reset()
