import pytest
import torch
from torch import nn

from saltext.errors import ConfigError
from saltext.models.blending.grounded import Grounded
from saltext.models.blending.inner_product import InnerProduct
from saltext.models.blending.token_cross_attention import TokenCrossAttention
from saltext.models.clip_salgan.pyramid import PyramidGenerator
from saltext.models.grounding.class_names import ClassNameGrounder
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.text.tiny import TinyText

SIZES = {"channels": (16, 16, 8, 4), "grid": (4, 6)}


@pytest.mark.parametrize("size", [(64, 96), (70, 101), (33, 50), (128, 64)])
def test_any_input_size_gives_a_map_of_a_quarter_of_the_rounded_size(size: tuple[int, int]) -> None:
    generator = PyramidGenerator(TimmEncoder("test_efficientnet"), TinyText(), TokenCrossAttention, **SIZES).eval()
    logits = generator(torch.randn(1, 3, *size), ["a dog"])
    assert list(logits.shape) == [1, 1, *(-(-side // 8) * 2 for side in size)]
    assert logits.isfinite().all()


def test_every_stride_of_the_encoder_reaches_the_map() -> None:
    generator = PyramidGenerator(TimmEncoder("test_efficientnet"), None, None, **SIZES).eval()
    image = torch.randn(1, 3, 64, 96)
    whole = generator(image, [""])
    taps = generator.encoder(image)
    for place in range(3):
        without = tuple(torch.zeros_like(tap) if index == place else tap for index, tap in enumerate(taps))
        generator.encoder.forward = lambda images, taps=without: taps  # type: ignore[method-assign]
        assert not torch.allclose(generator(image, [""]), whole)


def test_what_a_grounder_finds_reaches_the_map() -> None:
    encoder = TimmEncoder("test_efficientnet")
    grounder = ClassNameGrounder(nn.Conv2d(encoder.channels[2], 2, kernel_size=1), ["dog", "lamp"])
    generator = PyramidGenerator(encoder, TinyText(), InnerProduct, grounder, **SIZES).eval()
    assert isinstance(generator.fusion_conv, Grounded)
    image = torch.randn(1, 3, 64, 96)
    before = generator(image, ["dog"])
    with torch.no_grad():
        generator.fusion_conv.grounding_film.affine.weight.normal_()
    assert not torch.allclose(generator(image, ["dog"]), before)


def test_a_grounder_without_a_blending_module_is_dropped() -> None:
    grounder = ClassNameGrounder(nn.Identity(), ["dog"])
    generator = PyramidGenerator(TimmEncoder("test_efficientnet"), TinyText(), None, grounder, **SIZES)
    assert generator.grounder is None
    assert not generator.reads_text


@pytest.mark.parametrize("channels", [(8, 8, 8), (8, 8, 8, 0)])
def test_other_than_four_widths_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="strides 32, 16, 8 and 4"):
        PyramidGenerator(TimmEncoder("test_efficientnet"), None, None, channels=channels)
