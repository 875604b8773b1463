from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from saltext.models.blending.learned_upsample import LearnedUpsample, spread_over
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL = 1e-6


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("blend_upsample", "upsample.upsample"), ("minisample_upsample", "miniUpsamplingNetwork.upsample")],
)
def test_outputs_equal_the_authors(equals_authors: Callable[..., None], name: str, parameters: str) -> None:
    upsample = LearnedUpsample((18, 24))
    published = formula.weights({f"{parameters}.weight": (1, 1, 18, 24), f"{parameters}.bias": (1,)})
    upsample.load_state_dict({f"upsample.{key.rpartition('.')[2]}": value for key, value in published.items()})
    with torch.no_grad():
        equals_authors(upsample(formula.normal(formula.TEXT, (2, 768))), name, ATOL)


def test_upsampling_by_its_closed_form() -> None:
    channels, rows, columns = 7, 3, 4
    upsample = LearnedUpsample((rows, columns))
    vector = torch.randn(2, channels)
    weight, bias = upsample.upsample.weight[0, 0], upsample.upsample.bias
    out = upsample(vector)
    for k in range(channels):
        for p in range(rows):
            wanted = vector[:, (rows * k + p) % channels, None] * weight[(rows * k + p) // channels] + bias
            torch.testing.assert_close(out[:, k, p], wanted)


def test_at_another_size_the_nearest_value_is_taken_and_at_the_same_nothing_changes() -> None:
    stretched = torch.arange(4.0).view(1, 1, 2, 2)
    wanted = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]])
    assert torch.equal(spread_over(torch.empty(1, 5, 4, 4), stretched)[0, 0], wanted)
    x: Tensor = torch.empty(1, 5, 2, 2)
    assert torch.equal(spread_over(x, stretched), stretched)
