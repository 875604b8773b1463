import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.blending.blending_net import BlendingNet
from saltext.models.image.staged import DenseNet161, ResNet50
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.tranblend.network import TranBlend
from saltext.models.transalnet.fix_rates import FixRates, fixed_layers, freeze_table
from saltext.models.transalnet.network import TranSalNet
from tests.models.zero_weights import ZeroWeights

SIZES = {"hidden": (8, 8, 8), "heads": (2, 2, 2), "channels": (8, 8, 8, 8), "grid": (2, 3), "layers": 1}


class Block(nn.Module):
    """Defines its norm last, as Hugging Face's ViT block does; data pass it first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Linear(4, 4)
        self.layer_norm1 = nn.LayerNorm(4)


class Blip(TextEncoder):
    """A text encoder with ten text layers, four vision blocks, and a norm after them."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.words = nn.Linear(3, 4), nn.Embedding(5, 4)
        self.texts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(10))
        self.blocks = nn.ModuleList(Block() for _ in range(4))
        self.last_norm = nn.LayerNorm(4)

    text_embeddings = property(lambda self: self.words)
    text_layers = property(lambda self: list(self.texts))
    vision_embeddings = property(lambda self: self.patches)
    vision_blocks = property(lambda self: list(self.blocks))

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        tokens = self.words(torch.zeros(len(texts), 1, dtype=torch.long))
        return TextFeatures(tokens[:, 0], tokens, torch.ones(len(texts), 1, dtype=torch.bool))


def network(freeze: FixRates | None = None) -> TranBlend:
    return TranBlend(TimmEncoder("test_efficientnet"), Blip(), BlendingNet, freeze=freeze, **SIZES)


def fixed(module: nn.Module) -> set[str]:
    """Children none of whose parameters train."""
    return {
        name
        for name, child in module.named_children()
        if list(child.parameters()) and not any(parameter.requires_grad for parameter in child.parameters())
    }


@pytest.mark.parametrize(
    ("count", "rate", "wanted"),
    [(12, 0.9, 10), (24, 0.9, 21), (10, 0.0, 0), (10, 1.0, 10), (7, 0.5, 3), (0, 0.5, 0), (100, 0.29, 29), (3, 1, 3)],
)
def test_the_rule_by_worked_examples(count: int, rate: float, wanted: int) -> None:
    assert fixed_layers(count, rate) == wanted


@pytest.mark.parametrize(("count", "rate"), [(10, -0.1), (10, 1.1), (-1, 0.5), (10, float("nan"))])
def test_a_rate_or_count_out_of_range_is_refused(count: int, rate: float) -> None:
    with pytest.raises(ValueError, match="rate of 0 to 1, got"):
        fixed_layers(count, rate)


def test_the_decoder_is_counted_in_the_order_of_data_flow_and_its_blend_always_trains() -> None:
    # TransEncoder1, stage 1, TransEncoder2, stage 2, TransEncoder3, stage 3, stage 4, conv5: eight layers.
    half = network(FixRates(decoder=0.5)).decoder
    assert fixed(half) == {"TransEncoder1", "conv1", "batchnorm1", "TransEncoder2", "conv2", "batchnorm2"}
    whole = network(FixRates(decoder=1.0)).decoder
    assert {name for name, _ in whole.named_children()} - fixed(whole) == {"blendnet"}
    assert all(parameter.requires_grad for parameter in whole.blendnet.parameters())


def test_densenet_is_counted_by_its_blocks_and_transitions_after_the_stem() -> None:
    with torch.device("meta"), ZeroWeights():
        encoder = TranSalNet(DenseNet161(), freeze=FixRates(encoder=0.5)).encoder
    assert fixed(encoder.encoder) == {"0", "1", "4", "5", "6"}  # convolution, norm; block 1, transition 1, block 2


def test_resnet_is_counted_by_its_four_layers_and_a_small_rate_fixes_the_stem() -> None:
    with torch.device("meta"), ZeroWeights():
        half = TranSalNet(ResNet50(), freeze=FixRates(encoder=0.5)).encoder
        tenth = TranSalNet(ResNet50(), freeze=FixRates(encoder=0.1)).encoder
    assert fixed(half.encoder) == {"0", "1", "4", "5"}
    assert fixed(tenth.encoder) == {"0", "1"}


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext"])
def test_any_timm_backbone_is_counted_from_the_input_and_wholly(name: str) -> None:
    encoder = TimmEncoder(name)
    stem, layers = encoder.layers().stem, encoder.layers().layers
    ordered = [id(parameter) for parameter in encoder.layers().parameters()]
    assert sorted(ordered) == sorted(id(parameter) for parameter in encoder.parameters())
    assert stem
    # What a layer gets a gradient from lies behind it: the first taps do not depend on the last layer.
    first_tap = encoder(torch.randn(1, 3, 64, 64))[0]
    first_tap.sum().backward()
    assert stem[0].grad is not None
    assert all(parameter.grad is None for parameter in layers[-1])


def test_text_layers_and_vision_blocks_are_counted_separately_after_their_embeddings() -> None:
    encoder = network(FixRates(text=0.9, vision=0.5)).text_encoder
    assert fixed(encoder.texts) == {str(index) for index in range(9)}
    assert fixed(encoder.blocks) == {"0", "1"}
    assert fixed(encoder) == {"words", "patches"}


def test_a_rate_of_zero_leaves_the_embeddings_alone() -> None:
    assert fixed(network(FixRates(text=0.0, vision=0.1)).text_encoder) == {"patches"}


def test_what_follows_the_layers_is_fixed_once_all_sides_are() -> None:
    assert "last_norm" not in fixed(network(FixRates(text=1.0, vision=0.9)).text_encoder)
    encoder = network(FixRates(text=1.0, vision=1.0)).text_encoder
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_network_without_text_takes_the_same_rates() -> None:
    plain = TranBlend(TimmEncoder("test_efficientnet"), Blip(), None, freeze=FixRates(text=0.9, vision=0.9), **SIZES)
    assert all(parameter.requires_grad for parameter in plain.parameters())


def test_rates_never_let_a_frozen_part_train() -> None:
    held = TranBlend(TimmEncoder("test_efficientnet", frozen=True), Blip(), BlendingNet, freeze=FixRates(), **SIZES)
    assert not any(parameter.requires_grad for parameter in held.encoder.parameters())


def test_fixed_layers_get_no_gradient_no_optimizer_state_and_keep_their_statistics() -> None:
    net = network(FixRates(encoder=0.5, decoder=0.5)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    still = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)
    net(torch.randn(2, 3, 64, 96), ["a", ""]).square().sum().backward()
    optimizer.step()
    assert all(net.get_parameter(name).grad is None for name in still)
    assert not {id(net.get_parameter(name)) for name in still} & {id(parameter) for parameter in optimizer.state}
    norms = {name.rpartition(".")[0] for name in before if name.endswith("running_mean")}
    held = {name for name in norms if f"{name}.weight" in still}
    assert {"encoder.encoder.bn1", "decoder.batchnorm2"} <= held
    assert {"decoder.batchnorm3", "decoder.blendnet.bn1"} <= norms - held
    after = net.state_dict()
    for name in norms:
        moved = not torch.equal(after[f"{name}.running_mean"], before[f"{name}.running_mean"])
        assert moved == (name not in held), name
    assert all(torch.equal(after[name], before[name]) for name in still)


def test_the_authors_moving_statistics_can_be_had() -> None:
    net = network(FixRates(encoder=1.0, decoder=1.0, hold_statistics=False)).train()
    assert net.decoder.batchnorm1.training
    assert net.encoder.encoder.bn1.training


def test_a_fixed_leading_part_of_the_encoder_keeps_no_graph_and_the_rest_trains() -> None:
    net = network(FixRates(encoder=0.5)).train()
    graph: dict[str, bool] = {}
    for name, stage in net.encoder.encoder.blocks.named_children():
        stage.register_forward_hook(lambda m, i, out, name=name: graph.update({name: out.requires_grad}))
    net(torch.randn(2, 3, 64, 96), ["a", ""]).sum().backward()
    assert graph == {"0": False, "1": False, "2": True, "3": True, "4": True}  # 5 stages, two of them fixed
    assert all(p.grad is not None for p in net.encoder.encoder.blocks[2].parameters())


@pytest.mark.golden
def test_the_authors_counting_fixes_what_their_script_fixes(golden: Path) -> None:
    content = json.loads((golden / "freeze_table.json").read_text())
    for wanted in content["table"]:
        rates = FixRates(encoder=wanted["fse"], decoder=wanted["fsd"], counting="authors")
        with torch.device("meta"), ZeroWeights():
            net = TranBlend(DenseNet161(), Blip(), BlendingNet, freeze=rates)
        assert fixed(net.decoder) == set(wanted["decoder_children_frozen"])
        assert fixed(net) == ({"encoder"} if wanted["encoder_frozen"] else set())
        still = sum(parameter.numel() for parameter in net.parameters() if not parameter.requires_grad)
        assert still == wanted["total_params"] - wanted["trainable_params"]


def test_the_authors_counting_reaches_into_the_first_tensor_of_the_next_layer() -> None:
    encoder = network(FixRates(text=0.5, vision=0.5, counting="authors")).text_encoder
    assert fixed(encoder) == {"words", "patches"}
    still = {name for name, parameter in encoder.texts.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[0] for name in still} == {"0", "1", "2", "3", "4", "5"}
    assert [name for name in still if name.startswith("5.")] == ["5.0.weight"]
    # Their vision block begins with its norm, whatever is defined first here.
    still = {name for name, parameter in encoder.blocks.named_parameters() if not parameter.requires_grad}
    assert [name for name in still if name.startswith("2.")] == ["2.layer_norm1.weight"]


def test_the_table_counts_every_parameter_once_and_says_what_trains() -> None:
    net = network(FixRates(encoder=0.5, decoder=0.25, text=0.9))
    rows = {row.module: row for row in freeze_table(net)}
    assert list(rows) == ["encoder", "text", "vision", "blend", "decoder", "other"]
    assert sum(row.parameters for row in rows.values()) == sum(p.numel() for p in net.parameters())
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert sum(row.trainable_parameters for row in rows.values()) == trained
    assert (rows["encoder"].layers, rows["encoder"].frozen_layers) == (5, 2)
    assert (rows["decoder"].layers, rows["decoder"].frozen_layers) == (8, 2)
    assert (rows["text"].layers, rows["text"].frozen_layers) == (10, 9)
    assert (rows["vision"].layers, rows["vision"].frozen_layers) == (4, 0)
    assert rows["text"].trainable_parameters == 4 * 4 + 4 + 2 * 4  # the last layer: a linear map and a norm
    assert rows["blend"].trainable_parameters == rows["blend"].parameters
    assert rows["other"].parameters == 8  # the norm after the vision blocks
    assert FixRates().apply(net) == list(rows.values())


def test_every_wrong_rate_is_named_at_once() -> None:
    with pytest.raises(
        ConfigError, match=r"encoder: .* got 1\.5; text: .* got -1; counting: expected input or authors"
    ):
        FixRates(encoder=1.5, text=-1, counting="output")
