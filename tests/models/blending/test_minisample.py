from collections.abc import Callable

import pytest
import torch

from saltext.models.blending.minisample import MiniSample
from saltext.models.text.base import TextFeatures
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL = 1e-6


@pytest.mark.golden
def test_outputs_equal_the_authors_for_the_whole_batch_at_once(
    equals_authors: Callable[..., None], pooled: Callable[..., TextFeatures]
) -> None:
    blend = formula.fill(MiniSample(768, 768, (18, 24)))
    text = pooled(formula.normal(formula.TEXT, (2, 768)))
    with torch.no_grad():
        equals_authors(blend(formula.normal(formula.MIDDLE_FEATURE, (2, 768, 18, 24)), text), "minisample", ATOL)


def test_it_is_linear_in_the_image_feature_and_position_by_position(pooled: Callable[..., TextFeatures]) -> None:
    blend, text = MiniSample(6, 5, (3, 4)), pooled(torch.randn(2, 5))
    factor = blend(torch.ones(2, 6, 5, 7), text)
    x = torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(blend(x, text), x * factor)
    assert factor.std() > 0
