"""Predictors that set the bar: they see no image."""

from saltext.models.baselines.centre_prior import CentrePrior

__all__ = ["CentrePrior"]
