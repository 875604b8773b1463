"""Models without parameters, scored by the same code as the networks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from saltext.training.scored import ScoredModule


class BaselineModule(ScoredModule):
    """A prediction that needs no training.

    Args:
        predict: ``batch -> saliency (B,1,h,w)`` over the whole network input.
        test_metrics: See :class:`ScoredModule`.
    """

    def __init__(self, predict: Callable[[Mapping[str, Any]], Tensor], test_metrics: Sequence[str]) -> None:
        super().__init__(test_metrics, test_metrics)
        self._predict = predict

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        """What the baseline says, on the batch's device."""
        return self._predict(batch).to(batch["image"].device)
