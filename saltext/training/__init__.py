"""The only Lightning modules."""

from saltext.training.scored import ScoredModule
from saltext.training.supervised import SupervisedModule
from saltext.training.tested import ScoreboardModule

__all__ = ["ScoreboardModule", "ScoredModule", "SupervisedModule"]
