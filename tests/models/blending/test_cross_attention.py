from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from saltext.errors import ConfigError
from saltext.models.blending.cross_attention import CrossAttention, PositionAttention
from saltext.models.text.base import TextFeatures
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL = 2e-6


def small() -> CrossAttention:
    """Build one away from its initial values, so that norms are no identities."""
    blend = CrossAttention(channels=16, text_dim=5, grid=(3, 4))
    with torch.no_grad():
        for value in (*blend.parameters(), *(b for b in blend.buffers() if b.is_floating_point())):
            value += 0.3 * torch.rand_like(value)
    return blend.eval()


@pytest.mark.golden
def test_state_dict_is_the_published_one_without_the_convolutions_of_the_other_mode(golden: Path) -> None:
    published = formula.published_shapes(golden / "keys_tranblend.json", "modules", "FeatureBlendingNetwork")
    own = {name: tuple(value.shape) for name, value in CrossAttention(768, 768, (18, 24)).state_dict().items()}
    assert own == {
        name: shape for name, shape in published.items() if name.startswith(("upsample.", "cross_attention."))
    }


@pytest.mark.golden
def test_outputs_equal_the_authors_for_the_whole_batch_at_once(
    equals_authors: Callable[..., None], pooled: Callable[..., TextFeatures]
) -> None:
    blend = formula.fill(CrossAttention(768, 768, (18, 24)))
    text = pooled(formula.normal(formula.TEXT, (2, 768)))
    with torch.no_grad():
        equals_authors(blend(formula.normal(formula.MIDDLE_FEATURE, (2, 768, 18, 24)), text), "cross", ATOL)


def test_attention_by_its_definition() -> None:
    attention = PositionAttention(16).eval()
    asking, asked = torch.randn(1, 16, 2, 3), torch.randn(1, 16, 2, 3)

    def mapped(conv: torch.nn.Conv2d, x: Tensor) -> Tensor:  # a fresh BatchNorm divides by sqrt(1 + 1e-5)
        maps = torch.einsum("oc,chw->ohw", conv.weight[:, :, 0, 0], x[0]) + conv.bias[:, None, None]  # type: ignore[index]
        return (maps / (1 + 1e-5) ** 0.5).flatten(1)

    query = mapped(attention.query_conv, asking)
    key, value = mapped(attention.key_conv, asked), mapped(attention.value_conv, asked)
    out = attention(asking, asked)[0].flatten(1)
    for place in range(6):
        weights = ((query[:, place] @ key) / 2**0.5).softmax(0)  # an eighth of 16 channels are 2
        torch.testing.assert_close(out[:, place], value @ weights)


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_those_of_the_function_for_any_batch_size(batch: int) -> None:
    """Differences do not lie; BatchNorm's backward does, for one image and a transposed gradient."""
    attention = PositionAttention(16).double().train()
    maps = [torch.randn(batch, 16, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(attention, maps)


def test_the_answers_do_not_depend_on_where_the_image_has_what(pooled: Callable[..., TextFeatures]) -> None:
    blend, text = small(), pooled(torch.randn(2, 5))
    x = torch.randn(2, 16, 3, 4)
    torch.testing.assert_close(blend(x.flip(2, 3), text), blend(x, text))
    assert not torch.allclose(blend(-x, text), blend(x, text), atol=1e-3)


def test_any_sizes_fit_together(pooled: Callable[..., TextFeatures]) -> None:
    assert small()(torch.randn(2, 16, 4, 7), pooled(torch.randn(2, 5))).shape == (2, 16, 4, 7)


def test_too_few_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 8 channels, got 7"):
        CrossAttention(7, 5, (3, 4))
