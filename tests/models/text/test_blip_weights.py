"""BLIP's own names and its own computation, both written here anew."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from saltext.errors import CheckpointError
from saltext.models.text.blip import Blip
from saltext.models.text.blip_weights import load_blip, our_names
from saltext.models.text.images import CLIP_MEAN, CLIP_STD

State = dict[str, Tensor]

# TowerSizes of the tiny BLIP (conftest.py).
WIDTH, HIDDEN, BLOCKS, HEADS, PATCH, SIDE = 24, 40, 3, 2, 8, 32
TEXT_WIDTH, TEXT_HIDDEN, LAYERS, TEXT_HEADS, PIECES, PLACES = 16, 20, 2, 4, 17, 40


def original_state(blocks: int = BLOCKS, layers: int = LAYERS, side: int = SIDE) -> State:
    """Random weights under the names of BLIP's own files."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    shapes["visual_encoder.cls_token"] = (1, 1, WIDTH)
    shapes["visual_encoder.pos_embed"] = (1, 1 + (side // PATCH) ** 2, WIDTH)
    shapes["visual_encoder.patch_embed.proj.weight"] = (WIDTH, 3, PATCH, PATCH)
    shapes["visual_encoder.patch_embed.proj.bias"] = (WIDTH,)
    for index in range(blocks):
        block = f"visual_encoder.blocks.{index}"
        norm(f"{block}.norm1", WIDTH)
        linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH)
        linear(f"{block}.attn.proj", WIDTH, WIDTH)
        norm(f"{block}.norm2", WIDTH)
        linear(f"{block}.mlp.fc1", HIDDEN, WIDTH)
        linear(f"{block}.mlp.fc2", WIDTH, HIDDEN)
    norm("visual_encoder.norm", WIDTH)
    shapes["text_encoder.embeddings.word_embeddings.weight"] = (PIECES, TEXT_WIDTH)
    shapes["text_encoder.embeddings.position_embeddings.weight"] = (PLACES, TEXT_WIDTH)
    norm("text_encoder.embeddings.LayerNorm", TEXT_WIDTH)
    for index in range(layers):
        layer = f"text_encoder.encoder.layer.{index}"
        for part, source in (("attention", TEXT_WIDTH), ("crossattention", WIDTH)):
            linear(f"{layer}.{part}.self.query", TEXT_WIDTH, TEXT_WIDTH)
            linear(f"{layer}.{part}.self.key", TEXT_WIDTH, source)
            linear(f"{layer}.{part}.self.value", TEXT_WIDTH, source)
            linear(f"{layer}.{part}.output.dense", TEXT_WIDTH, TEXT_WIDTH)
            norm(f"{layer}.{part}.output.LayerNorm", TEXT_WIDTH)
        linear(f"{layer}.intermediate.dense", TEXT_HIDDEN, TEXT_WIDTH)
        linear(f"{layer}.output.dense", TEXT_WIDTH, TEXT_HIDDEN)
        norm(f"{layer}.output.LayerNorm", TEXT_WIDTH)
    return {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Attention of one sample, head after head; shapes (positions, width)."""
    outputs = []
    for q, k, v in zip(queries.chunk(heads, 1), keys.chunk(heads, 1), values.chunk(heads, 1), strict=True):
        weights = torch.softmax(q @ k.T / math.sqrt(q.shape[1]), dim=1)
        outputs.append(weights @ v)
    return torch.cat(outputs, dim=1)


class Original:
    """BLIP's image-grounded text encoder, from its paper and those of ViT and BERT; one sample at a time."""

    def __init__(self, state: State) -> None:
        self.state = state

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps)
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def patches(self, image: Tensor) -> Tensor:
        kernel = self.state["visual_encoder.patch_embed.proj.weight"].flatten(1)
        cut = [
            image[:, top : top + PATCH, left : left + PATCH].flatten()
            for top in range(0, image.shape[1], PATCH)
            for left in range(0, image.shape[2], PATCH)
        ]
        x = torch.stack(cut) @ kernel.T + self.state["visual_encoder.patch_embed.proj.bias"]
        x = torch.cat([self.state["visual_encoder.cls_token"][0], x]) + self.state["visual_encoder.pos_embed"][0]
        for index in range(BLOCKS):
            block = f"visual_encoder.blocks.{index}"
            fused = self.linear(f"{block}.attn.qkv", self.norm(f"{block}.norm1", x, 1e-6))
            x = x + self.linear(f"{block}.attn.proj", attend(*fused.chunk(3, dim=1), heads=HEADS))
            inner = self.linear(f"{block}.mlp.fc1", self.norm(f"{block}.norm2", x, 1e-6))
            x = x + self.linear(f"{block}.mlp.fc2", gelu(inner))
        return self.norm("visual_encoder.norm", x, 1e-6)

    def text(self, ids: list[int], image: Tensor) -> Tensor:
        seen = self.patches(image)
        embeddings = "text_encoder.embeddings"
        x = self.state[f"{embeddings}.word_embeddings.weight"][ids]
        x = x + self.state[f"{embeddings}.position_embeddings.weight"][: len(ids)]
        x = self.norm(f"{embeddings}.LayerNorm", x, 1e-12)
        for index in range(LAYERS):
            layer = f"text_encoder.encoder.layer.{index}"
            x = self.attention(f"{layer}.attention", x, x)
            x = self.attention(f"{layer}.crossattention", x, seen)
            inner = gelu(self.linear(f"{layer}.intermediate.dense", x))
            x = self.norm(f"{layer}.output.LayerNorm", self.linear(f"{layer}.output.dense", inner) + x, 1e-12)
        return x

    def attention(self, name: str, x: Tensor, source: Tensor) -> Tensor:
        query, key, value = (
            self.linear(f"{name}.self.{part}", of) for part, of in (("query", x), ("key", source), ("value", source))
        )
        out = self.linear(f"{name}.output.dense", attend(query, key, value, TEXT_HEADS))
        return self.norm(f"{name}.output.LayerNorm", out + x, 1e-12)


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def saved(folder: Path, state: State, name: str = "blip.pth") -> Path:
    path = folder / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.parametrize("start", ["enc", "cls"])
def test_original_weights_give_the_original_s_text_states(
    tiny_blip: Callable[..., Blip], tmp_path: Path, words: list[str], start: str
) -> None:
    state = original_state()
    blip = tiny_blip(weights=saved(tmp_path, state), start=start)
    blip.set_input_normalization(CLIP_MEAN, CLIP_STD)
    images = torch.rand(3, 3, SIDE, SIDE)
    features = blip(["a red dog runs on grass", "", "the cat"], images)
    first = len(words) + 1 if start == "enc" else words.index("[CLS]")
    for row, text in enumerate([["a", "red", "dog", "runs", "on", "grass"], [], ["the", "cat"]]):
        ids = [first, *(words.index(word) for word in [*text, "[SEP]"])]
        expected = Original(state).text(ids, images[row])
        torch.testing.assert_close(features.tokens[row][features.mask[row]], expected, rtol=0, atol=2e-5)
        torch.testing.assert_close(features.pooled[row], expected[0], rtol=0, atol=2e-5)


def published(state: State, kind: str) -> State:
    """The same weights as other files of the family hold them."""
    more = {
        "text_encoder.embeddings.position_ids": torch.arange(PLACES)[None],
        "vision_proj.weight": torch.zeros(2, WIDTH),
        "text_proj.bias": torch.zeros(2),
    }
    match kind:
        case "blip-itm":
            return {**state, **more, "itm_head.weight": torch.zeros(2, TEXT_WIDTH), "itm_head.bias": torch.zeros(2)}
        case "blip-pretrained":
            momentum = {
                f"{part}_m.{rest}": value + 1 for key, value in state.items() for part, _, rest in [key.partition(".")]
            }
            queues = {"image_queue": torch.zeros(2, 4), "text_queue": torch.zeros(2, 4), "queue_ptr": torch.zeros(1)}
            decoder = {"text_decoder.bert.embeddings.word_embeddings.weight": torch.zeros(PIECES, TEXT_WIDTH)}
            return {**state, **more, **momentum, **queues, **decoder, "temp": torch.tensor(0.07)}
        case "image-reward":
            inner = {f"blip.{key}": value for key, value in {**state, **more}.items()}
            return {**inner, "mlp.layers.0.weight": torch.zeros(4, TEXT_WIDTH), "mlp.layers.7.bias": torch.zeros(1)}
        case "data-parallel":
            return {f"module.{key}": value for key, value in state.items()}
    raise ValueError(kind)


@pytest.mark.parametrize("kind", ["blip-itm", "blip-pretrained", "image-reward", "data-parallel"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_every_published_kind_of_file_loads_completely(
    tiny_blip: Callable[..., Blip], tmp_path: Path, kind: str, suffix: str
) -> None:
    state = original_state()
    plain = tiny_blip(weights=saved(tmp_path, state))
    other = tiny_blip(weights=saved(tmp_path, published(state, kind), f"other{suffix}"))
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in plain.state_dict().items())


@pytest.mark.parametrize(
    "nest",
    [
        "state_dict",
        "model",
    ],
)
def test_weights_are_found_where_training_scripts_put_them(
    tiny_blip: Callable[..., Blip], tmp_path: Path, nest: str
) -> None:
    path = tmp_path / "nested.pth"
    torch.save({nest: original_state(), "epoch": 19}, path)
    assert len(tiny_blip(weights=path).state_dict()) == len(original_state())


def test_names_are_a_bijection_onto_the_network_s_own(tiny_blip: Callable[..., Blip]) -> None:
    state = original_state()
    renamed = our_names(state)
    own = tiny_blip().state_dict()
    assert len(renamed) == len(state)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in own.items()}


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("visual_encoder.blocks.1.attn.qkv.bias", "vision.encoder.layers.1.self_attn.qkv.bias"),
        ("visual_encoder.blocks.2.norm2.weight", "vision.encoder.layers.2.layer_norm2.weight"),
        ("visual_encoder.pos_embed", "vision.embeddings.position_embedding"),
        ("visual_encoder.norm.weight", "vision.post_layernorm.weight"),
        ("text_encoder.encoder.layer.1.crossattention.self.key.weight", "text.encoder.layer.1.crossattention.self.key"),
        ("text_encoder.embeddings.LayerNorm.bias", "text.embeddings.LayerNorm.bias"),
    ],
)
def test_a_missing_key_is_named(tiny_blip: Callable[..., Blip], tmp_path: Path, key: str, ours: str) -> None:
    state = original_state()
    del state[key]
    with pytest.raises(CheckpointError, match=f"1 missing: {re.escape(ours)}"):
        tiny_blip(weights=saved(tmp_path, state))


def test_a_key_that_nothing_explains_is_named(tiny_blip: Callable[..., Blip], tmp_path: Path) -> None:
    state = original_state() | {
        "text_encoder.pooler.dense.weight": torch.zeros(1),
        "visual_encoder.extra": torch.zeros(1),
    }
    with pytest.raises(CheckpointError, match=r"2 left over: text\.pooler\.dense\.weight, visual_encoder\.extra"):
        tiny_blip(weights=saved(tmp_path, state))


def test_a_large_tower_s_file_says_to_choose_large(tiny_blip: Callable[..., Blip], tmp_path: Path) -> None:
    sizes = {"hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_attention_heads": HEADS, "patch_size": PATCH}
    path = saved(tmp_path, original_state(blocks=24))
    with pytest.raises(
        CheckpointError, match=r"24 vision blocks, the network 12: choose model\.text_encoder\.vision=large"
    ):
        tiny_blip(weights=path, vision={**sizes, "num_hidden_layers": 12})
    assert len(tiny_blip(weights=path, vision={**sizes, "num_hidden_layers": 24}).vision_blocks) == 24


def test_a_captioning_model_s_file_says_what_it_lacks(tiny_blip: Callable[..., Blip], tmp_path: Path) -> None:
    state = {key.replace("text_encoder.", "text_decoder.bert."): value for key, value in original_state().items()}
    with pytest.raises(CheckpointError, match=r"captioning BLIP.*image-text matching"):
        tiny_blip(weights=saved(tmp_path, state))


def test_a_file_of_something_else_says_so(tiny_blip: Callable[..., Blip], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="None of its keys is of a BLIP"):
        tiny_blip(weights=saved(tmp_path, {"layer1.0.conv1.weight": torch.zeros(1)}))


def test_fewer_text_layers_are_reported(tiny_blip: Callable[..., Blip], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="It has 1 text layers, the network 2"):
        tiny_blip(weights=saved(tmp_path, original_state(layers=1)))


def test_positions_of_another_image_size_are_interpolated_and_the_class_s_stays(
    tiny_blip: Callable[..., Blip], tmp_path: Path
) -> None:
    state = original_state(side=48)  # 6x6 patches
    blip = tiny_blip(weights=saved(tmp_path, state))
    given, came = state["visual_encoder.pos_embed"], blip.vision.embeddings.position_embedding
    grid = given[:, 1:].reshape(1, 6, 6, WIDTH).movedim(3, 1)
    expected = F.interpolate(grid, (4, 4), mode="bicubic", align_corners=False).movedim(1, 3).reshape(1, 16, WIDTH)
    assert torch.equal(came[:, :1], given[:, :1])
    torch.testing.assert_close(came[:, 1:], expected)


def test_a_file_that_does_not_fit_changes_nothing(tiny_blip: Callable[..., Blip], tmp_path: Path) -> None:
    blip = tiny_blip()
    before = {key: value.clone() for key, value in blip.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_blip(blip, saved(tmp_path, original_state(blocks=2)))
    assert all(torch.equal(value, before[key]) for key, value in blip.state_dict().items())
