"""The interface of a predictor: anything that can be scored."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from saltext.data.geometry import Size
from saltext.metrics import Fixations

OWN = "own"
"""Name of the variant in which every pair has its own text."""


class Predictor(Protocol):
    """Anything that gives maps for image-text pairs.

    A :class:`saltext.baselines.Baseline`, a :class:`saltext.evaluation.predictions.FolderOfMaps` and a
    :class:`saltext.evaluation.model_predictor.ModelPredictor` are predictors; so is any other class with these methods.
    """

    def covers(self, index: int) -> bool:
        """Whether it has a prediction for a pair."""

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """Predict pairs that are all covered.

        Args:
            indices: Indices of the pairs in the data set.
            size: Height and width at which they are scored.

        Returns:
            Maps, float32 or float64 ``(len(indices), 1, *size)``, on any device.
        """

    def ground_truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations] | None:
        """The ground truth the maps are scored against, where it is not the pairs' own.

        Returns:
            None for the pairs' own; else density maps float32 ``(len(indices), 1, *size)`` and fixations at ``size``.
        """
