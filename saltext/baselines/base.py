"""The interface of a baseline, and resizing of saliency maps."""

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
    """A prediction made from human fixations alone, without a network and without the image.

    Attributes:
        name: Its name in configurations and on command lines.
        title: Its row in a table.

    Args:
        truth: Ground truth of the whole data set.
        train: Indices of the training pairs.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, truth: GroundTruth, train: Sequence[int] = ()) -> None:
        self._truth = truth
        self._train = list(train)

    def covers(self, index: int) -> bool:
        """Whether there is a prediction for the pair; a pair without one gets no row."""
        return True

    @abstractmethod
    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """Predict pairs that are all covered.

        Args:
            indices: Indices of the pairs in the data set.
            size: Height and width of the maps, usually the pairs' native size.

        Returns:
            Non-negative maps, float32 ``(len(indices), 1, *size)``, on the CPU.
        """

    def ground_truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations] | None:
        """The ground truth the predictions are scored against, where it is not the pairs' own.

        Returns:
            None for the pairs' own ground truth; else density maps float32 ``(len(indices), 1, *size)`` and fixations
            at ``size``.
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
    """Maps made at the pairs' native sizes, then resized to ``size`` where it differs.

    Args:
        truth: Gives the native sizes.
        indices: Indices of the pairs.
        size: Height and width to return.
        make: Gives the maps ``(n, 1, *size)`` of pairs of one native size.

    Returns:
        Maps ``(len(indices), 1, *size)``.
    """
    native_sizes = [truth.native_size(index) for index in indices]
    if set(native_sizes) == {tuple(size)}:
        return make(indices, size)
    return cat([resized(make([index], native), size) for index, native in zip(indices, native_sizes, strict=True)])
