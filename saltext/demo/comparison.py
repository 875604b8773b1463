"""Comparison of the maps of one image under two texts, as numbers and sentences."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from saltext.metrics.functional import cc
from saltext.prediction.model import Density
from saltext.prediction.pictures import UNCHANGED, how_much_moves, moved_fraction

_REGIONS = (
    ("the upper left", "the top", "the upper right"),
    ("the left", "the middle", "the right"),
    ("the lower left", "the bottom", "the lower right"),
)
_MOST = 0.5  # of what is gained, from which on it is "mostly" there


@dataclass(frozen=True)
class Comparison:
    """The difference between the maps of two texts.

    Attributes:
        cc: Pearson correlation of the maps; NaN where one of them is constant.
        moved: Fraction of the density that moves, 0 to 1.
        gained: Name of the ninth of the image that gains most.
        lost: Name of the ninth of the image that loses most.
        gained_share: Fraction of what moves that the ninth ``gained`` gets, 0 to 1.
    """

    cc: float
    moved: float
    gained: str
    lost: str
    gained_share: float

    @classmethod
    def of(cls, one: Density, other: Density) -> "Comparison":
        """Compare two densities of the same (height, width)."""
        change = (other - one).astype(np.float64)
        correlation = float(cc(torch.from_numpy(one)[None, None], torch.from_numpy(other)[None, None]))
        (gained, share), (lost, _) = _region_of_most(change), _region_of_most(-change)
        return cls(correlation, moved_fraction(one, other), gained, lost, share)

    def words(self, first: str, second: str) -> str:
        """What moves from one text to another in a sentence, in Markdown.

        Args:
            first: Name of the first text, such as "text 1".
            second: Name of the second.
        """
        if self.moved < UNCHANGED:
            return f"{first[:1].upper()}{first[1:]} and {second} give **the same map**."
        if self.gained == self.lost:
            where = f"mostly within {self.gained}"
        else:
            share = "mostly" if self.gained_share >= _MOST else "the largest part"
            where = f"{share} from {self.lost} to {self.gained}"
        related = "" if math.isnan(self.cc) else f" (correlation of the two maps: CC {self.cc:.2f})"
        return f"**{how_much_moves(self.moved)}** from {first} to {second}, {where}{related}."


def _region_of_most(gain: npt.NDArray[np.float64]) -> tuple[str, float]:
    """Name of the ninth of the image with the largest sum of gains, and its share of all gains."""
    rows, columns = (np.linspace(0, length, 4).round().astype(int) for length in gain.shape)
    positive = np.maximum(gain, 0)
    sums = np.array(
        [
            [positive[rows[y] : rows[y + 1], columns[x] : columns[x + 1]].sum() for x in range(len(_REGIONS[0]))]
            for y in range(len(_REGIONS))
        ]
    )
    row, column = divmod(int(sums.argmax()), len(_REGIONS[0]))
    total = float(sums.sum())
    return _REGIONS[row][column], float(sums.max()) / total if total > 0 else 0.0
