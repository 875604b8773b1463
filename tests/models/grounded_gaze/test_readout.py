"""The trained modules of GroundedGaze, each against torch's own primitives."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.attention import MultiheadAttention
from saltext.models.grounded_gaze.backbone import BackboneFeatures
from saltext.models.grounded_gaze.readout import (
    DensityHead,
    FeatureNorm,
    InputDims,
    Readout,
    Readouts,
    TextEmbedding,
    TokenEmbedding,
    TransformerBlock,
    TransformerConfig,
)
from saltext.models.text.base import TextFeatures

BATCH, ROWS, COLUMNS = 3, 2, 3
DIM, HEADS = 8, 2
INPUTS = InputDims(coarse=6, fine=4, grounding=2, semantic=5, text=7, conditions=2)
IMAGE_ALONE = replace(INPUTS, grounding=0, semantic=0, text=0)
SIZE = (8, 12)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def shaken(module: nn.Module) -> nn.Module:
    """The same module with its zeros gone, so that everything it reads has an effect."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return module


def features(inputs: InputDims = INPUTS) -> BackboneFeatures:
    return BackboneFeatures(
        coarse=torch.randn(BATCH, inputs.coarse, ROWS, COLUMNS),
        fine=torch.randn(BATCH, inputs.fine, 2 * ROWS, 2 * COLUMNS),
        semantic=torch.randn(BATCH, inputs.semantic, ROWS, COLUMNS) if inputs.semantic else None,
        grounding=torch.randn(BATCH, inputs.grounding, ROWS, COLUMNS) if inputs.grounding else None,
    )


def rows_of(given: BackboneFeatures, index: int) -> BackboneFeatures:
    own = {name: value if value is None else value[index : index + 1] for name, value in vars(given).items()}
    return BackboneFeatures(**own)


def mirrored(given: BackboneFeatures) -> BackboneFeatures:
    return BackboneFeatures(**{name: value if value is None else value.flip(-1) for name, value in vars(given).items()})


def text(words: int = 4) -> TextFeatures:
    mask = torch.ones(BATCH, words, dtype=torch.bool)
    mask[1, 2:] = False
    return TextFeatures(torch.randn(BATCH, INPUTS.text), torch.randn(BATCH, words, INPUTS.text), mask)


CONDITION = torch.tensor([0, 1, 0])


def transformer(layers: int = 2, grid: tuple[int, int] = (ROWS, COLUMNS)) -> TransformerConfig:
    return TransformerConfig(DIM, layers, HEADS, grid)


def test_each_channel_of_frozen_features_is_standardised_over_the_batch_in_training() -> None:
    norm = FeatureNorm(INPUTS).train()
    given = features()
    normed = norm(BackboneFeatures(**{name: 5 + 3 * value for name, value in vars(given).items()}))
    for value in vars(normed).values():
        torch.testing.assert_close(value.mean((0, 2, 3)), torch.zeros(value.shape[1]), rtol=0, atol=1e-5)
        torch.testing.assert_close(value.var((0, 2, 3), correction=0), torch.ones(value.shape[1]), rtol=0, atol=1e-4)


def test_features_are_standardised_by_running_statistics_in_evaluation() -> None:
    norm = FeatureNorm(INPUTS).eval()
    with torch.no_grad():
        norm.coarse.running_mean.fill_(2.0)
        norm.coarse.running_var.fill_(4.0)
    given = features()
    torch.testing.assert_close(norm(given).coarse, (given.coarse - 2) / (4 + norm.coarse.eps) ** 0.5)
    assert not list(norm.parameters())


def test_maps_that_no_grounder_gives_stay_none() -> None:
    normed = FeatureNorm(IMAGE_ALONE)(features(IMAGE_ALONE))
    assert normed.semantic is None
    assert normed.grounding is None


def test_a_token_is_a_gelu_of_image_and_semantic_map_scaled_and_shifted_by_the_grounding() -> None:
    embed, given = TokenEmbedding(INPUTS, DIM), features()
    shaken(embed)
    assert given.semantic is not None
    assert given.grounding is not None
    sums = F.conv2d(given.coarse, embed.features.weight, embed.features.bias)
    sums = sums + F.conv2d(given.semantic, embed.semantic.weight, embed.semantic.bias)
    scale, shift = F.conv2d(given.grounding, embed.film.affine.weight[..., None, None], embed.film.affine.bias).chunk(
        2, dim=1
    )
    found = embed(given)
    assert found.shape == (BATCH, DIM, ROWS, COLUMNS)
    torch.testing.assert_close(found, F.gelu(sums * (1 + scale) + shift))


def test_a_fresh_token_does_not_depend_on_the_grounding() -> None:
    embed, given = TokenEmbedding(INPUTS, DIM), features()
    assert given.grounding is not None
    assert torch.equal(embed(given), embed(replace(given, grounding=-given.grounding)))


def test_the_words_are_a_null_word_the_condition_and_those_of_the_text() -> None:
    embed, given = TextEmbedding(INPUTS, DIM), text()
    shaken(embed)
    words, mask, embedding = embed(CONDITION, given)
    assert words.shape == (BATCH, 2 + 4, DIM)
    assert torch.equal(words[:, 0], embed.null_word[0].expand(BATCH, -1))
    assert torch.equal(words[:, 1], embed.condition.weight[CONDITION])
    norm, linear = embed.words
    assert isinstance(norm, nn.LayerNorm)
    assert isinstance(linear, nn.Linear)
    normed = F.layer_norm(given.tokens, (INPUTS.text,), norm.weight, norm.bias)
    torch.testing.assert_close(words[:, 2:], F.linear(normed, linear.weight, linear.bias))
    assert mask[:, :2].all()
    assert torch.equal(mask[:, 2:], given.mask)
    sentence = F.linear(given.pooled, embed.sentence.weight, embed.sentence.bias)
    torch.testing.assert_close(embedding, embed.condition.weight[CONDITION] + sentence)


def test_without_text_the_condition_alone_is_embedded() -> None:
    embed = TextEmbedding(IMAGE_ALONE, DIM)
    words, mask, embedding = embed(CONDITION, None)
    assert words.shape == (BATCH, 2, DIM)
    assert mask.all()
    assert torch.equal(embedding, embed.condition.weight[CONDITION])
    assert {name.split(".")[0] for name, _ in embed.named_parameters()} == {"condition", "null_word"}


def attended(attention: MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Multi-head attention by torch's scaled dot product."""
    weights = attention.in_proj_weight.chunk(3)
    biases = attention.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, weight, bias).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    heads = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask[:, None, None])
    return F.linear(heads.transpose(1, 2).flatten(2), attention.out_proj.weight, attention.out_proj.bias)


def block_inputs(tokens: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    x, positions = torch.randn(BATCH, tokens, DIM), torch.randn(1, tokens, DIM)
    return x, positions, torch.randn(BATCH, 4, DIM), mask, torch.randn(BATCH, DIM)


def test_a_new_block_is_the_identity() -> None:
    inputs = block_inputs()
    assert torch.equal(TransformerBlock(DIM, HEADS)(*inputs), inputs[0])


def test_a_block_is_cross_attention_self_attention_and_mlp_on_residuals() -> None:
    block = TransformerBlock(DIM, HEADS)
    shaken(block)
    tokens, positions, words, mask, embedding = block_inputs()
    norms = [lambda x, norm=norm: F.layer_norm(x, (DIM,), norm.weight, norm.bias) for norm in block.norms]
    scale, shift = F.linear(embedding, block.film.affine.weight, block.film.affine.bias).chunk(2, dim=-1)
    query = norms[0](tokens) * (1 + scale[:, None]) + shift[:, None] + positions
    x = tokens + attended(block.cross_attn, query, words, words, mask)
    normed = norms[1](x)
    x = x + attended(block.self_attn, normed + positions, normed + positions, normed, None)
    first, _, last = block.mlp
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    hidden = F.gelu(F.linear(norms[2](x), first.weight, first.bias))
    x = x + F.linear(hidden, last.weight, last.bias)
    torch.testing.assert_close(block(tokens, positions, words, mask, embedding), x, rtol=1e-4, atol=1e-5)


def test_a_block_does_not_read_masked_words_and_does_not_depend_on_the_order_of_the_others() -> None:
    block = TransformerBlock(DIM, HEADS)
    shaken(block)
    tokens, positions, words, mask, embedding = block_inputs()
    found = block(tokens, positions, words, mask, embedding)
    changed = torch.where(mask[..., None], words, 100.0)
    torch.testing.assert_close(block(tokens, positions, changed, mask, embedding), found)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(block(tokens, positions, words[:, order], mask[:, order], embedding), found)


def test_a_block_takes_its_tokens_as_a_set_but_for_their_positions() -> None:
    block = TransformerBlock(DIM, HEADS)
    shaken(block)
    tokens, positions, *others = block_inputs()
    order = torch.randperm(tokens.shape[1])
    found = block(tokens, positions, *others)[:, order]
    torch.testing.assert_close(block(tokens[:, order], positions[:, order], *others), found)


def test_a_fresh_head_predicts_one_logit_everywhere() -> None:
    head = DensityHead(INPUTS, DIM)
    logits = head(torch.randn(BATCH, DIM, ROWS, COLUMNS), features().fine, torch.randn(BATCH, DIM), SIZE)
    assert logits.shape == (BATCH, 1, *SIZE)
    torch.testing.assert_close(logits, head.logits.bias[0].expand_as(logits))


def test_a_head_reads_tokens_fine_features_and_the_text_embedding() -> None:
    head = DensityHead(INPUTS, DIM).eval()
    shaken(head)
    inputs = [torch.randn(BATCH, DIM, ROWS, COLUMNS), features().fine, torch.randn(BATCH, DIM)]
    found = head(*inputs, SIZE)
    for index in range(3):
        changed = [torch.randn_like(x) if place == index else x for place, x in enumerate(inputs)]
        assert not torch.allclose(head(*changed, SIZE), found)


@pytest.mark.parametrize("inputs", [INPUTS, IMAGE_ALONE])
@pytest.mark.parametrize("size", [SIZE, (7, 11)])
def test_logits_are_finite_and_of_the_size_asked_for(inputs: InputDims, size: tuple[int, int]) -> None:
    readouts = Readouts(inputs, transformer(), count=2)
    shaken(readouts)
    logits = readouts(features(inputs), text() if inputs.text else None, CONDITION, size)
    assert logits.shape == (BATCH, 2, *size)
    assert logits.isfinite().all()


def test_an_image_s_logits_do_not_depend_on_its_batch_mates_in_evaluation() -> None:
    readouts = Readouts(INPUTS, transformer(), count=2).eval()
    shaken(readouts)
    given, words = features(), text()
    together = readouts(given, words, CONDITION, SIZE)
    for row in range(BATCH):
        own = TextFeatures(words.pooled[row : row + 1], words.tokens[row : row + 1], words.mask[row : row + 1])
        alone = readouts(rows_of(given, row), own, CONDITION[row : row + 1], SIZE)
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_readouts_are_several_networks_on_the_same_standardised_features() -> None:
    readouts = Readouts(INPUTS, transformer(), count=2).eval()
    shaken(readouts)
    given, words = features(), text()
    found = readouts(given, words, CONDITION, SIZE)
    alone = [readout(readouts.norm(given), words, CONDITION, SIZE) for readout in readouts.each]
    assert torch.equal(found, torch.cat(alone, dim=1))
    assert not torch.allclose(found[:, 0], found[:, 1])


def test_with_mirrored_positions_and_kernels_the_mirrored_image_has_the_mirrored_logits() -> None:
    readout = Readout(INPUTS, transformer()).eval()
    shaken(readout)
    given, words = features(), text()
    expected = readout(given, words, CONDITION, SIZE).flip(-1)
    with torch.no_grad():
        positions = readout.pos_embed.unflatten(1, (ROWS, COLUMNS))
        readout.pos_embed.copy_(positions.flip(2).flatten(1, 2))
        for layer in readout.head.refine:
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(layer.weight.flip(-1))
    torch.testing.assert_close(readout(mirrored(given), words, CONDITION, SIZE), expected, rtol=1e-4, atol=1e-5)


def test_position_embeddings_are_resized_to_another_grid() -> None:
    readout = Readout(INPUTS, transformer(grid=(4, 5)))
    shaken(readout)
    assert readout.pos_embed.shape == (1, 20, DIM)
    assert readout(features(), text(), CONDITION, SIZE).shape == (BATCH, 1, *SIZE)


def test_gradients_reach_every_parameter_and_every_input() -> None:
    readouts = Readouts(INPUTS, transformer(), count=2).train()
    shaken(readouts)
    given = features()
    for value in vars(given).values():
        value.requires_grad_(True)
    logits = readouts(given, text(), CONDITION, SIZE)
    (logits * torch.randn_like(logits)).sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in vars(given).values())
    without = [name for name, value in readouts.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert without == []
