"""What every baseline can do, and moving maps between sizes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, cat
from torch.nn import functional as F

if TYPE_CHECKING:
    from saltext.data.geometry import Size
    from saltext.data.ground_truth import GroundTruth
    from saltext.metrics import Fixations


class Baseline(ABC):
    """A prediction that needs no network: it sees no image, only what people did.

    Attributes:
        name: In configurations and on command lines.
        title: Row of a table.

    Args:
        truth: The whole data set.
        train: Places of the pairs that may be learned from.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, truth: GroundTruth, train: Sequence[int] = ()) -> None:
        self._truth = truth
        self._train = list(train)

    def covers(self, index: int) -> bool:
        """Whether there is a prediction for the pair; the others get no row."""
        return True

    @abstractmethod
    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """Predict pairs that are all covered.

        Args:
            indices: Places of the pairs in the data set.
            size: Height and width of the maps, usually the pairs' native size.

        Returns:
            Maps that are not negative, float32 ``(len(indices), 1, *size)``, on the CPU.
        """

    def truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations] | None:
        """What the predictions are scored against where that is not the pairs' own truth.

        Returns:
            None for the pairs' own truth; else density maps float32 ``(len(indices), 1, *size)`` and fixations at
            ``size``.
        """
        return None


def resized(maps: Tensor, size: Size) -> Tensor:
    """Maps (n, 1, h, w) at another size: bilinear, with antialiasing where they shrink."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", antialias=True)


def native_maps(
    truth: GroundTruth, indices: Sequence[int], size: Size, make: Callable[[Sequence[int], Size], Tensor]
) -> Tensor:
    """Maps made at the pairs' native sizes, then resized to ``size`` where that is another.

    Args:
        truth: Knows the native sizes.
        indices: Places of the pairs.
        size: Height and width to return.
        make: Gives the maps ``(n, 1, *size)`` of pairs of one native size.
    """
    native = [truth.native_size(index) for index in indices]
    if set(native) == {tuple(size)}:
        return make(indices, size)
    return cat([resized(make([index], own), size) for index, own in zip(indices, native, strict=True)])
