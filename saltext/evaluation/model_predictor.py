"""A network among the predictors of a scoreboard."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from saltext.evaluation.groups import Batch, Group, resample
from saltext.evaluation.predictor import OWN, Maps, Predictor
from saltext.evaluation.text_variants import TextVariant


class ModelPredictor(Predictor):
    """A trained model among the predictors.

    Args:
        predict: Batch -> logits over the whole network input (B,1,H,W).
        model: Its name in tables.
        variant: Texts it is given instead of the pairs' own.
    """

    def __init__(self, predict: Callable[[Batch], Tensor], model: str, variant: TextVariant | None = None) -> None:
        self.model = model
        self.variant = OWN if variant is None else variant.name
        self._predict = predict
        self._texts = variant

    def covers(self, number: int) -> bool:
        """All pairs, or those with another text."""
        return self._texts is None or number in self._texts.readings

    def at(self, batch: Batch) -> Maps:
        """One forward pass over the samples it covers."""
        part: Batch = batch if self._texts is None else self._texts.view(batch)
        saliency = self._predict(part).float()
        row = {number: place for place, number in enumerate(part["index"].tolist())}
        height, width = part["image"].shape[-2:]

        def maps(group: Group) -> Any:
            rows = [row[number] for number in group.index]
            return resample(saliency[rows], group.box, group.size, (height, width))

        return maps
