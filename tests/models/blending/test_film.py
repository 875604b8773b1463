from collections.abc import Callable

import torch
from torch import nn

from saltext.models.blending.film import FiLMBlend
from saltext.models.text.base import TextFeatures


def test_it_starts_as_the_identity(pooled: Callable[..., TextFeatures]) -> None:
    x = torch.randn(2, 6, 3, 4)
    assert torch.equal(FiLMBlend(6, 5, (3, 4))(x, pooled(torch.randn(2, 5))), x)


def test_it_leaves_the_identity_at_the_first_step(pooled: Callable[..., TextFeatures]) -> None:
    blend = FiLMBlend(6, 5, (3, 4))
    blend(torch.randn(2, 6, 3, 4), pooled(torch.randn(2, 5))).square().sum().backward()
    assert blend.film.affine.weight.grad is not None
    assert (blend.film.affine.weight.grad.abs().sum(1) > 0).all()


def test_each_channel_gets_one_scale_and_one_shift_from_the_text(pooled: Callable[..., TextFeatures]) -> None:
    blend, text = FiLMBlend(6, 5, (3, 4)), pooled(torch.randn(2, 5))
    nn.init.normal_(blend.film.affine.weight)
    shift = blend(torch.zeros(2, 6, 5, 7), text)
    scale = blend(torch.ones(2, 6, 5, 7), text) - shift
    for map_ in (shift, scale):
        torch.testing.assert_close(map_, map_[..., :1, :1].expand_as(map_))
        assert map_[..., 0, 0].std() > 0.1
    x = torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(blend(x, text), x * scale + shift)
