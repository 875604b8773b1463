"""Saliency metrics: exact, named, one score per image. Imports neither Lightning nor Hydra.

The functions need torch and numpy only. The classes are imported when they are first asked for, because torchmetrics
takes several times as long to import as torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saltext.metrics.functional import auc_borji, auc_judd, auc_shuffled, cc, ig, kl, nss, sim, sim_minmax
from saltext.metrics.maps import Fixations, Maps
from saltext.metrics.pool import FixationPool
from saltext.metrics.scores import METRICS, Metric, Targets, check_names, register_metric, score, score_against

if TYPE_CHECKING:
    from saltext.metrics.keyed import (
        CC,
        IG,
        KL,
        NSS,
        SIM,
        AUCBorji,
        AUCJudd,
        AUCShuffled,
        DensityMetric,
        FixationMetric,
        KeyedScores,
        NSSOfMap,
        NSSUnbiased,
        PerImageMetric,
        ScoreTable,
        Top20AUC,
        Top20SAUC,
    )

__all__ = [
    "CC",
    "IG",
    "KL",
    "METRICS",
    "NSS",
    "SIM",
    "AUCBorji",
    "AUCJudd",
    "AUCShuffled",
    "DensityMetric",
    "FixationMetric",
    "FixationPool",
    "Fixations",
    "KeyedScores",
    "Maps",
    "Metric",
    "NSSOfMap",
    "NSSUnbiased",
    "PerImageMetric",
    "ScoreTable",
    "Targets",
    "Top20AUC",
    "Top20SAUC",
    "auc_borji",
    "auc_judd",
    "auc_shuffled",
    "cc",
    "check_names",
    "ig",
    "kl",
    "nss",
    "register_metric",
    "score",
    "score_against",
    "sim",
    "sim_minmax",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("saltext.metrics.keyed"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
