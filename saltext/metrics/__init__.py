"""Saliency metrics: exact, named, one score per image. Imports neither Lightning nor Hydra."""

from saltext.metrics.functional import auc_borji, auc_judd, auc_shuffled, cc, ig, kl, nss, sim, sim_minmax
from saltext.metrics.keyed import (
    CC,
    IG,
    KL,
    NSS,
    SIM,
    AUCBorji,
    AUCJudd,
    AUCShuffled,
    KeyedScores,
    NSSOfMap,
    NSSUnbiased,
    PerImageMetric,
    ScoreTable,
    Top20AUC,
    Top20SAUC,
)
from saltext.metrics.maps import Fixations, Maps
from saltext.metrics.pool import FixationPool
from saltext.metrics.scores import METRICS, Metric, check_names, score

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
    "FixationPool",
    "Fixations",
    "KeyedScores",
    "Maps",
    "Metric",
    "NSSOfMap",
    "NSSUnbiased",
    "PerImageMetric",
    "ScoreTable",
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
    "score",
    "sim",
    "sim_minmax",
]
