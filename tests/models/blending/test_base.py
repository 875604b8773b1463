"""A blending module is tried when a network is built."""

import re
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.blending.base import Blend, built_blend
from saltext.models.text.base import TextFeatures


class Shrinking(Blend):
    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int], rows: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout()
        self.rows = rows

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        return self.dropout(self.norm(x))[:, :, : self.rows]


def test_a_module_that_gives_another_shape_is_named_with_its_file_and_line() -> None:
    said = r"test_base\.py:\d+: expected Shrinking\.forward to return .* \(1, 6, 3, 4\), got \(1, 6, 2, 4\)"
    with pytest.raises(ConfigError, match=said):
        built_blend(partial(Shrinking, rows=2), 6, 5, (3, 4))


def test_a_module_that_gives_no_tensor_is_named() -> None:
    class Nothing(Blend):
        def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
            return None  # type: ignore[return-value]

    with pytest.raises(ConfigError, match=re.escape("(1, 6, 3, 4), got a NoneType")):
        built_blend(lambda channels, text_dim, grid: Nothing(), 6, 5, (3, 4))


def test_trying_a_module_changes_neither_its_state_nor_the_random_numbers() -> None:
    before = torch.random.get_rng_state()
    built = built_blend(partial(Shrinking, rows=3), 6, 5, (3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert built.training
    assert built.norm.num_batches_tracked == 0
    assert built.norm.running_mean.abs().sum() == 0
