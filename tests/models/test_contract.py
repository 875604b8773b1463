"""What every network promises, whichever its parts."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
import yaml
from hydra.utils import instantiate
from torch import Tensor, nn

from saltext.models.blending.blending_net import BlendingNet
from saltext.models.blending.concat import Concat
from saltext.models.blending.film import FiLMBlend
from saltext.models.blending.inner_product import InnerProduct
from saltext.models.blending.token_cross_attention import TokenCrossAttention
from saltext.models.clip_salgan.pyramid import PyramidGenerator
from saltext.models.clip_salgan.small import SmallGenerator
from saltext.models.grounded_gaze.backbone import Backbone
from saltext.models.grounded_gaze.network import GroundedGaze
from saltext.models.grounding.class_names import ClassNameGrounder
from saltext.models.grounding.clip_dense import ClipDenseGrounder
from saltext.models.grounding.clipseg import ClipSegGrounder
from saltext.models.grounding.detections import DetectionGrounder
from saltext.models.grounding.grounding_dino import GroundingDinoGrounder
from saltext.models.grounding.nanodet import NanoDet
from saltext.models.grounding.owlv2 import Owlv2Grounder
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.image.vit import VitEncoder
from saltext.models.network import SaliencyNetwork
from saltext.models.text.base import TextFeatures
from saltext.models.text.tiny import TinyText
from saltext.models.tranblend.network import TranBlend
from saltext.models.transalnet.fix_rates import FixRates
from saltext.models.transalnet.network import TranSalNet
from saltext.runs.composition import config_folder
from tests.models import tiny_pretrained

SIZES = {"hidden": (16, 16, 8), "heads": (2, 2, 2), "channels": (16, 8, 8, 4), "grid": (2, 3), "layers": 1}
GAZE_SIZES = {"width": 16, "layers": 1, "heads": 2, "grid": (2, 3)}
TEXTS = ["", "a red circle", "the small blue square left of the big green star, and a dog", "the dog"]
TASKS = ["pure", "whole", "pure", "whole"]


def tranblend(
    blend: Callable[..., nn.Module] | None, frozen: bool = False, freeze: FixRates | None = None
) -> TranBlend:
    encoder = TimmEncoder("test_efficientnet", frozen=frozen)
    return TranBlend(encoder, TinyText(dim=12), blend, freeze=freeze, **SIZES)


def pyramid(blend: Callable[..., nn.Module] | None, frozen: bool = False) -> PyramidGenerator:
    encoder = TimmEncoder("test_efficientnet", frozen=frozen)
    return PyramidGenerator(encoder, TinyText(dim=12), blend, channels=(16, 16, 8, 4), grid=(4, 6))


def grounded_gaze(text: bool = True, grounder: bool = True, frozen: bool = False) -> GroundedGaze:
    encoder = TimmEncoder("test_efficientnet", frozen=frozen)
    head = nn.Conv2d(encoder.channels[2], 3, 1)  # of a known classifier, which is why state dicts leave it out
    nn.init.eye_(head.weight.data[:, :, 0, 0])
    nn.init.zeros_(head.bias.data)
    names = ClassNameGrounder(head, ["dog", "star", "circle"]) if grounder else None
    return GroundedGaze(
        {"one": Backbone(encoder, names)},
        TinyText(dim=12) if text else None,
        ["pure", "whole"],
        **GAZE_SIZES,
    )


def grounded_gaze_by_vit_and_detections() -> GroundedGaze:
    torch.manual_seed(0)  # the detector's weights come from elsewhere, so that state dicts leave them out
    detector = NanoDet()
    return GroundedGaze(
        {
            "classifier": Backbone(TimmEncoder("test_efficientnet", frozen=True)),
            "vit": Backbone(VitEncoder("test_vit", frozen=True)),
        },
        TinyText(dim=12),
        ["pure", "whole"],
        **GAZE_SIZES,
        grounders={"detections": DetectionGrounder(detector)},
    )


ALIGNED: dict[str, Callable[[Path], Any]] = {
    "clipseg": lambda folder: ClipSegGrounder(tiny_pretrained.clipseg(folder)),
    "owlv2": lambda folder: Owlv2Grounder(tiny_pretrained.owlv2(folder)),
    "grounding_dino": lambda folder: GroundingDinoGrounder(tiny_pretrained.grounding_dino(folder)),
    "clip_dense": lambda folder: ClipDenseGrounder(tiny_pretrained.CLIP, tiny_pretrained.clip(folder), image_size=32),
}


@cache
def aligned_grounder(name: str) -> Any:
    """A grounder whose weights come from elsewhere: the same in each network, read once."""
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        return ALIGNED[name](Path(folder) / name)


def grounded_gaze_aligned(name: str) -> GroundedGaze:
    return GroundedGaze(
        {"one": Backbone(TimmEncoder("test_efficientnet", frozen=True))},
        TinyText(dim=12),
        ["pure", "whole"],
        **GAZE_SIZES,
        grounders={name: aligned_grounder(name)},
    )


def blends() -> dict[str, Callable[..., nn.Module]]:
    """Every blending module that a file of ``conf/`` names, by the file's name."""
    files = sorted((config_folder() / "model" / "blend").glob("*.yaml"))
    nodes = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")).get("blend") for file in files}
    return {name: instantiate(node) for name, node in nodes.items() if node is not None}


NETWORKS: dict[str, Callable[[], SaliencyNetwork]] = {
    "transalnet": lambda: TranSalNet(TimmEncoder("test_efficientnet"), **SIZES),
    "no-blend": lambda: tranblend(None),
    **{f"blend={name}": partial(tranblend, blend) for name, blend in blends().items()},
    "token-cross-attention-frozen": lambda: tranblend(TokenCrossAttention, frozen=True),
    "blending-net-half-fixed": lambda: tranblend(BlendingNet, freeze=FixRates(encoder=0.5, decoder=0.5)),
    "small-concat": lambda: SmallGenerator(TinyText(dim=12), Concat, width=4),
    "small-inner-product": lambda: SmallGenerator(TinyText(dim=12), InnerProduct, width=4),
    "small-film": lambda: SmallGenerator(TinyText(dim=12), FiLMBlend, width=4),
    "small-none": lambda: SmallGenerator(TinyText(dim=12), None, width=4),
    "pyramid-token-cross-attention": lambda: pyramid(TokenCrossAttention),
    "pyramid-inner-product-frozen": lambda: pyramid(InnerProduct, frozen=True),
    "pyramid-none": lambda: pyramid(None),
    "grounded-gaze": grounded_gaze,
    "grounded-gaze-frozen": lambda: grounded_gaze(frozen=True),
    "grounded-gaze-no-grounder": lambda: grounded_gaze(grounder=False),
    "grounded-gaze-vit-and-detections": grounded_gaze_by_vit_and_detections,
    **{f"grounded-gaze-{name}": partial(grounded_gaze_aligned, name) for name in ALIGNED},
    "grounded-gaze-no-text": lambda: grounded_gaze(text=False),
}
IGNORE_TEXT = {"transalnet", "no-blend", "small-none", "pyramid-none", "grounded-gaze-no-text"}
each_network = pytest.mark.parametrize("name", NETWORKS)


def build(key: str) -> SaliencyNetwork:
    """Build a network away from its initial values, so that nothing is the identity by construction."""
    network = NETWORKS[key]()
    own = network.state_dict()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in own:  # what comes from elsewhere stays as it is
                parameter += 0.05 * torch.randn_like(parameter)
    return network.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 64, 96)


@each_network
@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
def test_logits_are_finite_and_of_the_promised_shape(name: str, size: tuple[int, int]) -> None:
    network = build(name)
    logits = network(torch.randn(4, 3, *size), TEXTS, TASKS)
    rounded = [-(-side // 8) * 8 // network.output_stride for side in size]
    assert list(logits.shape) == [4, 1, *rounded]
    assert logits.isfinite().all()


@each_network
def test_eval_mode_is_deterministic(name: str, images: Tensor) -> None:
    network = build(name)
    assert torch.equal(network(images, TEXTS, TASKS), network(images, TEXTS, TASKS))


@each_network
def test_a_map_does_not_depend_on_its_batch_mates(name: str, images: Tensor) -> None:
    network = build(name)
    together = network(images, TEXTS, TASKS)
    for row, (text, task) in enumerate(zip(TEXTS, TASKS, strict=True)):
        alone = network(images[row : row + 1], [text], [task])
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


@each_network
def test_the_text_changes_the_map_exactly_where_claimed(name: str, images: Tensor) -> None:
    network = build(name)
    one, other = network(images, ["a red circle"] * 4, TASKS), network(images, [""] * 4, TASKS)
    if name in IGNORE_TEXT:
        assert torch.equal(one, other)
    else:
        # Rounding is of order 1e-8; the paper's cross attention, nearly fresh and small, moves logits by 2e-5.
        assert ((one - other).abs().amax(dim=(1, 2, 3)) > 1e-5).all()


@pytest.mark.parametrize("name", blends())
def test_a_blending_module_keeps_the_shape_and_is_the_identity_at_first_where_it_says_so(name: str) -> None:
    torch.manual_seed(0)
    blend = blends()[name](channels=16, text_dim=12, grid=(4, 6)).eval()
    x = torch.randn(2, 16, 4, 6).relu()
    text = TextFeatures(torch.randn(2, 12), torch.randn(2, 3, 12), torch.ones(2, 3, dtype=torch.bool))
    y = blend(x, text)
    assert y.shape == x.shape
    if getattr(blend, "starts_as_identity", False):
        torch.testing.assert_close(y, x, rtol=0, atol=1e-6)


@each_network
def test_gradients_reach_exactly_the_unfrozen_parameters(name: str, images: Tensor) -> None:
    network = build(name).train()
    network(images, TEXTS, TASKS).square().sum().backward()
    reached = {key for key, parameter in network.named_parameters() if parameter.grad is not None}
    assert reached == {key for key, parameter in network.named_parameters() if parameter.requires_grad}


def test_a_frozen_encoder_does_not_move_in_training(images: Tensor) -> None:
    network = build("token-cross-attention-frozen").train()
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    network(images, TEXTS, TASKS).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in network.encoder.state_dict().items())


@each_network
def test_the_state_dict_carries_the_whole_network(name: str, images: Tensor) -> None:
    network, other = build(name), NETWORKS[name]().eval()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(images, TEXTS, TASKS), network(images, TEXTS, TASKS))


@each_network
def test_every_wrong_input_is_named_at_once(name: str) -> None:
    network = build(name)
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), got \(2, 4, 64, 96\).*3 texts"):
        network(torch.randn(2, 4, 64, 96), ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"at least 32x32 pixels, got 16x96.*got torch\.uint8"):
        network(torch.zeros(1, 3, 16, 96, dtype=torch.uint8), [""])
    with pytest.raises(ValueError, match="put it in a list"):
        network(torch.randn(1, 3, 64, 96), "a dog")
