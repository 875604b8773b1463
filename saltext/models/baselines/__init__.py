"""Predictors that set the bar: they see no image."""

from saltext.models.baselines.centre_prior import CENTRE_PRIOR, CentrePrior

__all__ = ["CENTRE_PRIOR", "CentrePrior"]
