"""Where people look when nothing is known about the image."""

from __future__ import annotations

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
"""Title of the prior of the training images."""

GRID = (120, 160)
"""Height and width on which maps of different sizes are averaged. The published maps' blur is 5 to 8 cells wide there;
a grid twice as fine changes no score of the centre prior by 0.0002."""


def normalized_map(truth: GroundTruth, index: int) -> Tensor:
    """A pair's published map on ``GRID``, divided by its sum, float64 ``(1, *GRID)``.

    Raises:
        DataError: The map is zero everywhere.
    """
    found = sum_to_one(truth.density([index])[0])
    if found is None:
        raise DataError(f"the map of {truth.pairs[index].name} is zero everywhere: it says nothing; leave it out")
    return found


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
        return self._truth.pairs[index].task in self._trained

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The prior of each pair's task; each sums to 1 on ``GRID``."""
        tasks = [self._truth.pairs[index].task for index in indices]
        missing = sorted(set(tasks) - self._trained)
        if missing:
            raise DataError(
                f"the centre prior has no training pair of {', '.join(missing)}; train on it, or leave it out"
            )
        priors = {task: resized(self._means[task].float()[None], size) for task in set(tasks)}
        return torch.cat([priors[task] for task in tasks])

    @cached_property
    def _trained(self) -> set[str]:
        return {self._truth.pairs[index].task for index in self._train}

    @cached_property
    def _means(self) -> dict[str, Tensor]:
        indices = {task: [i for i in self._train if self._truth.pairs[i].task == task] for task in self._trained}
        return {task: _sum(self._truth, of_task) / len(of_task) for task, of_task in indices.items()}


class LeaveOneImageOut:
    """Mean map of a group's other images, each map first divided by its sum.

    One sum a group is held, made when first asked for; the map of the image itself is read again and taken off it.

    Attributes:
        totals: Sums of the normalised maps of all pairs of a group, in their order, float64 ``(1, *GRID)``. Sums that
            are known may be added: no map of the group is read for them.

    Args:
        truth: The whole data set.
        groups: Group of each pair.
    """

    def __init__(self, truth: GroundTruth, groups: Sequence[str]) -> None:
        self._truth = truth
        self._groups = groups
        self.totals: MutableMapping[str, Tensor] = {}

    def covers(self, index: int) -> bool:
        """Whether the group has another image."""
        return self._others(index) > 0

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The prior for each pair.

        Args:
            indices: Places of the pairs.
            size: Height and width to return.

        Returns:
            float32 ``(len(indices), 1, *size)``, each sums to 1 on ``GRID``; zero where the group has no other image.
        """
        return torch.cat([resized(self._left(index).float()[None], size) for index in indices])

    def _left(self, index: int) -> Tensor:
        others = self._others(index)
        if not others:
            return torch.zeros(1, *GRID)
        own = torch.stack([normalized_map(self._truth, pair) for pair in self._own(index)]).sum(0)
        # Three maps of one image, summed in another order, round differently: below zero where no other map reaches.
        return ((self._total(self._groups[index]) - own) / others).clamp_min(0)

    def _others(self, index: int) -> int:
        return self._members[self._groups[index]] - len(self._own(index))

    def _own(self, index: int) -> list[int]:
        """Indices of the image's pairs in the group."""
        pairs = [index, *self._truth.siblings(index).values()]
        return [pair for pair in pairs if self._groups[pair] == self._groups[index]]

    @cached_property
    def _members(self) -> dict[str, int]:
        return {group: self._groups.count(group) for group in set(self._groups)}

    def _total(self, group: str) -> Tensor:
        if group not in self.totals:
            members = [index for index, name in enumerate(self._groups) if name == group]
            self.totals[group] = _sum(self._truth, members)
        return self.totals[group]


@lru_cache(maxsize=1)
def prior_of_others(truth: GroundTruth) -> LeaveOneImageOut:
    """The prior by task, one for all who ask for that of the same data set: making it reads every map."""
    return LeaveOneImageOut(truth, [pair.task for pair in truth.pairs])


def _sum(truth: GroundTruth, indices: Sequence[int]) -> Tensor:
    """Sum of the normalised maps of pairs, float64 ``(1, *GRID)``."""
    total = torch.zeros(1, *GRID, dtype=torch.float64)
    for index in indices:
        total += normalized_map(truth, index)
    return total


class CentrePriorOfOthers(Baseline):
    """Mean of the maps of the data set's other images under the same task, each first divided by its sum.

    The leave-one-image-out prior of the saliency benchmarks. It has seen test images of others, so it is a little
    stronger than :class:`CentrePrior`, and needs no split. The density that information gain is measured against.
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
