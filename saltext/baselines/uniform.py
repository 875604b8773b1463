"""Knowing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saltext.baselines.base import Baseline

if TYPE_CHECKING:
    from saltext.data.geometry import Size


class Uniform(Baseline):
    """A constant map: chance in every metric that has one."""

    name = "uniform"
    title = "uniform map"

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """Ones."""
        return torch.ones(len(indices), 1, *size)
