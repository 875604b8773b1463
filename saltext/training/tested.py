"""Scoring test pairs with Lightning: whatever is on the scoreboard, in one pass over the data."""

from typing import TYPE_CHECKING, Any

import lightning as L
import pandas as pd

from saltext.evaluation.groups import Batch, Group, resample
from saltext.evaluation.scoreboard import OWN, Maps, Predictor, Scoreboard
from saltext.evaluation.text_variants import TextVariant

if TYPE_CHECKING:
    from saltext.training.scored import ScoredModule


class ModelPredictor(Predictor):
    """A trained model among the predictors.

    Args:
        module: Predicts over the whole network input.
        model: Its name in tables.
        variant: Texts it is given instead of the pairs' own.
    """

    def __init__(self, module: "ScoredModule", model: str, variant: TextVariant | None = None) -> None:
        self.model = model
        self.variant = OWN if variant is None else variant.name
        self._module = module
        self._texts = variant

    def covers(self, number: int) -> bool:
        """All pairs, or those with another text."""
        return self._texts is None or number in self._texts.readings

    def at(self, batch: Batch) -> Maps:
        """One forward pass over the samples it covers."""
        part: Batch = batch if self._texts is None else self._texts.view(batch)
        saliency = self._module.predict_saliency(part).float()
        row = {number: place for place, number in enumerate(part["index"].tolist())}
        height, width = part["image"].shape[-2:]

        def maps(group: Group) -> Any:
            rows = [row[number] for number in group.index]
            return resample(saliency[rows], group.box, group.size, (height, width))

        return maps


class ScoreboardModule(L.LightningModule):
    """Fills a scoreboard by ``trainer.test``.

    Args:
        scoreboard: What to score.
        model: The module whose predictions are on it, if any; it moves to the device along with this one.

    Attributes:
        scores: See :meth:`~saltext.evaluation.scoreboard.Scoreboard.frame`; the same on all processes.
    """

    def __init__(self, scoreboard: Scoreboard, model: "ScoredModule | None") -> None:
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
