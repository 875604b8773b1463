from pathlib import Path

import numpy as np
import pytest
import torch

from saltext.models.transalnet.trans_encoder import TransEncoder
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL = 3e-5


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "channels", "hidden", "heads", "grid", "offset", "every"),
    [
        ("te1", 2208, 768, 12, (9, 12), 4, 1),
        ("te2", 2112, 768, 12, (18, 24), 5, 8),
        ("te3", 768, 512, 8, (36, 48), 6, 8),
    ],
)
def test_output_equals_the_authors(
    golden: Path, name: str, channels: int, hidden: int, heads: int, grid: tuple[int, int], offset: int, every: int
) -> None:
    block = formula.fill(TransEncoder(channels, hidden, heads, grid))
    with torch.no_grad():
        out = block(formula.normal(offset, (1, channels, *grid))).numpy()
    with np.load(golden / "transencoder.npz") as wanted:
        np.testing.assert_allclose(out[:, ::every], wanted[name], rtol=0, atol=ATOL)
        means_stds = np.stack([out[0].mean((1, 2)), out[0].std((1, 2))])
        np.testing.assert_allclose(means_stds, wanted[f"{name}_channel_mean_std"], rtol=0, atol=ATOL)


def test_layer_norm_eps_is_the_published_one() -> None:
    # The golden outputs cannot tell 1e-6 from PyTorch's 1e-5 in float32.
    norms = [m for m in TransEncoder(4, 8, 2, (2, 3)).modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 5
    assert {norm.eps for norm in norms} == {1e-6}


def test_any_size_goes_through() -> None:
    block = TransEncoder(4, 8, 2, (2, 3))
    assert block(torch.randn(2, 4, 5, 4)).shape == (2, 8, 5, 4)


def test_where_a_feature_stands_matters() -> None:
    block = TransEncoder(4, 8, 2, (2, 3)).eval()
    x = torch.randn(1, 4, 2, 3)
    assert not torch.allclose(block(x.flip(3)).flip(3), block(x), atol=1e-4)
