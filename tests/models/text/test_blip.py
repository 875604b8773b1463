import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BlipConfig, BlipForImageTextRetrieval, BlipTextConfig, BlipVisionConfig

from saltext.data.keys import ImageKey, ImageSource
from saltext.errors import CheckpointError, ConfigError
from saltext.models import hub
from saltext.models.feature_cache import FeatureCache, addressed
from saltext.models.freezing import freeze
from saltext.models.normalize import Normalize
from saltext.models.text.blip import Blip
from saltext.models.text.images import CLIP_MEAN, CLIP_STD

TEXT = "a red dog runs on the grass"
Build = Callable[..., Blip]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32)


@pytest.fixture
def folder(tmp_path: Path, vocabulary: Path, tiny_blip: Build) -> Path:
    """A BLIP for image-text matching as transformers saves it, with a vocabulary beside it."""
    like = tiny_blip()
    config = BlipConfig(
        vision_config=like.vision.config.to_dict(),
        text_config=like.text.config.to_dict() | {"hidden_dropout_prob": 0.0},
    )
    folder = tmp_path / "blip"
    BlipForImageTextRetrieval(config).save_pretrained(folder)
    shutil.copy(vocabulary, folder)
    return folder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# Traps of transformers' defaults


def test_transformers_own_defaults_would_make_random_vision_blind() -> None:
    # The reason for the next two tests: if these change, the defaults in blip.py can go.
    assert BlipVisionConfig().initializer_range == 1e-10
    assert BlipTextConfig().num_attention_heads == 8


def test_a_random_blip_sees_its_image(tiny_blip: Build, images: Tensor) -> None:
    pooled = tiny_blip()([TEXT] * 2, images).pooled
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("vision", "blocks", "width", "heads"), [("base", 12, 768, 12), ("large", 24, 1024, 16)])
def test_full_sizes_are_those_of_the_papers(vision: Any, blocks: int, width: int, heads: int) -> None:
    with torch.device("meta"):
        blip = Blip(vision=vision)
    assert len(blip.vision_blocks) == blocks
    assert blip.vision.config.num_attention_heads == heads
    assert len(blip.text_layers) == 12
    assert {layer.get_submodule("attention.self").num_attention_heads for layer in blip.text_layers} == {12}
    block = 4 * width * (width + 1) + (width + 1) * 4 * width + (4 * width + 1) * width + 4 * width
    patches = (3 * 16 * 16 + 1) * width + width + (1 + 14 * 14) * width
    tower = blocks * block + patches + 2 * width
    attention = 4 * 768 * 769 + 2 * 768
    seeing = 2 * 768 * 769 + 2 * 768 * (width + 1) + 2 * 768
    layer = attention + seeing + 769 * 3072 + 3073 * 768 + 2 * 768
    text = 12 * layer + (30524 + 512) * 768 + 2 * 768
    assert sum(parameter.numel() for parameter in blip.parameters()) == tower + text
    # 223 M and 445 M.
    assert tower + text == {"base": 223_057_152, "large": 445_278_720}[vision]


def test_the_packaged_vocabulary_serves_where_weights_bring_none() -> None:
    with torch.device("meta"):
        blip = Blip()
    assert blip.start == 30523
    assert blip.tokenizer.encode("a puppy").ids == [101, 1037, 17022, 102]


def test_every_token_sees_those_after_it(tiny_blip: Build, images: Tensor) -> None:
    one, other = tiny_blip()(["a red dog", "a red cat"], images[:1].expand(2, -1, -1, -1)).tokens
    assert (one[0] - other[0]).abs().max() > 1e-4


# What goes in


@pytest.mark.parametrize(("start", "first"), [("enc", "[ENC]"), ("cls", "[CLS]")])
def test_the_first_token_is_the_one_asked_for(tiny_blip: Build, start: str, first: str) -> None:
    blip = tiny_blip(start=start)
    ids, mask = blip._token_ids(["", "a dog"])
    assert [blip.tokenizer.id_to_token(i) for i in ids[1]] == [first, "a", "dog", "[SEP]"]
    assert ids[:, 0].unique().tolist() == [blip.tokenizer.token_to_id(first)]
    assert mask.tolist() == [[True, True, False, False], [True] * 4]


def test_texts_are_cut_at_35_word_pieces(tiny_blip: Build, images: Tensor) -> None:
    assert tiny_blip()(["word " * 99], images[:1]).mask.sum() == 35
    assert tiny_blip(max_tokens=7)(["word " * 99], images[:1]).mask.sum() == 7


def test_the_image_is_seen_the_same_however_the_saliency_network_s_is_normalised(tiny_blip: Build) -> None:
    pixels = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    blip = tiny_blip()
    expected = blip([TEXT], Normalize()(pixels)).pooled
    for mean, std, order in [
        ((0.5,) * 3, (0.5,) * 3, "rgb"),
        ((0.0,) * 3, (1.0,) * 3, "bgr"),
        (CLIP_MEAN, CLIP_STD, "rgb"),
    ]:
        blip.set_input_normalization(mean, std, order)  # type: ignore[arg-type]
        came = blip([TEXT], Normalize(mean, std, order)(pixels)).pooled  # type: ignore[arg-type]
        torch.testing.assert_close(came, expected, rtol=0, atol=1e-5)


def test_a_normalisation_of_the_tower_s_own_can_be_chosen(tiny_blip: Build, images: Tensor) -> None:
    blip = tiny_blip()
    imagenet = tiny_blip(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    imagenet.load_state_dict(blip.state_dict())
    assert (blip([TEXT], images[:1]).pooled - imagenet([TEXT], images[:1]).pooled).abs().max() > 1e-4


@pytest.mark.parametrize(("given", "said"), [(None, "got none"), (1, "got 1")])
def test_a_text_without_its_image_is_refused(tiny_blip: Build, images: Tensor, given: int | None, said: str) -> None:
    with pytest.raises(ValueError, match=f"expected 2 images, {said}"):
        tiny_blip()(["a", "b"], None if given is None else images[:given])


def test_every_wrong_argument_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"base or large.*got 'huge'; start.*got 'sep'; max_tokens.*got 1; dropout"):
        Blip(vision="huge", start="sep", max_tokens=1, dropout=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_sizes_choose_no_implementation_that_transformers_would_fetch(tower: str) -> None:
    with pytest.raises(ConfigError, match=f"{tower}: expected numbers, got attn_implementation='flash_attention_2'"):
        Blip(**{tower: {"attn_implementation": "flash_attention_2", "hidden_act": "relu", "hidden_size": 48}})


# Weights


def test_a_folder_gives_what_transformers_computes(folder: Path, words: list[str]) -> None:
    blip = Blip(weights=folder, image_size=32).eval()
    blip.set_input_normalization(CLIP_MEAN, CLIP_STD)
    images = torch.randn(2, 3, 32, 32)
    model = BlipForImageTextRetrieval.from_pretrained(folder).eval()
    ids = [len(words) + 1, *(words.index(word) for word in ("a", "red", "dog", "[SEP]"))]
    with torch.no_grad():
        matched = model(input_ids=torch.tensor([ids, ids]), pixel_values=images, use_itm_head=True).question_embeds
        torch.testing.assert_close(blip(["a red dog"] * 2, images).tokens, matched, rtol=0, atol=1e-5)


def test_another_image_size_gives_what_transformers_interpolates(folder: Path, words: list[str]) -> None:
    blip = Blip(weights=folder, image_size=64).eval()
    blip.set_input_normalization(CLIP_MEAN, CLIP_STD)
    image = torch.randn(1, 3, 64, 64)
    model = BlipForImageTextRetrieval.from_pretrained(folder).eval()
    ids = torch.tensor([[len(words) + 1, words.index("dog"), words.index("[SEP]")]])
    with torch.no_grad():
        seen = model.vision_model(image, interpolate_pos_encoding=True).last_hidden_state
        states = model.text_encoder(ids, encoder_hidden_states=seen).last_hidden_state
        torch.testing.assert_close(blip(["dog"], image).tokens, states, rtol=0, atol=1e-5)


def test_a_key_missing_in_a_folder_is_an_error_and_not_a_random_layer(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["text_encoder.encoder.layer.0.crossattention.self.query.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"1 missing: text\.encoder\.layer\.0\.crossattention\.self\.query\.weight"
    ):
        Blip(weights=folder, image_size=32)


def test_the_older_weight_format_is_read_too(folder: Path) -> None:
    expected = Blip(weights=folder, image_size=32)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    came = Blip(weights=folder, image_size=32).state_dict()
    assert all(torch.equal(value, came[key]) for key, value in expected.state_dict().items())


def test_training_uses_blip_s_dropout_whatever_the_folder_says(folder: Path) -> None:
    blip = Blip(weights=folder, image_size=32)
    assert {module.p for module in blip.text.modules() if isinstance(module, torch.nn.Dropout)} == {0.1}


def test_a_folder_s_own_vocabulary_is_the_one_that_is_used(folder: Path) -> None:
    (folder / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match=r"expected 17 tokens .*, got 30524"):
        Blip(weights=folder, image_size=32)


def test_other_sizes_than_a_folder_s_are_refused_by_name(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected vision num_hidden_layers 24, got 3.*\.vision and \.text null"):
        Blip(weights=folder, image_size=32, vision="large")


def test_a_folder_of_another_model_is_refused(folder: Path) -> None:
    edit(folder / "config.json", model_type="blip-2")
    with pytest.raises(CheckpointError, match="'blip-2'"):
        Blip(weights=folder)


def test_an_incomplete_folder_says_what_it_lacks(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json, no model\.safetensors or pytorch_model\.bin"):
        Blip(weights=folder)


def test_a_repository_is_fetched_at_its_revision_and_only_what_is_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None, list[str]]] = []

    def snapshot(
        name: str,
        revision: str | None,
        allow_patterns: list[str],
        dry_run: bool = False,
        local_files_only: bool = False,
        token: None = None,
    ) -> str | list[str]:
        assert not local_files_only
        if dry_run:  # it says how large they are
            return []
        asked.append((name, revision, allow_patterns))
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    came = Blip(weights="owner/blip", revision="abc", image_size=32).state_dict()
    expected = Blip(weights=folder, image_size=32).state_dict()
    assert all(torch.equal(value, came[key]) for key, value in expected.items())
    assert asked == [("owner/blip", "abc", ["config.json", "tokenizer.json", "vocab.txt", "model.safetensors"])]


@pytest.mark.parametrize("name", ["owner/there-is-none", "no such/thing at/all"])
def test_weights_that_are_nowhere_say_what_may_be_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=rf"'{name}': no such file or folder here, and the hub .* owner/name"):
        Blip(weights=name)


# Training


def test_state_dicts_leave_out_frozen_weights_that_can_be_read_again(folder: Path, tiny_blip: Build) -> None:
    assert Blip(weights=folder, image_size=32, frozen=True).state_dict() == {}
    assert len(tiny_blip(frozen=True).state_dict()) > 50  # random ones are nowhere else
    assert len(Blip(weights=folder, image_size=32).state_dict()) > 50


def test_residual_branches_are_dropped_in_training_only(tiny_blip: Build, images: Tensor) -> None:
    blip = tiny_blip(drop_path=0.9, dropout=0.0)
    expected = blip([TEXT], images[:1]).pooled
    assert torch.equal(blip([TEXT], images[:1]).pooled, expected)
    blip.train()
    draws = torch.cat([blip([TEXT], images[:1]).pooled for _ in range(8)])
    assert (draws - expected).abs().amax(dim=1).max() > 1e-5


def test_residual_branches_drop_more_often_the_later_the_block(tiny_blip: Build) -> None:
    blip = tiny_blip(drop_path=0.5).train()
    x = torch.ones(4000, 1, 24)
    dropped = [(block.get_submodule("mlp")(x) == 0).all(dim=2).float().mean().item() for block in blip.vision_blocks]
    assert dropped == pytest.approx([0, 0.25, 0.5], abs=0.03)


def test_frozen_blocks_drop_nothing(tiny_blip: Build, images: Tensor) -> None:
    blip = tiny_blip(drop_path=0.9, dropout=0.0)
    expected = blip([TEXT], images[:1]).pooled
    for block in blip.vision_blocks:
        freeze(block)
    torch.testing.assert_close(blip.train()([TEXT], images[:1]).pooled, expected)


def keys(*rows: int) -> list[ImageKey]:
    return [ImageKey(ImageSource("two", 2), row) for row in rows]


@pytest.mark.parametrize("fixed", [1, 2, 3])
def test_cached_leading_blocks_change_nothing(tiny_blip: Build, images: Tensor, tmp_path: Path, fixed: int) -> None:
    blip, cache = tiny_blip(), FeatureCache(tmp_path)
    for part in (blip.vision_embeddings, *blip.vision_blocks[:fixed]):
        freeze(part)
    three = images[[0, 1, 1]]
    expected = blip([TEXT, "", TEXT], three)
    for _ in range(2):
        with addressed(cache, three, keys(0, 1, 1), Normalize()):
            found = blip([TEXT, "", TEXT], three)
        assert torch.equal(found.pooled, expected.pooled)
        assert torch.equal(found.tokens, expected.tokens)
    assert len(cache) == 2  # by image, whatever its texts
    found.pooled.sum().backward()
    trained = {name for name, p in blip.named_parameters() if p.requires_grad and p.grad is not None}
    assert any(name.startswith("vision.post_layernorm") for name in trained)
    assert any(name.startswith(f"vision.encoder.layers.{fixed}.") for name in trained) == (fixed < 3)


def test_a_vision_tower_that_trains_from_its_first_layer_is_not_cached(
    tiny_blip: Build, images: Tensor, tmp_path: Path
) -> None:
    blip, cache = tiny_blip(), FeatureCache(tmp_path)
    freeze(blip.vision_blocks[0])  # its embeddings train
    with addressed(cache, images, keys(0, 1), Normalize()):
        blip([TEXT, ""], images)
    assert len(cache) == 0
