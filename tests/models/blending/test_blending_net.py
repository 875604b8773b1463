from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saltext.models.blending.blending_net import BlendingNet
from saltext.models.text.base import TextFeatures
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL = 5e-5


@pytest.mark.golden
def test_state_dict_is_the_published_one_without_the_cross_attention(golden: Path) -> None:
    published = formula.published_shapes(golden / "keys_tranblend.json", "modules", "FeatureBlendingNetwork")
    own = {name: tuple(value.shape) for name, value in BlendingNet(768, 768, (18, 24)).state_dict().items()}
    assert own == {name: shape for name, shape in published.items() if not name.startswith("cross_attention.")}


@pytest.mark.golden
def test_outputs_equal_the_authors_for_the_whole_batch_at_once(
    equals_authors: Callable[..., None], pooled: Callable[..., TextFeatures]
) -> None:
    blend = formula.fill(BlendingNet(768, 768, (18, 24)))
    text = pooled(formula.normal(formula.TEXT, (2, 768)))
    with torch.no_grad():
        equals_authors(blend(formula.normal(formula.MIDDLE_FEATURE, (2, 768, 18, 24)), text), "concat", ATOL)


def test_any_sizes_fit_together(pooled: Callable[..., TextFeatures]) -> None:
    blend = BlendingNet(channels=6, text_dim=5, grid=(3, 4))
    assert blend(torch.randn(2, 6, 3, 4), pooled(torch.randn(2, 5))).shape == (2, 6, 3, 4)
    assert blend(torch.randn(2, 6, 4, 7), pooled(torch.randn(2, 5))).shape == (2, 6, 4, 7)
