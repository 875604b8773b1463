"""Scoring at native resolution against what people did, without Lightning or Hydra."""

from saltext.evaluation.reference import Reference

__all__ = ["Reference"]
