"""Image features at two scales with the grounding of texts, as the readouts get them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.freezing import freeze
from saltext.models.grounded_gaze.backbone import Backbone, BackboneFeatures
from saltext.models.grounded_gaze.two_scale import TwoScale, TwoScaleVit
from saltext.models.grounding.base import Grounder, Grounding, ImageGrounder
from saltext.models.image.base import Encoder, Taps
from saltext.models.image.vit import VitEncoder
from saltext.models.text.base import TextEncoder
from saltext.models.text.tiny import TinyText
from tests.models.semantic_feature import SemanticFeature

TEXTS = ["dark", "bright"]
ROWS, COLUMNS = 2, 4  # even, so that no scale of Averages has a border


class Averages(Encoder):
    """Mean colours at strides 8, 16 and 32, scaled by a weight, which is 1."""

    channels = (3, 3, 3)

    def __init__(self, frozen: bool = True, mean: Any = (0.0, 0.0, 0.0), std: Any = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        if frozen:
            freeze(self)

    def forward(self, images: Tensor) -> Taps:
        x8, x16, x32 = (self.scale * F.avg_pool2d(images, stride, ceil_mode=True) for stride in (8, 16, 32))
        return x8, x16, x32


class Brightness(SemanticFeature):
    """Where the feature is as dark or as bright as the text says; the feature itself is the semantic map."""

    num_maps = 1

    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        sign = torch.tensor([1.0 if text == "bright" else -1.0 for text in texts])
        return activations.mean(1, keepdim=True) * sign[:, None, None, None]


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 32 * ROWS, 32 * COLUMNS, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoder() -> TextEncoder:
    return freeze(TinyText(dim=4))


def close(one: Tensor, other: Tensor) -> None:
    """Equal but for half precision, in which features of frozen modules are kept."""
    torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3)


def tensors(features: BackboneFeatures) -> list[Tensor]:
    assert features.semantic is not None
    assert features.grounding is not None
    return [features.coarse, features.fine, features.semantic, features.grounding]


def test_shapes_are_those_of_the_token_grid_and_of_one_twice_as_fine(images: Tensor, encoder: TextEncoder) -> None:
    backbone = Backbone(Averages(), Brightness()).eval()
    coarse, fine, semantic, grounding = tensors(backbone(images, TEXTS, encoder))
    assert coarse.shape == (2, backbone.two_scale.coarse_channels, ROWS, COLUMNS)
    assert fine.shape == (2, backbone.two_scale.fine_channels, 2 * ROWS, 2 * COLUMNS)
    assert semantic.shape == (2, 3, ROWS, COLUMNS)
    assert grounding.shape == (2, 1, ROWS, COLUMNS)
    assert all(feature.dtype == torch.float32 for feature in (coarse, fine, semantic, grounding))


def test_the_kind_of_encoder_decides_how_two_scales_are_read() -> None:
    assert isinstance(Backbone(Averages()).two_scale, TwoScale)
    assert isinstance(Backbone(VitEncoder("test_vit", frozen=True)).two_scale, TwoScaleVit)


def test_the_grounder_reads_the_feature_of_the_full_size_image(images: Tensor, encoder: TextEncoder) -> None:
    found = Backbone(Averages(), Brightness()).eval()(images, TEXTS, encoder)
    feature = F.avg_pool2d(images, 32)
    assert found.semantic is not None
    assert found.grounding is not None
    close(found.semantic, feature)
    close(found.grounding, feature.mean(1, keepdim=True) * torch.tensor([-1.0, 1.0])[:, None, None, None])


def test_features_of_an_image_do_not_depend_on_its_batch_mates(images: Tensor, encoder: TextEncoder) -> None:
    backbone = Backbone(Averages(), Brightness()).eval()
    together = tensors(backbone(images, TEXTS, encoder))
    for row in range(2):
        alone = tensors(backbone(images[row : row + 1], TEXTS[row : row + 1], encoder))
        assert all(torch.equal(one[0], both[row]) for one, both in zip(alone, together, strict=True))


def test_the_mirrored_image_has_the_mirrored_features(images: Tensor, encoder: TextEncoder) -> None:
    backbone = Backbone(Averages(), Brightness()).eval()
    one, other = (tensors(backbone(each, TEXTS, encoder)) for each in (images, images.flip(-1)))
    for feature, mirrored in zip(one, other, strict=True):
        close(mirrored.flip(-1), feature)


def test_the_text_changes_grounding_maps_and_nothing_else(images: Tensor, encoder: TextEncoder) -> None:
    backbone = Backbone(Averages(), Brightness()).eval()
    one, other = (tensors(backbone(images, texts, encoder)) for texts in (TEXTS, TEXTS[::-1]))
    assert [torch.equal(a, b) for a, b in zip(one, other, strict=True)] == [True, True, True, False]


@pytest.mark.parametrize("grounder", [None, Brightness(has_semantic=False)])
def test_maps_that_no_grounder_gives_are_none(images: Tensor, encoder: TextEncoder, grounder: Grounder | None) -> None:
    found = Backbone(Averages(), grounder).eval()(images, TEXTS, encoder)
    assert found.semantic is None
    assert (found.grounding is None) == (grounder is None)


def test_without_a_text_encoder_the_backbone_s_grounder_is_not_asked(images: Tensor) -> None:
    found = Backbone(Averages(), Brightness()).eval()(images, TEXTS, None)
    assert found.semantic is None
    assert found.grounding is None


def test_groundings_of_the_network_follow_the_backbone_s_own_at_the_token_grid(
    images: Tensor, encoder: TextEncoder
) -> None:
    finer = Grounding(torch.full((2, 2, 2 * ROWS, 2 * COLUMNS), 7.0), torch.full((2, 5, 1, 1), 9.0))
    found = Backbone(Averages(), Brightness()).eval()(images, TEXTS, encoder, [finer])
    assert found.grounding is not None
    assert found.semantic is not None
    assert found.grounding.shape == (2, 1 + 2, ROWS, COLUMNS)
    assert found.semantic.shape == (2, 3 + 5, ROWS, COLUMNS)
    assert (found.grounding[:, 1:] == 7).all()
    assert (found.semantic[:, 3:] == 9).all()
    assert (found.grounding[:, :1] < 7).all()


def test_images_are_converted_where_the_encoder_expects_others(images: Tensor) -> None:
    same = Backbone(Averages())
    same.takes_images_of((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert same.renormalize is None
    other = Backbone(Averages(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)))
    other.takes_images_of((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert other.renormalize is not None
    other.renormalize.set_input_normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (other.mean, other.std))
    expected = same.eval()((images - mean) / std, TEXTS, None)
    found = other.eval()(images, TEXTS, None)
    close(found.coarse, expected.coarse)
    close(found.fine, expected.fine)


def test_gradients_reach_an_encoder_that_trains_but_not_through_the_grounder(
    images: Tensor, encoder: TextEncoder
) -> None:
    image_encoder = Averages(frozen=False)
    found = Backbone(image_encoder, Brightness()).train()(images, TEXTS, encoder)
    assert found.grounding is not None
    assert not found.grounding.requires_grad
    found.coarse.sum().backward()
    assert image_encoder.scale.grad is not None
    assert image_encoder.scale.grad.abs().min() > 0


def test_features_of_a_frozen_encoder_have_no_gradient_and_those_of_a_trained_one_are_not_rounded(
    images: Tensor,
) -> None:
    frozen = Backbone(Averages()).train()(images, TEXTS, None)
    trained = Backbone(Averages(frozen=False)).train()(images, TEXTS, None)
    assert not frozen.coarse.requires_grad
    last, precise = frozen.coarse[:, -3:], trained.coarse[:, -3:]  # already on the token grid
    assert torch.equal(last, precise.half().float())
    assert not torch.equal(last, precise)
    close(frozen.coarse, trained.coarse)


def test_a_grounder_that_encodes_images_itself_is_refused() -> None:
    class OfImages(ImageGrounder):
        pass

    with pytest.raises(ConfigError, match=r"expected a grounder that reads the backbone's features, got OfImages"):
        Backbone(Averages(), OfImages())
