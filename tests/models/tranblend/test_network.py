import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey, ImageSource
from saltext.errors import CheckpointError, ConfigError
from saltext.models.blending import cross_attention
from saltext.models.blending.base import Blend
from saltext.models.blending.blending_net import BlendingNet
from saltext.models.blending.cross_attention import CrossAttention
from saltext.models.blending.film import FiLMBlend
from saltext.models.blending.mask_encoder import MaskEncoder
from saltext.models.blending.minisample import MiniSample
from saltext.models.blending.token_cross_attention import TokenCrossAttention
from saltext.models.blending.upsample import UpsampleBlend
from saltext.models.feature_cache import FeatureCache, addressed
from saltext.models.grounding.class_names import ClassNameGrounder
from saltext.models.image.staged import DenseNet161
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.text.tiny import TinyText
from saltext.models.tranblend.network import TranBlend, load_published
from saltext.models.transalnet.network import TranSalNet
from tests.models.transalnet.training_step import gradient_norm, loss_terms
from tests.models.zero_weights import ZeroWeights
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL_MAP, ATOL_LOGITS = 1e-5, 4e-5

SIZES = {"hidden": (8, 8, 8), "heads": (2, 2, 2), "channels": (8, 8, 8, 8), "grid": (2, 3), "layers": 1}


class GivenText(TextEncoder):
    """Reads a row number; gives that row of the golden text input."""

    dim = 768

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, texts: list[str], images: Tensor | None = None) -> TextFeatures:
        pooled = formula.normal(formula.TEXT, (2, 768))[[int(text) for text in texts]].to(self.dtype)
        return TextFeatures(pooled, pooled[:, None], torch.ones(len(texts), 1, dtype=torch.bool))


def small(blend: object = TokenCrossAttention, encoder: str = "test_efficientnet") -> TranBlend:
    return TranBlend(TimmEncoder(encoder), TinyText(dim=12), blend, **SIZES)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def published(golden: Path) -> dict[str, Tensor]:
    """The authors' state dict, with the up-sampling that their third mode keeps outside the network; not to change."""
    state = formula.weights(formula.published_shapes(golden / "keys_tranblend.json", "modules", "TranSalNet"))
    outside = {
        f"miniUpsamplingNetwork.upsample.{last}": shape for last, shape in (("weight", (1, 1, 18, 24)), ("bias", (1,)))
    }
    return state | {f"decoder.blendnet.{name}": value for name, value in formula.weights(outside).items()}


def test_a_network_gains_nothing_in_its_first_pass() -> None:
    encoder = TimmEncoder("test_efficientnet")
    grounder = ClassNameGrounder(nn.Conv2d(encoder.channels[2], 3, 1), ("dog", "lamp", "boat"))
    some = TranBlend(encoder, TinyText(dim=12), TokenCrossAttention, grounder, **SIZES)  # type: ignore[arg-type]
    before = [name for name, _ in some.named_buffers()]
    some(torch.randn(2, 3, 64, 96), ["a dog", ""])
    assert [name for name, _ in some.named_buffers()] == before


@pytest.mark.golden
@pytest.mark.parametrize(("mode", "blend"), [("concat", BlendingNet), ("cross", CrossAttention)])
def test_the_whole_network_loads_published_names_and_gives_the_authors_maps(
    golden: Path, published: dict[str, Tensor], tmp_path: Path, mode: str, blend: type[Blend]
) -> None:
    state = {name: value for name, value in published.items() if "miniUpsampling" not in name}
    torch.save(state, tmp_path / "tranblend.pth")
    with ZeroWeights():
        network = TranBlend(DenseNet161(), GivenText(), blend).eval()
    load_published(network, tmp_path / "tranblend.pth")
    gives_the_authors_maps(network, golden, mode)


@pytest.mark.golden
def test_the_mode_the_authors_could_not_reach_gives_their_maps_too(golden: Path, published: dict[str, Tensor]) -> None:
    with ZeroWeights():
        network = TranBlend(DenseNet161(), GivenText(), MiniSample).eval()
    network.load_state_dict({name: published[name] for name in network.state_dict()})
    gives_the_authors_maps(network, golden, "minisample")


def gives_the_authors_maps(network: TranBlend, golden: Path, mode: str) -> None:
    with torch.no_grad():
        logits = network(formula.image().expand(2, -1, -1, -1), ["0", "1"])
    with np.load(golden / "tranblend_full.npz") as wanted:
        for row in (0, 1):
            ours = logits[row, 0]
            np.testing.assert_allclose(ours, wanted[f"{mode}_text{row}_logits"], rtol=0, atol=ATOL_LOGITS)
            np.testing.assert_allclose(ours.sigmoid(), wanted[f"{mode}_text{row}_map"], rtol=0, atol=ATOL_MAP)


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize(("mode", "blend"), [("concat", BlendingNet), ("cross", CrossAttention)])
def test_a_training_step_in_float64_equals_the_authors(
    golden: Path, published: dict[str, Tensor], mode: str, blend: type[Blend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_attention, "_positions", positions_as_the_authors)
    wanted = json.loads((golden / "train_step_float64.json").read_text())[f"tranblend_{mode}_loop2"]
    with ZeroWeights():
        network = TranBlend(DenseNet161(), GivenText(torch.float64), blend)
    network.load_state_dict({name: published[name] for name in network.state_dict()})
    network.double().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=wanted["lr"])

    total = torch.zeros((), dtype=torch.float64)
    for row, expected in enumerate(wanted["per_image"]):  # one by one: their BatchNorm sees one image at a time
        saliency = network(formula.image(2)[row : row + 1].double(), [str(row)]).sigmoid()
        truth = formula.uniform(formula.MAP, (2, 1, 288, 384))[row : row + 1].double()
        fixated = formula.uniform(formula.FIXATIONS, (2, 1, 288, 384))[row : row + 1] > 0.995
        terms = loss_terms(saliency, truth, fixated.double())
        loss = -2 * terms["cc"] - terms["sim"] + 10 * terms["kldiv"] - terms["nss"] + 4 * terms["mse"]
        got = {name: term.item() for name, term in terms.items()} | {"weighted": loss.item()}
        assert got == pytest.approx(expected, rel=1e-8)
        total = total + loss
    total.backward()

    # Their module also holds the parameters of the mode that does not run; ours does not.
    held = {name for name, _ in network.named_modules()}
    norms = {name: gradient_norm(network.get_submodule(name)) for name in wanted["grad_l2"]}
    assert norms == pytest.approx(wanted["grad_l2"], rel=1e-8)
    for name, sums in wanted["bn_after_forwards"].items():
        if name in held:
            norm = network.get_submodule(name)
            assert norm.running_mean.sum().item() == pytest.approx(sums["sum_running_mean"], rel=1e-8)
            assert norm.running_var.sum().item() == pytest.approx(sums["sum_running_var"], rel=1e-8)
            assert norm.num_batches_tracked.item() == sums["num_batches_tracked"]
        else:
            assert sums["num_batches_tracked"] == 0
    optimizer.step()
    stepped = {
        name: value for name, value in wanted["param_sums_after_step"].items() if name.rpartition(".")[0] in held
    }
    assert {name: network.get_parameter(name).sum().item() for name in stepped} == pytest.approx(stepped, rel=1e-8)
    assert len(stepped) >= 6


def positions_as_the_authors(feature: Tensor) -> Tensor:
    """Lay queries and keys out as plain views, which gives the golden step the wrong gradients of its query side.

    See ContiguousGradient. A PyTorch that computes them right fails the golden step by the norm of `decoder.blendnet`.
    """
    safe = feature if feature.shape[1] == 96 else cross_attention.ContiguousGradient.apply(feature)
    return safe.flatten(2).transpose(1, 2).unsqueeze(1)


@pytest.mark.golden
def test_state_dict_without_the_text_encoder_is_the_published_one(golden: Path) -> None:
    shapes = formula.published_shapes(golden / "keys_tranblend.json", "modules", "TranSalNet")
    with torch.device("meta"), ZeroWeights():
        own = TranBlend(DenseNet161(), GivenText(), BlendingNet).state_dict()
    assert {name: tuple(value.shape) for name, value in own.items()} == {
        name: shape for name, shape in shapes.items() if ".cross_attention." not in name
    }


def test_without_a_blending_module_it_is_transalnet_and_holds_no_text_encoder() -> None:
    network = small(blend=None)
    assert network.text_encoder is None
    plain = TranSalNet(TimmEncoder("test_efficientnet"), **SIZES).eval()
    plain.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(network.eval()(images, ["a", "b"]), plain(images, ["", ""]))


STARTS_AS_IDENTITY = [TokenCrossAttention, MaskEncoder, FiLMBlend]


@pytest.mark.parametrize("blend", STARTS_AS_IDENTITY)
def test_a_blend_that_claims_it_starts_as_the_network_without_text(blend: type[Blend]) -> None:
    assert blend.starts_as_identity
    network = small(blend).eval()
    plain = small(blend=None).eval()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if "blendnet" not in k and "text_" not in k})
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(network(images, ["a dog", ""]), plain(images, ["a dog", ""]))


@pytest.mark.parametrize("blend", [BlendingNet, CrossAttention, MiniSample, UpsampleBlend])
def test_the_others_do_not_claim_it(blend: type[Blend]) -> None:
    assert not blend.starts_as_identity


def test_optimizers_number_parameters_in_the_order_of_the_data() -> None:
    parts = [name.split(".")[0] for name, _ in small().named_parameters()]
    assert list(dict.fromkeys(parts)) == ["encoder", "text_encoder", "decoder"]


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


def _step(network: TranBlend, images: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    network(images, ["a red dog", ""]).square().mean().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


KEYS = [ImageKey(ImageSource("two", 2), row) for row in range(2)]


def test_a_cached_encoder_changes_neither_logits_nor_gradients(tmp_path: Path) -> None:
    network = TranBlend(TimmEncoder("test_efficientnet", frozen=True), TinyText(dim=12), FiLMBlend, **SIZES).train()
    images, cache = torch.randn(2, 3, 64, 96), FeatureCache(tmp_path)
    expected_logits, expected = network(images, ["a red dog", ""]), _step(network, images)
    for _ in range(2):  # the first fills the cache, the second reads it
        with addressed(cache, images, KEYS, nn.Identity()):
            assert torch.equal(network(images, ["a red dog", ""]), expected_logits)
            found = _step(network, images)
        assert found.keys() == expected.keys()
        assert all(torch.equal(gradient, expected[name]) for name, gradient in found.items())
    assert len(cache) == 2


def test_an_encoder_that_trains_is_never_cached(tmp_path: Path) -> None:
    network, images, cache = small().eval(), torch.randn(2, 3, 64, 96), FeatureCache(tmp_path)
    with torch.no_grad(), addressed(cache, images, KEYS, nn.Identity()):
        network(images, ["a", "b"])
    assert len(cache) == 0
