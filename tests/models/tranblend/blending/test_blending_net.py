from pathlib import Path

import numpy as np
import pytest
import torch

from saltext.models.text import TextFeatures
from saltext.models.tranblend import BlendingNet
from saltext.models.tranblend.blending.blending_net import LearnedUpsample
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL_UPSAMPLE, ATOL_CONCAT = 1e-6, 5e-5


def pooled(vectors: torch.Tensor) -> TextFeatures:
    return TextFeatures(vectors, vectors[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))


@pytest.mark.golden
def test_state_dict_is_the_published_one_without_the_cross_attention(golden: Path) -> None:
    published = formula.published_shapes(golden / "keys_tranblend.json", "modules", "FeatureBlendingNetwork")
    own = {name: tuple(value.shape) for name, value in BlendingNet(768, 768, (18, 24)).state_dict().items()}
    assert own == {name: shape for name, shape in published.items() if not name.startswith("cross_attention.")}


@pytest.mark.golden
def test_outputs_equal_the_authors_for_the_whole_batch_at_once(golden: Path) -> None:
    blend = formula.fill(BlendingNet(768, 768, (18, 24)))
    text = formula.normal(formula.TEXT, (2, 768))
    with torch.no_grad():
        got = {
            "blend_upsample": blend.upsample(text),
            "concat": blend(formula.normal(formula.MIDDLE_FEATURE, (2, 768, 18, 24)), pooled(text)),
        }
    with np.load(golden / "tranblend_modules.npz") as wanted:
        for (name, out), atol in zip(got.items(), (ATOL_UPSAMPLE, ATOL_CONCAT), strict=True):
            np.testing.assert_allclose(out[:, ::8].numpy(), wanted[name], rtol=0, atol=atol, err_msg=name)
            flat = out.double().flatten(2)
            stats = torch.stack([flat.mean(2), flat.std(2, correction=0)]).numpy()
            np.testing.assert_allclose(stats, wanted[f"{name}_channel_mean_std"], rtol=0, atol=atol, err_msg=name)


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


def test_any_sizes_fit_together() -> None:
    blend = BlendingNet(channels=6, text_dim=5, grid=(3, 4))
    assert blend(torch.randn(2, 6, 3, 4), pooled(torch.randn(2, 5))).shape == (2, 6, 3, 4)
    assert blend(torch.randn(2, 6, 4, 7), pooled(torch.randn(2, 5))).shape == (2, 6, 4, 7)
