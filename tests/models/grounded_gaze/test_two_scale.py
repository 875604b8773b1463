import pytest
import torch
from torch.nn import functional as F

from saltext.models.grounded_gaze.two_scale import TwoScale, TwoScaleVit
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.image.vit import VitEncoder


@pytest.fixture
def two_scale() -> TwoScale:
    torch.manual_seed(0)
    return TwoScale(TimmEncoder("test_efficientnet", frozen=True)).eval()


def test_the_first_scale_is_the_image_at_half_its_size(two_scale: TwoScale) -> None:
    images = torch.randn(2, 3, 128, 192)
    features = two_scale(images)
    half, full = two_scale.encoder(F.avg_pool2d(images, 2)), two_scale.encoder(images)
    for feature, expected in zip(features, (*half, *full[1:]), strict=True):
        assert feature.dtype == torch.float16
        assert torch.equal(feature, expected.half())


@pytest.mark.parametrize("size", [(128, 192), (75, 101), (33, 64)])
def test_all_features_are_resized_to_the_grid_of_the_full_size_image(
    two_scale: TwoScale, size: tuple[int, int]
) -> None:
    features = two_scale(torch.randn(1, 3, *size))
    rows, columns = (-(-side // 32) for side in size)
    assert two_scale.coarse(features).shape == (1, two_scale.coarse_channels, rows, columns)
    assert two_scale.fine(features).shape == (1, two_scale.fine_channels, 2 * rows, 2 * columns)


def test_a_feature_keeps_its_mean_when_it_is_resized_to_the_grid(two_scale: TwoScale) -> None:
    features = two_scale(torch.randn(1, 3, 128, 192))
    first = features[0].shape[1]  # stride 8 of the half-size image, twice as fine as the grid
    torch.testing.assert_close(
        two_scale.coarse(features)[:, :first].mean((2, 3)), features[0].float().mean((2, 3)), rtol=1e-3, atol=1e-3
    )


@pytest.fixture
def vit() -> TwoScaleVit:
    torch.manual_seed(0)
    return TwoScaleVit(VitEncoder("test_vit", frozen=True)).eval()


@pytest.mark.parametrize("stride", [16, 32])
@pytest.mark.parametrize("size", [(128, 192), (75, 101), (33, 64)])
def test_features_of_a_transformer_have_the_grids_of_others(size: tuple[int, int], stride: int) -> None:
    vit = TwoScaleVit(VitEncoder("test_vit", stride=stride, frozen=True)).eval()
    features = vit(torch.randn(1, 3, *size))
    rows, columns = (-(-side // 32) for side in size)
    assert vit.coarse(features).shape == (1, vit.coarse_channels, rows, columns)
    assert vit.fine(features).shape == (1, vit.fine_channels, 2 * rows, 2 * columns)
    assert vit.last(features).shape == (1, vit.encoder.channels[-1], rows, columns)


def test_a_transformer_s_coarse_feature_is_of_all_blocks_and_of_the_image_at_half_its_size(vit: TwoScaleVit) -> None:
    images = torch.randn(1, 3, 128, 192)
    blocks, half = vit.encoder(images), vit.encoder(F.avg_pool2d(images, 2))[-1]
    wanted = torch.cat([*(F.avg_pool2d(block, 2) for block in blocks), half], dim=1)
    features = vit(images)
    assert {feature.dtype for feature in features} == {torch.float16}
    torch.testing.assert_close(vit.coarse(features), wanted, rtol=1e-3, atol=5e-3)
    torch.testing.assert_close(vit.fine(features), blocks[1], rtol=1e-3, atol=5e-3)
    torch.testing.assert_close(vit.last(features).float(), F.avg_pool2d(blocks[-1], 2), rtol=1e-3, atol=5e-3)
