"""Baselines, scored by the same code as the networks; none sees the image."""

from collections.abc import Mapping
from types import MappingProxyType

from saltext.baselines.base import Baseline
from saltext.baselines.centre_prior import CENTRE_PRIOR, CentrePrior, CentrePriorOfOthers
from saltext.baselines.human import HumanOthers, HumanPure, SplitHalf, SplitViewers
from saltext.baselines.uniform import Uniform

BASELINES: Mapping[str, type[Baseline]] = MappingProxyType(
    {
        baseline.name: baseline
        for baseline in (Uniform, CentrePrior, CentrePriorOfOthers, HumanPure, HumanOthers, SplitHalf)
    }
)
"""Every baseline by its name, in the order of the tables."""

__all__ = [
    "BASELINES",
    "CENTRE_PRIOR",
    "Baseline",
    "CentrePrior",
    "CentrePriorOfOthers",
    "HumanOthers",
    "HumanPure",
    "SplitHalf",
    "SplitViewers",
    "Uniform",
]
