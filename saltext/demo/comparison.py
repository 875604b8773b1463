"""Comparison of the maps of one image under two texts, as numbers and sentences."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from saltext.metrics.functional import cc
from saltext.prediction.model import Density
from saltext.prediction.pictures import UNCHANGED, how_much_moves, moved_fraction

_REGIONS = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)


@dataclass(frozen=True)
class Comparison:
    """The difference between the maps of two texts.

    Attributes:
        cc: Pearson correlation of the maps; NaN where one of them is constant.
        moved: Fraction of the density that moves, 0 to 1.
        gained: Name of the ninth of the image with the largest gain.
        lost: Name of the ninth of the image with the largest loss.
    """

    cc: float
    moved: float
    gained: str
    lost: str

    @classmethod
    def of(cls, one: Density, other: Density) -> "Comparison":
        """Compare two densities of the same (height, width)."""
        change = other - one
        correlation = float(cc(torch.from_numpy(one)[None, None], torch.from_numpy(other)[None, None]))
        return cls(correlation, moved_fraction(one, other), _region_of_max(change), _region_of_max(-change))

    @property
    def words(self) -> str:
        """Two sentences, in Markdown."""
        if self.moved < UNCHANGED:
            return "Both texts give **the same map**."
        change = (
            f"From text 1 to text 2, **{how_much_moves(self.moved)}**: it gains most {self.gained} and loses most "
            f"{self.lost}."
        )
        if math.isnan(self.cc):
            return f"{change} One of the maps is flat, so they have no correlation."
        return f"{change} The two maps correlate with **CC {self.cc:.2f}** (1: the same, 0: unrelated)."


def _region_of_max(gain: Density) -> str:
    """Name of the ninth of the image with the largest value."""
    position = np.unravel_index(int(gain.argmax()), gain.shape)
    row, column = (3 * int(index) // length for index, length in zip(position, gain.shape, strict=True))
    return _REGIONS[row][column]
