"""The only Lightning modules: what is trained, and how every model is scored."""

from saltext.training.baseline import BaselineModule
from saltext.training.scored import ScoredModule
from saltext.training.supervised import SupervisedModule

__all__ = ["BaselineModule", "ScoredModule", "SupervisedModule"]
