"""Training: all Lightning modules of the package."""

from saltext.training.scored import ScoredModule
from saltext.training.supervised import SupervisedModule
from saltext.training.tested import EvaluatorModule

__all__ = ["EvaluatorModule", "ScoredModule", "SupervisedModule"]
