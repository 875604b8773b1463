"""Human maps as predictions: free viewing, the image's other conditions, and split halves of the fixations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saltext.baselines.base import Baseline, native_maps
from saltext.metrics import Fixations

if TYPE_CHECKING:
    from saltext.data.geometry import Size
    from saltext.data.ground_truth import GroundTruth, ImageTextPair
    from saltext.data.pairs import Viewers

FLOOR = 1e-3 / 255
"""Added to a human map of maximum 1 that is used as a prediction.

The published maps have 8 bits and are zero far from every fixation, where KL and IG would charge 36 nats or 52 bits
and measure little but the rounding. A thousandth of a grey level reproduces the reference values of the data set in
all four tasks (KL .411 .652 .623 1.188 of the free-viewing map on whole, general, salient, non_salient). No other
metric notices; KL on salient would be .856 without it and .577 with the Gaussian's own tails.
"""


class HumanPure(Baseline):
    """The image's human map of free viewing: the published map plus ``FLOOR``.

    It predicts every pair whose image was also viewed without a text (``pure``), except the free-viewing pair itself.

    It is one noisy recording, and no upper bound for a model that ignores the text: a network trained without text
    that knows the condition is better on SJTU-TIS (experiments/baselines/README.md).
    """

    name = "human_pure"
    title = "human map, free viewing"

    def covers(self, index: int) -> bool:
        """Where the image has another pair with free viewing."""
        return self._truth.free_viewing(index) is not None

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The published free-viewing map of each pair's image."""
        free_viewing = [other for index in indices if (other := self._truth.free_viewing(index)) is not None]
        return _max_normalized_maps(self._truth, free_viewing, size) + FLOOR


class HumanOthers(Baseline):
    """Mean of the image's human maps under its other conditions, each with maximum 1: an oracle that knows everything
    about the image but this text.

    Where there are at least two other conditions, so that it differs from :class:`HumanPure`; for free viewing, at
    least one. On SJTU-TIS that is every pair but those of ``whole``. The published maps, ``FLOOR`` added once to their
    sum, which reproduces the reference values of ``general`` (CC .844, KL .272).
    """

    name = "human_others"
    title = "human maps, other conditions"

    def covers(self, index: int) -> bool:
        """Where the image has at least two other conditions; for free viewing, at least one."""
        return len(self._truth.siblings(index)) >= (2 if self._truth.pairs[index].text else 1)

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The mean map of the image's other conditions, for each pair."""
        means = []
        for index in indices:
            others = list(self._truth.siblings(index).values())
            means.append((_max_normalized_maps(self._truth, others, size).sum(0) + FLOOR) / len(others))
        return torch.stack(means)


class SplitHalf(Baseline):
    """Half of a pair's fixations, blurred as the data set's maps are, predicts the other half.

    An optimistic ceiling: the files do not say whose a fixation is, so the halves share subjects. The halves are drawn
    at random, seeded by image and task alone, so they do not depend on which pairs are scored. The first half (the
    smaller one of an odd number) predicts the second, never the other way round. The maps keep the Gaussian's own
    tails and get no ``FLOOR``: on SJTU-TIS that is within .003 of the reference values in CC, SIM, AUC and sAUC, and
    within .02 in KL, where drawing other halves moves a task's mean by .01.
    """

    name = "split_half"
    title = "split-half fixations"

    def covers(self, index: int) -> bool:
        """Where there are at least two fixations to divide."""
        return len(self._truth.points(index)) >= 2

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The density of the first half."""

        def blurred_first_halves(same_size: Sequence[int], native: Size) -> Tensor:
            return self._truth.blurred([self._halves(index)[0] for index in same_size], native)

        return native_maps(self._truth, indices, size, blurred_first_halves)

    def ground_truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations]:
        """Density and fixations of the second half."""

        def blurred_second_halves(same_size: Sequence[int], native: Size) -> Tensor:
            return self._truth.blurred([self._halves(index)[1] for index in same_size], native)

        density = native_maps(self._truth, indices, size, blurred_second_halves)
        points = [self._truth.moved(self._halves(index)[1], self._truth.native_size(index), size) for index in indices]
        return density, Fixations.from_points(points, size)

    def _halves(self, index: int) -> tuple[Tensor, Tensor]:
        """(y, x) of the fixations of both halves, int64 ``(n, 2)``, each in the order of the recording."""
        points = torch.from_numpy(self._truth.points(index).astype(np.int64))
        order = np.random.default_rng(_seed(self._truth.pairs[index])).permutation(len(points))
        first, second = np.split(order, [len(points) // 2])
        return points[np.sort(first)], points[np.sort(second)]


class SplitViewers(SplitHalf):
    """The fixations of half of the viewers, blurred as the data set's maps are, predict those of the other half.

    Unlike :class:`SplitHalf` it is no optimistic ceiling, since the halves have no viewer in common; it is below what
    all viewers would predict of as many others. For data sets that say which viewer made a fixation. The halves of the
    viewers are drawn at random, seeded by image and task alone; of an odd number the first half has one fewer.

    Args:
        truth: Ground truth of the whole data set.
        viewers: Index of a pair -> its fixations by viewer; pairs without an entry are not covered.
    """

    name = "split_viewers"
    title = "split-half viewers"

    def __init__(self, truth: GroundTruth, viewers: Mapping[int, Viewers]) -> None:
        super().__init__(truth)
        self._viewers = viewers
        self._cached_halves = lru_cache(maxsize=64)(self._draw_halves)

    def covers(self, index: int) -> bool:
        """Where there are viewers with fixations in both halves."""
        return index in self._viewers and all(map(len, self._halves(index)))

    def _halves(self, index: int) -> tuple[Tensor, Tensor]:
        return self._cached_halves(index)

    def _draw_halves(self, index: int) -> tuple[Tensor, Tensor]:
        points = self._viewers[index].points(self._truth.native_size(index))
        order = np.random.default_rng(_seed(self._truth.pairs[index])).permutation(len(points))
        halves = np.split(order, [len(points) // 2])
        first, second = ([points[viewer] for viewer in sorted(half)] for half in halves)
        return _joined(first), _joined(second)


def _joined(points: Sequence[npt.NDArray[np.int32]]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros((0, 2), np.int32), *points]).astype(np.int64))


def _seed(pair: ImageTextPair) -> int:
    """A number that follows from the image and condition of a pair alone."""
    return int.from_bytes(hashlib.blake2b(f"{pair.image_id}/{pair.task}".encode(), digest_size=8).digest())


def _max_normalized_maps(truth: GroundTruth, indices: Sequence[int], size: Size) -> Tensor:
    """Published maps, float32 ``(n, 1, *size)``, with maximum 1 at the native size; a map of zeros stays zero."""

    def at_native_size(same_size: Sequence[int], _: Size) -> Tensor:
        maps = truth.density(same_size)
        maximum = maps.amax(dim=(1, 2, 3), keepdim=True)
        return maps / torch.where(maximum > 0, maximum, 1.0)

    return native_maps(truth, indices, size, at_native_size)
