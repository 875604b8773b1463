from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from saltext.errors import CheckpointError
from saltext.models.blending.inner_product import InnerProduct
from saltext.models.clip_salgan.sal_gan_vgg import SalGANVGG
from saltext.models.freezing import is_frozen
from saltext.models.text.tiny import TinyText


@pytest.fixture(scope="module")
def published() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.vgg16(weights=None).eval()


@pytest.fixture(scope="module")
def generator(published: nn.Module) -> SalGANVGG:
    return SalGANVGG(TinyText(), InnerProduct, weights=published.state_dict()).eval()


def widths(module: nn.Module) -> list[int]:
    return [part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d)]


def test_the_encoder_is_torchvision_s_vgg_16_up_to_its_last_convolution(
    generator: SalGANVGG, published: nn.Module
) -> None:
    image = torch.randn(1, 3, 64, 48)
    torch.testing.assert_close(generator.encoder(image), published.features[:30](image))


def test_the_decoder_has_the_encoder_s_widths_in_reverse(generator: SalGANVGG) -> None:
    assert widths(generator.decoder) == widths(generator.encoder)[::-1]


@pytest.mark.parametrize(("size", "expected"), [((32, 48), (32, 48)), ((33, 50), (40, 56))])
def test_any_size_gives_a_map_of_the_input_s_size_or_the_next_multiple_of_8(
    generator: SalGANVGG, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    logits = generator(torch.randn(1, 3, *size), ["a dog"])
    assert tuple(logits.shape) == (1, 1, *expected)
    assert logits.isfinite().all()


def test_a_frozen_encoder_does_not_train() -> None:
    generator = SalGANVGG(None, None, frozen=True)
    assert is_frozen(generator.encoder)
    assert not is_frozen(generator.decoder)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth is for another network"):
        SalGANVGG(None, None, weights=tmp_path / "other.pth")
