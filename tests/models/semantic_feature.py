"""The semantic map of the stub grounders."""

from torch import Tensor

from saltext.models.grounding.base import Grounder
from saltext.models.text.base import TextEncoder


class SemanticFeature(Grounder):
    """Base of grounders whose features, of three channels, are their semantic map, if they have one."""

    def __init__(self, has_semantic: bool = True) -> None:
        super().__init__()
        self.has_semantic = has_semantic

    def semantic_dim(self, encoder: TextEncoder) -> int:
        return 3 if self.has_semantic else 0

    def semantic_map(self, activations: Tensor, encoder: TextEncoder) -> Tensor:
        return activations
