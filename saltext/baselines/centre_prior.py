"""Centre priors: the mean human map of other images."""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saltext.baselines.base import Baseline, resized
from saltext.errors import DataError

if TYPE_CHECKING:
    from saltext.data.geometry import Size
    from saltext.data.ground_truth import GroundTruth

CENTRE_PRIOR = "centre prior"
"""Title of the centre prior of the training images."""

GRID = (120, 160)
"""Height and width at which maps of different sizes are averaged. The published maps' blur is 5 to 8 cells wide there;
a grid twice as fine changes no score of the centre prior by 0.0002."""


def normalized_map(truth: GroundTruth, index: int) -> Tensor:
    """A pair's published map on ``GRID``, divided by its sum, float64 ``(1, *GRID)``.

    Raises:
        DataError: The map is zero everywhere.
    """
    normalized = sum_to_one(truth.density([index])[0])
    if normalized is None:
        raise DataError(f"the map of {truth.pairs[index].name} is zero everywhere; leave it out")
    return normalized


def sum_to_one(density: Tensor) -> Tensor | None:
    """A float32 map ``(1, height, width)`` as :func:`normalized_map` gives it; None if it is zero everywhere."""
    small = resized(density[None], GRID)[0].double()
    total = small.sum()
    return small / total if bool(total > 0) else None


class CentrePrior(Baseline):
    """Mean of the training maps of the pair's task, each first divided by its sum.

    Has no prediction for a task without a training pair.
    """

    name = "centre_prior"
    title = CENTRE_PRIOR

    def covers(self, index: int) -> bool:
        """Where the task has training pairs."""
        return self._truth.pairs[index].task in self._train_tasks

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The prior of each pair's task; each sums to 1 on ``GRID``."""
        tasks = [self._truth.pairs[index].task for index in indices]
        missing = sorted(set(tasks) - self._train_tasks)
        if missing:
            raise DataError(
                f"the centre prior has no training pair of {', '.join(missing)}; train on it, or leave it out"
            )
        priors = {task: resized(self._mean_map_by_task[task].float()[None], size) for task in set(tasks)}
        return torch.cat([priors[task] for task in tasks])

    @cached_property
    def _train_tasks(self) -> set[str]:
        return {self._truth.pairs[index].task for index in self._train}

    @cached_property
    def _mean_map_by_task(self) -> dict[str, Tensor]:
        """Mean normalised training map of each task, float64 ``(1, *GRID)``; every training map is read once."""
        indices = {task: [i for i in self._train if self._truth.pairs[i].task == task] for task in self._train_tasks}
        return {task: _sum_of_normalized_maps(self._truth, of_task) / len(of_task) for task, of_task in indices.items()}


class LeaveOneImageOut:
    """Leave-one-image-out centre prior: the mean map of a group's other images, each map first divided by its sum.

    One sum per group is held, computed on first use; the image's own maps are read again and subtracted from it.

    Attributes:
        totals: Group -> sum of the normalised maps of its pairs, in their order, float64 ``(1, *GRID)``. Known sums
            may be added here; the group's maps are then not read for it.

    Args:
        truth: Ground truth of the whole data set.
        groups: Group of each pair.
    """

    def __init__(self, truth: GroundTruth, groups: Sequence[str]) -> None:
        self._truth = truth
        self._groups = groups
        self._group_size = Counter(groups)
        self.totals: MutableMapping[str, Tensor] = {}

    def covers(self, index: int) -> bool:
        """Whether the group has another image."""
        return self._group_size[self._groups[index]] > len(self._pairs_of_own_image(index))

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The prior for each pair.

        Args:
            indices: Indices of the pairs.
            size: Height and width to return.

        Returns:
            float32 ``(len(indices), 1, *size)``, each sums to 1 on ``GRID``; zero where the group has no other image.
        """
        priors = [self._prior_without_own_image(index).float()[None] for index in indices]
        return torch.cat([resized(prior, size) for prior in priors])

    def _prior_without_own_image(self, index: int) -> Tensor:
        """Mean normalised map of the group's other images, ``(1, *GRID)``; zero where there is none."""
        group = self._groups[index]
        own_pairs = self._pairs_of_own_image(index)
        others = self._group_size[group] - len(own_pairs)
        if not others:
            return torch.zeros(1, *GRID)
        if group not in self.totals:
            pairs = [pair for pair, name in enumerate(self._groups) if name == group]
            self.totals[group] = _sum_of_normalized_maps(self._truth, pairs)
        own_sum = torch.stack([normalized_map(self._truth, pair) for pair in own_pairs]).sum(0)
        # Three maps of one image, summed in another order, round differently: below zero where no other map reaches.
        return ((self.totals[group] - own_sum) / others).clamp_min(0)

    def _pairs_of_own_image(self, index: int) -> list[int]:
        """Indices of the pairs of the same image in the same group, this one included."""
        pairs = [index, *self._truth.siblings(index).values()]
        return [pair for pair in pairs if self._groups[pair] == self._groups[index]]


@lru_cache(maxsize=1)
def prior_of_others(truth: GroundTruth) -> LeaveOneImageOut:
    """The leave-one-image-out prior by task, shared by all callers with the same data set: it reads every map."""
    return LeaveOneImageOut(truth, [pair.task for pair in truth.pairs])


def _sum_of_normalized_maps(truth: GroundTruth, indices: Sequence[int]) -> Tensor:
    """Float64 ``(1, *GRID)``, see :func:`normalized_map`."""
    total = torch.zeros(1, *GRID, dtype=torch.float64)
    for index in indices:
        total += normalized_map(truth, index)
    return total


class CentrePriorOfOthers(Baseline):
    """Mean of the maps of the data set's other images under the same task, each first divided by its sum.

    The leave-one-image-out prior of the saliency benchmarks, and the density that information gain is measured
    against. It uses the maps of other test images, so it is a little stronger than :class:`CentrePrior`, and it needs
    no split.
    """

    name = "centre_prior_others"
    title = "centre prior (other images)"

    def __init__(self, truth: GroundTruth, train: Sequence[int] = ()) -> None:
        super().__init__(truth, train)
        self._prior = prior_of_others(truth)

    def covers(self, index: int) -> bool:
        """Where the task has another image."""
        return self._prior.covers(index)

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The prior without each pair's image."""
        return self._prior.maps(indices, size)
