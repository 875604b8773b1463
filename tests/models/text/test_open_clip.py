import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from saltext.errors import CheckpointError, ConfigError
from saltext.models.normalize import Normalize
from saltext.models.text import open_clip as module
from saltext.models.text.open_clip import OpenCLIP

Build = Callable[..., OpenCLIP]
TEXTS = ["", "!", "a red dog runs", "word " * 99]


@pytest.fixture
def clip(clip_sizes: dict[str, Any]) -> open_clip.CLIP:
    """A CLIP of the tiny sizes, built by open_clip alone."""
    return open_clip.CLIP(**clip_sizes).eval()


@pytest.fixture
def weights(clip: open_clip.CLIP, tmp_path: Path) -> Path:
    path = tmp_path / "clip.pt"
    torch.save(clip.state_dict(), path)
    return path


def test_pooled_is_clip_s_text_feature(tiny_clip: Build, clip: open_clip.CLIP, weights: Path) -> None:
    ids = open_clip.SimpleTokenizer(context_length=14)(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(tiny_clip(weights=weights)(TEXTS).pooled, clip.encode_text(ids), rtol=0, atol=1e-5)


def test_pooled_is_the_last_real_token(tiny_clip: Build) -> None:
    features = tiny_clip()(TEXTS)
    for row, length in enumerate(features.mask.sum(1).tolist()):
        assert torch.equal(features.pooled[row], features.tokens[row, length - 1])


def test_the_token_that_shares_its_id_with_padding_is_real(tiny_clip: Build) -> None:
    # A "!" that does not end its word is id 0, as is padding.
    encoder = tiny_clip()
    assert encoder.tokenizer.encode("a !+ dog")[1] == 0
    assert encoder(["", "!+", "a !+ dog"]).mask.sum(1).tolist() == [2, 4, 6]


def test_texts_are_cut_at_the_context_and_keep_their_end(tiny_clip: Build) -> None:
    encoder = tiny_clip()
    assert encoder(["word " * 99]).mask.sum() == 14
    assert encoder.tokenizer(["word " * 99])[0, -1] == encoder.tokenizer.eot_token_id


def test_a_token_sees_only_those_before_it(tiny_clip: Build) -> None:
    one, other = tiny_clip()(["a red dog", "a red cat"]).tokens
    torch.testing.assert_close(one[:3], other[:3])
    assert (one[3] - other[3]).abs().max() > 1e-4


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weight_files_load_strictly(tiny_clip: Build, clip: open_clip.CLIP, tmp_path: Path, prefix: str) -> None:
    state = {prefix + key: value for key, value in clip.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "clip.pt")
    encoder = tiny_clip(weights=tmp_path / "clip.pt", frozen=False)
    own = encoder.model.state_dict()
    assert own.keys() < clip.state_dict().keys()
    assert all(torch.equal(value, clip.state_dict()[key]) for key, value in own.items())
    del state[f"{prefix}transformer.resblocks.1.ln_1.weight"]
    torch.save({"state_dict": state}, tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match=r"1 missing: transformer\.resblocks\.1\.ln_1\.weight"):
        tiny_clip(weights=tmp_path / "clip.pt")


def activations(encoder: OpenCLIP) -> set[str]:
    return {type(layer.get_submodule("mlp.gelu")).__name__ for layer in encoder.text_layers}


@pytest.mark.parametrize(
    ("tag", "asked", "expected"),
    [
        ("openai", None, "QuickGELU"),
        ("laion2b_s34b_b79k", None, "GELU"),
        ("openai", False, "GELU"),
        ("laion2b_s34b_b79k", True, "QuickGELU"),
    ],
)
def test_a_tag_s_activation_is_the_one_it_was_trained_with(
    tag: str,
    asked: bool | None,
    expected: str,
    clip_sizes: dict[str, Any],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched: list[dict[str, Any]] = []

    def download(pretrained: dict[str, Any]) -> str:
        fetched.append(pretrained)
        return str(weights)

    monkeypatch.setattr(open_clip, "get_model_config", lambda name: clip_sizes)
    monkeypatch.setattr(open_clip, "download_pretrained", download)
    known = {"openai": {"quick_gelu": True, "url": "o"}, "laion2b_s34b_b79k": {"url": "l"}}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: known[tag])
    encoder = OpenCLIP("ViT-B-32", weights=tag, quick_gelu=asked)
    assert activations(encoder) == {expected}
    assert fetched == [known[tag]]


def test_open_clip_s_own_table_says_openai_s_weights_need_quick_gelu() -> None:
    assert open_clip.get_pretrained_cfg("ViT-B-32", "openai")["quick_gelu"]
    assert not open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k").get("quick_gelu", False)


@pytest.mark.parametrize(("quick_gelu", "expected"), [(None, "GELU"), (True, "QuickGELU")])
def test_a_file_s_activation_is_said_by_the_user(
    tiny_clip: Build, weights: Path, quick_gelu: bool | None, expected: str
) -> None:
    assert activations(tiny_clip(weights=weights, quick_gelu=quick_gelu)) == {expected}


def test_published_sizes_and_names_are_open_clip_s() -> None:
    with torch.device("meta"):
        encoder = OpenCLIP("ViT-B-32")
    assert encoder.dim == 512
    assert len(encoder.text_layers) == 12
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 63_428_096
    assert encoder.tokenizer.context_length == 77


def test_the_image_tower_is_there_only_on_demand_and_gives_clip_s_image_feature(
    tiny_clip: Build, clip: open_clip.CLIP, weights: Path
) -> None:
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    encoder = tiny_clip(weights=weights, image_tower=True, frozen=False)
    encoder.set_input_normalization((0.5,) * 3, (0.5,) * 3, "bgr")
    pooled, patches = encoder.encode_images(Normalize((0.5,) * 3, (0.5,) * 3, "bgr")(pixels))
    clips_own = Normalize(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)(pixels)
    with torch.no_grad():
        torch.testing.assert_close(pooled, clip.encode_image(clips_own), rtol=0, atol=1e-5)
    assert patches.shape == (2, 64, 2, 2)
    assert not any(parameter.requires_grad for parameter in encoder.model.visual.parameters())
    with pytest.raises(ValueError, match="image_tower=True"):
        tiny_clip().encode_images(clips_own)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_frozen_tower_may_be_kept_in_lower_precision(tiny_clip: Build, weights: Path, precision: str) -> None:
    low, full = tiny_clip(weights=weights, precision=precision), tiny_clip(weights=weights)
    assert low.text_layers[0].get_submodule("mlp.c_fc").weight.dtype != torch.float32
    came, expected = low(TEXTS).pooled, full(TEXTS).pooled
    assert came.dtype == torch.float32
    assert 0 < (came - expected).abs().max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "ViT-B-3"}, "no model 'ViT-B-3' .did you mean 'ViT-B-32'"),
        ({"name": "coca_ViT-B-32"}, "no plain CLIP, it also has custom_text, .*embed_cls"),
        ({"name": "roberta-ViT-B-32"}, "hf_model_name"),
        ({"name": "ViT-B-32", "weights": "laion"}, "no tag of ViT-B-32. Its tags: openai, laion400m_e31"),
        ({"precision": "bf16", "frozen": False}, "frozen tower, got bf16, not frozen"),
        ({"precision": "int8"}, "got int8"),
        (
            {"name": {"embed_dim": 8, "text_cfg": {}, "vision_cfg": {"timm_model_pretrained": True}}},
            "timm would fetch weights",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_a_way_out(tiny_clip: Build, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny_clip(**arguments)


def test_weights_that_cannot_be_fetched_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> str:
        raise RuntimeError("no connection")

    monkeypatch.setattr(open_clip, "download_pretrained", refuse)
    with pytest.raises(CheckpointError, match=r"'openai' cannot be fetched \(no connection\)"):
        OpenCLIP("ViT-B-32", weights="openai")


def test_state_dicts_leave_out_frozen_weights_that_can_be_read_again(tiny_clip: Build, weights: Path) -> None:
    assert tiny_clip(weights=weights, image_tower=True).state_dict() == {}
    assert len(tiny_clip().state_dict()) > 30
    trained = tiny_clip(weights=weights, image_tower=True, frozen=False).state_dict()
    assert trained
    assert not any("visual" in key for key in trained)


def test_the_logging_of_the_process_is_left_alone(tiny_clip: Build) -> None:
    before = list(logging.getLogger().handlers)
    tiny_clip()
    assert logging.getLogger().handlers == before


def test_a_text_s_features_are_cached(tiny_clip: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny_clip()
    encoder(TEXTS)
    monkeypatch.setattr(encoder, "encode", lambda texts: pytest.fail(f"{texts} were encoded again"))
    encoder(TEXTS[::-1])


def test_what_the_text_does_not_need_is_not_kept(tiny_clip: Build) -> None:
    names = {key for key, _ in tiny_clip().named_parameters()}
    assert not any("visual" in name or "logit" in name for name in names)
    assert isinstance(tiny_clip().text_embeddings, nn.Module)
    assert all(isinstance(value, Tensor) for value in tiny_clip().text_embeddings.state_dict().values())


def test_its_sharpness_is_what_it_was_trained_with(tiny_clip: Build, clip: open_clip.CLIP, weights: Path) -> None:
    assert tiny_clip(weights=weights).sharpness == pytest.approx(float(clip.logit_scale.detach().exp()))


def test_a_tag_is_fetched_at_a_commit_of_its_repository(
    clip_sizes: dict[str, Any], clip: open_clip.CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def folder(name: str, revision: str, files: list[str], weights: list[str]) -> Path:
        asked.append((name, revision, weights))
        torch.save(clip.state_dict(), tmp_path / weights[-1])
        return tmp_path

    monkeypatch.setattr(open_clip, "get_model_config", lambda name: clip_sizes)
    monkeypatch.setattr(module, "hub_folder", folder)
    encoder = OpenCLIP("ViT-B-32", weights="laion2b_s34b_b79k", revision="abc")
    assert torch.equal(encoder.model.text_projection, clip.text_projection)
    assert asked == [
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "abc", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
    ]
