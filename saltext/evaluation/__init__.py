"""Scoring of predictions against human fixations and maps, at native resolution, without Lightning or Hydra."""

from saltext.evaluation.reference import Reference

__all__ = ["Reference"]
