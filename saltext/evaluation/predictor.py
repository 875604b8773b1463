"""What can be scored on a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from saltext.evaluation.groups import Batch, Group

OWN = "own"
"""Name of the variant in which every pair has its own text."""

Maps = Callable[[Group], Tensor]


class Predictor(ABC):
    """Something that gives maps for test pairs.

    Attributes:
        model: Row of the tables.
        variant: What it reads: ``"own"`` texts, or the name of a text variant.
    """

    model: str
    variant: str = OWN

    def covers(self, number: int) -> bool:
        """Whether it has a prediction for a pair."""
        return True

    @abstractmethod
    def at(self, batch: Batch) -> Maps:
        """Predict a batch.

        Returns:
            For a group of samples of the batch, all of them covered, their maps at the group's size, (n,1,*size).
        """

    def truth(self, group: Group) -> Group:
        """What its maps are scored against; other than the group's own truth only for parts of that truth."""
        return group
