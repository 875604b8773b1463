import pytest
import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.blending.grounded import Grounded
from saltext.models.text.base import TextFeatures


def test_a_grounded_blend_starts_as_its_blend_and_learns_from_the_grounding_maps() -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
            return x

    blend, x = Grounded(Same(), channels=6, num_maps=4), torch.randn(1, 6, 8, 10)
    text = TextFeatures(torch.zeros(1, 3), torch.zeros(1, 1, 3), torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ConfigError, match="grounder"):
        blend(x, text)
    text = TextFeatures(text.pooled, text.tokens, text.mask, grounding=torch.rand(1, 4, 4, 5))
    out = blend(x, text)
    assert torch.equal(out, x)
    out.square().sum().backward()
    assert blend.grounding_film.affine.weight.grad is not None
    assert blend.grounding_film.affine.weight.grad.abs().sum() > 0
