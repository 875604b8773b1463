from pathlib import Path

import pytest
import timm
import torch

from saltext.errors import CheckpointError, ConfigError
from saltext.models.image.timm_encoder import TimmEncoder

IMAGES = torch.randn(1, 3, 64, 96)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_a_timm_backbone_gives_its_promised_channels_at_strides_8_16_32(name: str) -> None:
    encoder = TimmEncoder(name).eval()
    taps = encoder(IMAGES)
    assert tuple(tap.shape[1] for tap in taps) == encoder.channels
    assert [tuple(tap.shape[2:]) for tap in taps] == [(8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_every_parameter_of_a_timm_encoder_gets_a_gradient(name: str) -> None:
    encoder = TimmEncoder(name)
    sum(tap.square().sum() for tap in encoder(IMAGES)).backward()
    assert [key for key, parameter in encoder.named_parameters() if parameter.grad is None] == []


def test_features_equal_those_of_the_whole_model(tmp_path: Path) -> None:
    model = timm.create_model("test_efficientnet", pretrained=False).eval()
    torch.save(model.state_dict(), tmp_path / "model.pth")
    wanted = model.forward_intermediates(IMAGES, indices=[2, 3, 4], intermediates_only=True)
    got = TimmEncoder("test_efficientnet", tmp_path / "model.pth").eval()(IMAGES)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got, wanted, strict=True))


def test_a_file_of_another_backbone_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="missing"):
        TimmEncoder("test_efficientnet", tmp_path / "model.pth")


def test_an_unknown_backbone_is_answered_with_close_names() -> None:
    with pytest.raises(ConfigError, match=r"no backbone 'resnet51'.*resnet"):
        TimmEncoder("resnet51")


def test_a_backbone_without_the_strides_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no features at strides \[8, 32\]"):
        TimmEncoder("test_vit")


def test_a_frozen_encoder_keeps_no_graph_and_stays_in_eval_mode() -> None:
    encoder = TimmEncoder("test_resnet", frozen=True).train()
    assert not any(tap.requires_grad for tap in encoder(IMAGES))
    assert not any(module.training for module in encoder.encoder.modules())


def test_a_tag_is_fetched_where_it_is_asked_for(asked: list[tuple[str, bool]]) -> None:
    TimmEncoder("test_convnext.r160_in1k", pretrained=True)
    TimmEncoder("test_convnext.r160_in1k")
    assert asked == [("test_convnext.r160_in1k", True), ("test_convnext.r160_in1k", False)]
    with pytest.raises(ConfigError, match="both pretrained and checkpoint"):
        TimmEncoder("test_convnext", {}, pretrained=True)
