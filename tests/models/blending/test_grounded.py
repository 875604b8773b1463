import pytest
import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.blending.grounded import Grounded
from saltext.models.grounding.class_names import EVIDENCE
from saltext.models.text.base import TextFeatures


def test_a_grounded_blend_starts_as_its_blend_and_learns_from_the_evidence() -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
            return x

    blend, x = Grounded(Same(), channels=6), torch.randn(1, 6, 8, 10)
    text = TextFeatures(torch.zeros(1, 3), torch.zeros(1, 1, 3), torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ConfigError, match="bridge"):
        blend(x, text)
    text = TextFeatures(text.pooled, text.tokens, text.mask, evidence=torch.rand(1, EVIDENCE, 4, 5))
    out = blend(x, text)
    assert torch.equal(out, x)
    out.square().sum().backward()
    assert blend.film.weight.grad is not None
    assert blend.film.weight.grad.abs().sum() > 0
