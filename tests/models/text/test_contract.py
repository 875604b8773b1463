"""What every text encoder promises."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from saltext.models.freezing import freeze
from saltext.models.packaged_weights import MINILM
from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.text.siglip import SigLIP
from saltext.models.text.tiny import TinyText
from tests.models import tiny_pretrained
from tests.models.zero_weights import ZeroWeights

TEXTS = ["", "a red dog", "a cat runs on the grass, and the dog is running", "zyzzyva 😀 ünïcödé !", "!"]
LONG = "word " * 500

Build = Callable[[], TextEncoder]
NAMES = [
    "tiny",
    "minilm",
    "minilm-trains",
    "blip",
    "blip-cls",
    "blip-half",
    "blip-frozen",
    "clip",
    "clip-trains",
    "siglip",
]
each_encoder = pytest.mark.parametrize("build", NAMES, indirect=True)


@pytest.fixture
def build(
    request: pytest.FixtureRequest,
    tiny_blip: Callable[..., TextEncoder],
    tiny_clip: Callable[..., TextEncoder],
    tmp_path: Path,
) -> Build:
    name: str = request.param
    if name.startswith("minilm") and find_spec(MINILM.module) is None:
        pytest.skip("the extra `embedded` is not installed")

    def minilm(frozen: bool) -> TextEncoder:
        from saltext.models.text.minilm import MiniLM

        with ZeroWeights():
            return MiniLM(frozen=frozen).eval()

    def half_frozen() -> TextEncoder:
        encoder = tiny_blip()
        for part in (encoder.text_embeddings, encoder.text_layers[0], encoder.vision_embeddings):
            freeze(part)
        for block in encoder.vision_blocks[:2]:
            freeze(block)
        return encoder

    siglip = tiny_pretrained.siglip(tmp_path / "siglip") if name == "siglip" else tmp_path
    builders: dict[str, Build] = {
        "tiny": lambda: TinyText(dim=12).eval(),
        "minilm": lambda: minilm(frozen=True),
        "minilm-trains": lambda: minilm(frozen=False),
        "blip": tiny_blip,
        "blip-cls": lambda: tiny_blip(start="cls"),
        "blip-half": half_frozen,
        "blip-frozen": lambda: tiny_blip(frozen=True),
        "clip": tiny_clip,
        "clip-trains": lambda: tiny_clip(frozen=False),
        "siglip": lambda: SigLIP(siglip).eval(),
    }
    return builders[name]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(len(TEXTS), 3, 48, 64)


def real_tokens(features: TextFeatures, row: int) -> Tensor:
    return features.tokens[row][features.mask[row]]


@each_encoder
def test_features_have_the_promised_shapes_whatever_the_texts(build: Build, images: Tensor) -> None:
    encoder = build()
    features = encoder(TEXTS, images)
    longest = int(features.mask.sum(1).max())
    assert features.pooled.shape == (len(TEXTS), encoder.dim)
    assert features.tokens.shape == (len(TEXTS), longest, encoder.dim)
    assert features.mask.shape == (len(TEXTS), longest)
    assert features.mask.dtype == torch.bool
    assert features.mask[:, 0].all()
    assert features.pooled.dtype == features.tokens.dtype == torch.float32
    assert features.pooled.isfinite().all()
    assert features.tokens[features.mask].isfinite().all()
    assert features.saw_image == encoder.reads_image
    if encoder.unit_length:
        torch.testing.assert_close(features.pooled.norm(dim=1), torch.ones(len(TEXTS)))


@each_encoder
def test_real_tokens_come_before_padding_and_longer_texts_have_more(build: Build, images: Tensor) -> None:
    mask = build()(TEXTS, images).mask
    assert torch.equal(mask, mask.sort(dim=1, descending=True, stable=True).values)
    assert mask[0].sum() < mask[1].sum() < mask[2].sum()


@each_encoder
def test_a_text_s_features_do_not_depend_on_its_batch_mates(build: Build, images: Tensor) -> None:
    encoder, fresh = build(), build()
    fresh.load_state_dict(encoder.state_dict())
    together = encoder(TEXTS, images)
    for row, text in enumerate(TEXTS):
        alone = fresh([text], images[row : row + 1])
        torch.testing.assert_close(alone.pooled[0], together.pooled[row], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(real_tokens(alone, 0), real_tokens(together, row), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", ["minilm", "clip"], indirect=True)
def test_fast_inference_gives_a_text_the_same_features_in_any_company(build: Build) -> None:
    reference, crowded, lonely = freeze(build()), freeze(build()), freeze(build())
    for encoder in (crowded, lonely):
        encoder.load_state_dict(reference.state_dict())
        encoder.inference = "fp32"
    together = crowded([*TEXTS, LONG, "two dogs", "one cat"])
    for row, text in enumerate(TEXTS):
        alone = lonely([text])
        assert alone.tokens.shape[1] == lonely.token_counts([text])[0]
        assert torch.equal(together.pooled[row], alone.pooled[0])
        assert torch.equal(real_tokens(together, row), real_tokens(alone, 0))
        torch.testing.assert_close(alone.tokens, reference([text]).tokens, rtol=1e-5, atol=1e-5)


@each_encoder
def test_eval_mode_is_deterministic(build: Build, images: Tensor) -> None:
    encoder = build()
    one, two = encoder(TEXTS, images), encoder(TEXTS, images)
    assert torch.equal(one.pooled, two.pooled)
    assert torch.equal(one.tokens, two.tokens)


@each_encoder
def test_what_a_too_long_text_has_more_is_not_read(build: Build, images: Tensor) -> None:
    encoder = build()
    features = encoder([LONG, LONG + " red dog"], images[:1].expand(2, -1, -1, -1))
    assert torch.equal(features.pooled[0], features.pooled[1])


@each_encoder
def test_every_text_has_features_of_its_own(build: Build, images: Tensor) -> None:
    # Words outside a tiny vocabulary look alike; the last two are such.
    pooled = build()(TEXTS[:3], images[:1].expand(3, -1, -1, -1)).pooled
    assert torch.pdist(pooled).min() > 1e-3


@each_encoder
def test_the_image_matters_exactly_where_it_is_claimed(build: Build, images: Tensor) -> None:
    encoder = build()
    one, other = encoder(["a red dog"], images[:1]), encoder(["a red dog"], images[1:2])
    if encoder.reads_image:
        assert (one.pooled - other.pooled).abs().max() > 1e-3
    else:
        assert torch.equal(one.pooled, other.pooled)
        assert torch.equal(encoder(["a red dog"]).pooled, one.pooled)


@each_encoder
def test_gradients_reach_exactly_the_unfrozen_parameters(build: Build, images: Tensor) -> None:
    encoder = build().train()
    features = encoder(TEXTS, images)
    loss = features.pooled.square().sum() + features.tokens[features.mask].square().sum()
    wanted = {key for key, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert loss.requires_grad == bool(wanted)
    if wanted:
        loss.backward()
    assert {key for key, parameter in encoder.named_parameters() if parameter.grad is not None} == wanted


@each_encoder
def test_frozen_parts_stay_in_evaluation_mode(build: Build) -> None:
    encoder = build().train()
    trains = {key.rpartition(".")[0] for key, parameter in encoder.named_parameters() if parameter.requires_grad}
    holds = {key.rpartition(".")[0] for key, _ in encoder.named_parameters()} - trains
    modes = {key: module.training for key, module in encoder.named_modules()}
    assert all(modes[key] for key in trains)
    assert not any(modes[key] for key in holds)


@each_encoder
def test_the_state_dict_restores_the_encoder(build: Build, images: Tensor) -> None:
    encoder, other = build(), build()
    other(TEXTS, images)  # Cached features of the old weights must not survive.
    other.load_state_dict(encoder.state_dict(), strict=True)
    assert torch.equal(other(TEXTS, images).pooled, encoder(TEXTS, images).pooled)


@each_encoder
def test_features_follow_the_parameters_type(build: Build, images: Tensor) -> None:
    encoder = build()
    single = encoder(TEXTS, images).pooled
    double = encoder.double()(TEXTS, images.double())
    assert double.pooled.dtype == double.tokens.dtype == torch.float64
    torch.testing.assert_close(double.pooled, single.double(), rtol=1e-4, atol=1e-5)


@each_encoder
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_features_follow_the_parameters_device(build: Build, images: Tensor) -> None:
    encoder = build()
    here = encoder(TEXTS, images)
    there = encoder.to("cuda")(TEXTS, images.to("cuda"))
    assert {there.pooled.device.type, there.tokens.device.type, there.mask.device.type} == {"cuda"}
    torch.testing.assert_close(there.pooled.cpu(), here.pooled, rtol=1e-3, atol=1e-4)


@each_encoder
def test_features_made_without_gradient_can_be_trained_on_later(build: Build, images: Tensor) -> None:
    encoder = build()
    with torch.inference_mode():
        encoder(TEXTS, images)
    head = nn.Linear(encoder.dim, 1)
    head(encoder(TEXTS, images).pooled).sum().backward()
    assert head.weight.grad is not None


@each_encoder
def test_layers_are_listed_in_the_order_the_data_passes_them(build: Build, images: Tensor) -> None:
    encoder = build()
    passed: list[nn.Module] = []
    for layer in [*encoder.text_layers, *encoder.vision_blocks]:
        layer.register_forward_hook(lambda module, *_: passed.append(module))
    encoder(["a dog"], images[:1])
    # A text is read in view of its image, which therefore passes first.
    assert passed == [*encoder.vision_blocks, *encoder.text_layers]
    assert bool(encoder.vision_blocks) == encoder.reads_image


@each_encoder
def test_listed_parts_are_the_encoder_s_own_and_share_nothing(build: Build) -> None:
    encoder = build()
    parts = [encoder.text_embeddings, *encoder.text_layers, encoder.vision_embeddings, *encoder.vision_blocks]
    listed = [id(parameter) for part in parts for parameter in part.parameters()]
    own = {id(parameter): key for key, parameter in encoder.named_parameters()}
    assert len(set(listed)) == len(listed)
    assert set(listed) <= own.keys()
    rest = {key.split(".")[-2] for identity, key in own.items() if identity not in listed}
    assert rest <= {"norm", "post_layernorm", "ln_final", "text_projection", "model"}, (
        rest
    )  # what follows the last layer
    before = encoder.state_dict().keys()
    freeze(encoder.text_embeddings)
    assert encoder.state_dict().keys() == before
