"""What a metric needs of other images: negatives of shuffled AUC, and the baseline density of information gain."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from saltext.baselines.centre_prior import LeaveOneImageOut, prior_of_others
from saltext.data.geometry import Size
from saltext.data.ground_truth import GroundTruth
from saltext.metrics import FixationPool, Fixations


class Reference:
    """Fixations and centre prior of the other images of the same condition.

    Nothing is read before the first call. From then on all points are held (some kilobytes per pair), and of the maps
    one sum per group on a small grid.

    Args:
        truth: Ground truth of the whole data set: "other images" do not depend on which pairs are scored.
        groups: Group of each pair; its task by default.
        scored: Indices of the pairs that will be scored; only their groups are read. All by default.
    """

    def __init__(
        self, truth: GroundTruth, groups: Sequence[str] | None = None, scored: Sequence[int] | None = None
    ) -> None:
        self._truth = truth
        self._scored = range(len(truth)) if scored is None else scored
        self._prior = prior_of_others(truth) if groups is None else LeaveOneImageOut(truth, groups)
        self._groups = [pair.task for pair in truth.pairs] if groups is None else list(groups)

    def others(self, indices: Sequence[int], size: Size) -> Fixations:
        """For each pair, all fixations of its group on other images, scaled to images of ``size``."""
        images = [self._truth.pairs[index].image_id for index in indices]
        return self._fixation_pool.others(images, [self._groups[index] for index in indices], size)

    def baseline(self, indices: Sequence[int], size: Size) -> Tensor:
        """For each pair, the centre prior of its group without its image, float32 ``(n, 1, *size)``.

        See :class:`saltext.baselines.centre_prior.LeaveOneImageOut`.
        """
        return self._prior.maps(indices, size)

    @cached_property
    def _fixation_pool(self) -> FixationPool:
        scored_groups = {self._groups[index] for index in self._scored}
        indices = [index for index, group in enumerate(self._groups) if group in scored_groups]
        return FixationPool(
            [torch.from_numpy(self._truth.points(index).astype("int64")) for index in indices],
            torch.tensor([self._truth.native_size(index) for index in indices]),
            [self._truth.pairs[index].image_id for index in indices],
            [self._groups[index] for index in indices],
        )
