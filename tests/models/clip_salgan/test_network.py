"""What all generators share: reading and blending of the text, and the paper's blocks."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.blending.base import BlendFactory
from saltext.models.blending.concat import Concat
from saltext.models.clip_salgan.network import Generator, conv_block, to_multiple
from saltext.models.freezing import freeze
from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.text.tiny import TinyText
from tests.models.clip_salgan.stubs import Given

CHANNELS, TEXT_CHANNELS, GRID = 6, 5, (4, 6)


class Bare(Generator):
    """The base and nothing else: the image itself, brought to the blending module's channels, is the image feature."""

    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)

    def __init__(
        self, text_encoder: TextEncoder | None, blend: BlendFactory | None, round_features: bool = False
    ) -> None:
        super().__init__()
        self._add_text_modules(text_encoder, blend, CHANNELS, GRID, TEXT_CHANNELS, round_features)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        return self._blend(images.repeat(1, CHANNELS // 3, 1, 1), self._text_features(images, texts))

    def text_features(self, images: Tensor, texts: Sequence[str]) -> TextFeatures:
        features = self._text_features(images, texts)
        assert features is not None
        return features


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, *GRID)


def test_the_1x1_convolution_is_a_linear_layer_of_the_pooled_feature_and_of_each_token(images: Tensor) -> None:
    encoder = TinyText(dim=8)
    generator = Bare(encoder, Concat)
    texts = ["a red circle", "a dog"]
    own, mapped = encoder(texts), generator.text_features(images, texts)
    conv = generator.text_feature_conv
    assert conv is not None
    weight = conv.weight[:, :, 0, 0]
    torch.testing.assert_close(mapped.pooled, F.linear(own.pooled, weight, conv.bias))
    torch.testing.assert_close(mapped.tokens, F.linear(own.tokens, weight, conv.bias))
    assert mapped.tokens.shape == (2, 4, TEXT_CHANNELS)  # a start token and three words
    assert torch.equal(mapped.mask, own.mask)


def test_rounded_features_are_the_integers_towards_zero(images: Tensor) -> None:
    rows = torch.tensor([[1.9, -1.9, 0.4], [-2.0, 3.5, -0.4]])
    rounded = Bare(Given(rows), Concat, round_features=True)
    plain = Bare(Given(torch.tensor([[1.0, -1.0, 0.0], [-2.0, 3.0, 0.0]])), Concat)
    plain.load_state_dict(rounded.state_dict())
    assert torch.equal(rounded(images, ["0", "1"]), plain(images, ["0", "1"]))


def test_an_encoder_gets_the_images_only_if_it_reads_them(images: Tensor) -> None:
    class Noting(TinyText):
        def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
            self.given = images
            return super().forward(texts)

    encoder = Noting(dim=8)
    generator = Bare(encoder, Concat)
    for reads in (False, True):
        encoder.reads_image = reads
        generator(images, ["", ""])
        assert encoder.given is (images if reads else None)


def test_the_encoder_gets_the_normalisation_of_the_images() -> None:
    class Recording(TinyText):
        def set_input_normalization(self, mean: Sequence[float], std: Sequence[float], order: str = "rgb") -> None:
            self.normalization = (mean, std, order)

    encoder = Recording(dim=8)
    Bare(encoder, Concat)
    assert encoder.normalization == (Bare.mean, Bare.std, "rgb")


def test_a_generator_without_a_blending_module_drops_the_encoder_and_convolves_the_image_alone(images: Tensor) -> None:
    control = Bare(TinyText(dim=8), None)
    assert control.text_encoder is None
    assert control.text_feature_conv is None
    assert not control.reads_text
    assert [tuple(value.shape) for value in control.state_dict().values()] == [(CHANNELS, CHANNELS, 3, 3), (CHANNELS,)]
    expected = F.conv2d(images.repeat(1, 2, 1, 1), control.fusion_conv.weight, control.fusion_conv.bias, padding=1)
    torch.testing.assert_close(control(images, ["a dog", "a cat"]), expected)


def test_the_text_modules_come_last_in_the_state_dict_in_the_published_order() -> None:
    prefixes = [name.split(".")[0] for name in Bare(TinyText(dim=8), Concat).state_dict()]
    assert list(dict.fromkeys(prefixes)) == ["text_feature_conv", "fusion_conv", "text_encoder"]


def test_a_text_changes_the_map_of_its_own_image_alone(images: Tensor) -> None:
    generator = Bare(TinyText(dim=8), Concat)
    one, other = generator(images, ["a dog", "a lamp"]), generator(images, ["a boat", "a lamp"])
    assert not torch.allclose(one[0], other[0])
    torch.testing.assert_close(one[1], other[1])


@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_reach_the_encoder_unless_it_is_frozen_and_always_what_follows_it(
    images: Tensor, frozen: bool
) -> None:
    encoder = freeze(TinyText(dim=8)) if frozen else TinyText(dim=8)
    generator = Bare(encoder, Concat).train()
    generator(images, ["a dog", ""]).square().sum().backward()
    reached = {name.split(".")[0] for name, value in generator.named_parameters() if value.grad is not None}
    assert reached == {"text_feature_conv", "fusion_conv", *([] if frozen else ["text_encoder"])}
    assert all(value.grad is None or value.grad.abs().sum() > 0 for value in generator.fusion_conv.parameters())


def test_a_blending_module_without_a_text_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="a blending module needs a text encoder; choose one, or blend none"):
        Bare(None, Concat)


def test_a_block_repeats_convolution_batchnorm_and_relu() -> None:
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    block = conv_block(3, 8, 2)
    assert [type(layer) for layer in block] == kinds * 2
    assert [layer.in_channels for layer in block if isinstance(layer, nn.Conv2d)] == [3, 8]
    assert [layer.out_channels for layer in block if isinstance(layer, nn.Conv2d)] == [8, 8]


def test_a_block_keeps_the_size_and_is_nonnegative_and_is_the_convolutions_of_torch() -> None:
    block = conv_block(3, 8, 2).eval()
    x = torch.randn(2, 3, 9, 7)
    expected = x
    for index in (0, 3):
        conv, norm = block[index], block[index + 1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        y = F.conv2d(expected, conv.weight, conv.bias, padding=1)
        y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        expected = y.clamp_min(0)
    found = block(x)
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, 8, 9, 7)
    assert found.min() >= 0


def test_a_block_of_mirrored_kernels_gives_the_mirrored_feature_of_the_mirrored_image() -> None:
    block = conv_block(3, 8, 2).eval()
    x = torch.randn(1, 3, 8, 12)
    expected = block(x).flip(-1)
    with torch.no_grad():
        for layer in block:
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(layer.weight.flip(-1))
    torch.testing.assert_close(block(x.flip(-1)), expected)


@pytest.mark.parametrize(
    ("size", "expected"), [((8, 8), (8, 8)), ((9, 16), (16, 16)), ((33, 50), (40, 56)), ((1, 7), (8, 8))]
)
def test_sizes_are_rounded_up_to_a_multiple_of_8(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert to_multiple(torch.rand(1, 3, *size)).shape == (1, 3, *expected)


def test_an_image_of_a_fitting_size_is_not_touched_and_another_is_resized_within_its_range() -> None:
    fitting, other = torch.rand(1, 3, 16, 24), torch.rand(1, 3, 15, 22)
    assert to_multiple(fitting) is fitting
    resized = to_multiple(other)
    torch.testing.assert_close(resized, F.interpolate(other, size=(16, 24), mode="bilinear"))
    assert other.min() <= resized.min()
    assert resized.max() <= other.max()
    torch.testing.assert_close(to_multiple(other.flip(-1)), resized.flip(-1))
