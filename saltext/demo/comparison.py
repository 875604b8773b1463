"""How the maps of one image under two texts differ, in numbers and in words."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from saltext.metrics.functional import cc
from saltext.prediction.model import Density
from saltext.prediction.pictures import UNCHANGED, how_much_moves, moved

_REGIONS = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)


@dataclass(frozen=True)
class Comparison:
    """What a second text changes.

    Attributes:
        cc: Pearson correlation of the maps; NaN where one of them is flat.
        moved: Share of the density that lies elsewhere, 0 to 1.
        gained: Where the largest gain is, in words: one ninth of the image.
        lost: Where the largest loss is, likewise.
    """

    cc: float
    moved: float
    gained: str
    lost: str

    @classmethod
    def of(cls, one: Density, other: Density) -> "Comparison":
        """Compare two densities of the same (height, width)."""
        change = other - one
        return cls(_cc(one, other), moved(one, other), _region_of_max(change), _region_of_max(-change))

    @property
    def words(self) -> str:
        """Two sentences, in Markdown."""
        if self.moved < UNCHANGED:
            return "Both texts give **the same map**."
        said = (
            f"From text 1 to text 2, **{how_much_moves(self.moved)}**: it gains most {self.gained} and loses most "
            f"{self.lost}."
        )
        if math.isnan(self.cc):
            return f"{said} One of the maps is flat, so they have no correlation."
        return f"{said} The two maps correlate with **CC {self.cc:.2f}** (1: the same, 0: unrelated)."


def _cc(one: Density, other: Density) -> float:
    return float(cc(*(torch.from_numpy(density)[None, None] for density in (one, other))))


def _region_of_max(gain: Density) -> str:
    """Where the largest value is."""
    position = np.unravel_index(int(gain.argmax()), gain.shape)
    row, column = (3 * int(where) // length for where, length in zip(position, gain.shape, strict=True))
    return _REGIONS[row][column]
