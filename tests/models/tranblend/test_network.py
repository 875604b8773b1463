from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from saltext.errors import CheckpointError, ConfigError
from saltext.models.text import TextEncoder, TextFeatures, TinyText
from saltext.models.tranblend import BlendingNet, TokenCrossAttention, TranBlend, UpsampleBlend, load_published
from saltext.models.transalnet import DenseNet161, TimmEncoder, TranSalNet
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL_MAP, ATOL_LOGITS = 1e-5, 4e-5

SIZES = {"hidden": (8, 8, 8), "heads": (2, 2, 2), "channels": (8, 8, 8, 8), "grid": (2, 3), "layers": 1}


class GivenText(TextEncoder):
    """Reads a row number; gives that row of the golden text input."""

    dim = 768

    def forward(self, texts: list[str], images: Tensor | None = None) -> TextFeatures:
        pooled = formula.normal(formula.TEXT, (2, 768))[[int(text) for text in texts]]
        return TextFeatures(pooled, pooled[:, None], torch.ones(len(texts), 1, dtype=torch.bool))


def small(blend: object = TokenCrossAttention, encoder: str = "test_efficientnet") -> TranBlend:
    return TranBlend(TimmEncoder(encoder), TinyText(dim=12), blend, **SIZES)  # type: ignore[arg-type]


@pytest.mark.golden
def test_the_whole_network_loads_published_names_and_gives_the_authors_maps(golden: Path, tmp_path: Path) -> None:
    published = formula.published_shapes(golden / "keys_tranblend.json", "modules", "TranSalNet")
    torch.save(formula.weights(published), tmp_path / "tranblend.pth")
    network = TranBlend(DenseNet161(), GivenText(), BlendingNet).eval()
    load_published(network, tmp_path / "tranblend.pth")
    with torch.no_grad():
        logits = network(formula.image().expand(2, -1, -1, -1), ["0", "1"])
    with np.load(golden / "tranblend_full.npz") as wanted:
        for row in (0, 1):
            ours = logits[row, 0]
            np.testing.assert_allclose(ours, wanted[f"concat_text{row}_logits"], rtol=0, atol=ATOL_LOGITS)
            np.testing.assert_allclose(ours.sigmoid(), wanted[f"concat_text{row}_map"], rtol=0, atol=ATOL_MAP)


@pytest.mark.golden
def test_state_dict_without_the_text_encoder_is_the_published_one(golden: Path) -> None:
    published = formula.published_shapes(golden / "keys_tranblend.json", "modules", "TranSalNet")
    with torch.device("meta"):
        own = TranBlend(DenseNet161(), GivenText(), BlendingNet).state_dict()
    assert {name: tuple(value.shape) for name, value in own.items()} == {
        name: shape for name, shape in published.items() if ".cross_attention." not in name
    }


def test_without_a_blending_module_it_is_transalnet_and_holds_no_text_encoder() -> None:
    network = small(blend=None)
    assert network.text_encoder is None
    plain = TranSalNet(TimmEncoder("test_efficientnet"), **SIZES).eval()
    plain.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(network.eval()(images, ["a", "b"]), plain(images, ["", ""]))


def test_zero_initialised_cross_attention_starts_as_the_network_without_text() -> None:
    network = small().eval()
    plain = small(blend=None).eval()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if "blendnet" not in k and "text_" not in k})
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(network(images, ["a dog", ""]), plain(images, ["a dog", ""]))


def test_a_text_encoder_that_reads_images_gets_them() -> None:
    class Looks(TinyText):
        reads_image = True
        seen: Tensor | None = None

        def forward(self, texts: list[str], images: Tensor | None = None) -> TextFeatures:
            self.seen = images
            return super().forward(texts)

    encoder = Looks(dim=12)
    images = torch.randn(1, 3, 64, 96)
    TranBlend(TimmEncoder("test_efficientnet"), encoder, TokenCrossAttention, **SIZES).eval()(images, ["a"])
    assert encoder.seen is images


def test_a_blending_module_without_a_text_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a text encoder"):
        TranBlend(TimmEncoder("test_efficientnet"), None, BlendingNet, **SIZES)


def test_the_blending_module_is_built_for_the_middle_layer() -> None:
    asked: list[dict[str, object]] = []

    def blend(**sizes: object) -> UpsampleBlend:
        asked.append(sizes)
        return UpsampleBlend(8, 12, (4, 6))

    small(blend)
    assert asked == [{"channels": 8, "text_dim": 12, "grid": (4, 6)}]


@pytest.mark.parametrize("blend", [BlendingNet, TokenCrossAttention, partial(UpsampleBlend, mode="bicubic")])
def test_a_transalnet_checkpoint_fills_all_but_text_and_blending(tmp_path: Path, blend: object) -> None:
    source = TranSalNet(TimmEncoder("test_efficientnet"), **SIZES)
    torch.save(source.state_dict(), tmp_path / "transalnet.pth")
    network = small(blend)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_published(network, tmp_path / "transalnet.pth")
    wanted = source.state_dict()
    for key, value in network.state_dict().items():
        assert torch.equal(value, wanted[key] if key in wanted else before[key]), key


def test_a_checkpoint_on_another_encoder_says_which(tmp_path: Path) -> None:
    state = small().state_dict() | {"encoder.encoder.4.denselayer1.norm1.weight": torch.ones(1)}
    torch.save(state, tmp_path / "dense.pth")
    with pytest.raises(CheckpointError, match=r"TranSalNet-Dense; choose model/encoder=densenet161"):
        load_published(small(encoder="test_resnet"), tmp_path / "dense.pth")
