"""What other people, or the same people under another text, say about an image: the bars for text guidance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from saltext.baselines.base import Baseline, native_maps
from saltext.metrics import Fixations

if TYPE_CHECKING:
    from saltext.data.geometry import Size
    from saltext.data.ground_truth import GroundTruth

FLOOR = 1e-3 / 255
"""Added to a human map of maximum 1 that is used as a prediction.

The published maps have 8 bits and are zero far from every fixation, where KL and IG would charge 36 nats or 52 bits
and measure little but the rounding. A thousandth of a grey level reproduces the reference values of the data set in
all four tasks (KL .411 .652 .623 1.188 of the free-viewing map on whole, general, salient, non_salient). No other
metric notices; KL on salient would be .856 without it and .577 with the Gaussian's own tails.
"""


class HumanPure(Baseline):
    """The image's human free-viewing map.

    One noisy recording, and no bound for a model that ignores the text: a network trained without text that knows the
    condition passes it on SJTU-TIS (experiments/baselines/README.md).

    For every pair whose image was also viewed without a text (``pure``), that pair itself excepted. The published map,
    with ``FLOOR``.
    """

    name = "human_pure"
    title = "human free-viewing map"

    def covers(self, index: int) -> bool:
        """Where the image has a free-viewing pair, which is another one."""
        return self._truth.free_viewing(index) is not None

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The published free-viewing map of each pair's image."""
        free_viewing = [other for index in indices if (other := self._truth.free_viewing(index)) is not None]
        return _published(self._truth, free_viewing, size) + FLOOR


class HumanOthers(Baseline):
    """Mean of the image's human maps under its other conditions, each with maximum 1: an oracle that knows everything
    about the image but this text.

    Where there are at least two other conditions, so that it differs from :class:`HumanPure`; for free viewing, at
    least one. On SJTU-TIS that is every pair but those of ``whole``. The published maps, ``FLOOR`` added once to their
    sum, which reproduces the reference values of ``general`` (CC .844, KL .272).
    """

    name = "human_others"
    title = "mean of other human maps"

    def covers(self, index: int) -> bool:
        """Where there are enough other conditions."""
        return len(self._truth.siblings(index)) >= (2 if self._truth.pairs[index].text else 1)

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The mean for each pair."""
        return torch.stack([self._mean(index, size) for index in indices])

    def _mean(self, index: int, size: Size) -> Tensor:
        others = list(self._truth.siblings(index).values())
        return (_published(self._truth, others, size).sum(0) + FLOOR) / len(others)


class SplitHalf(Baseline):
    """Half of a pair's fixations, blurred as the data set's maps are, predicts the other half.

    A ceiling, and an optimistic one: the files do not say whose a fixation is, so the halves share subjects. The
    halves are drawn by chance, seeded by image and task alone, so they do not depend on which pairs are scored. The
    first half (the smaller one of an odd number) predicts; one direction only. The Gaussian's own tails, no ``FLOOR``:
    on SJTU-TIS that is within .003 of the reference values in CC, SIM, AUC and sAUC, and within .02 in KL, where
    drawing other halves moves a task's mean by .01.
    """

    name = "split_half"
    title = "split-half fixations"

    def covers(self, index: int) -> bool:
        """Where there are two fixations to divide."""
        return len(self._truth.points(index)) >= 2

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The density of the first half."""
        return native_maps(self._truth, indices, size, self._first)

    def truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations]:
        """Density and fixations of the second half."""
        density = native_maps(self._truth, indices, size, self._second)
        seconds = [self._halves(index)[1] for index in indices]
        moved = [
            self._truth.moved(points, self._truth.native_size(index), size)
            for index, points in zip(indices, seconds, strict=True)
        ]
        return density, Fixations.from_points(moved, size)

    def _first(self, indices: Sequence[int], size: Size) -> Tensor:
        return self._truth.blurred([self._halves(index)[0] for index in indices], size)

    def _second(self, indices: Sequence[int], size: Size) -> Tensor:
        return self._truth.blurred([self._halves(index)[1] for index in indices], size)

    def _halves(self, index: int) -> tuple[Tensor, Tensor]:
        points = torch.from_numpy(self._truth.points(index).astype(np.int64))
        pair = self._truth.pairs[index]
        seed = hashlib.blake2b(f"{pair.image_id}/{pair.task}".encode(), digest_size=8).digest()
        order = np.random.default_rng(int.from_bytes(seed)).permutation(len(points))
        first, second = np.split(order, [len(points) // 2])
        return points[np.sort(first)], points[np.sort(second)]


def _published(truth: GroundTruth, indices: Sequence[int], size: Size) -> Tensor:
    """Published maps at ``size``, each with maximum 1 at its native one; a map of zeros stays zero."""

    def highest_one(some: Sequence[int], _: Size) -> Tensor:
        maps = truth.density(some)
        high = maps.amax(dim=(1, 2, 3), keepdim=True)
        return maps / torch.where(high > 0, high, 1.0)

    return native_maps(truth, indices, size, highest_one)
