import pytest
import torch
from torch.nn import functional as F

from saltext.models.grounded_gaze.two_scale import TwoScale, coarse, fine
from saltext.models.image.timm_encoder import TimmEncoder


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
    assert coarse(features).shape == (1, two_scale.coarse_channels, rows, columns)
    assert fine(features).shape == (1, two_scale.fine_channels, 2 * rows, 2 * columns)


def test_a_feature_keeps_its_mean_when_it_is_resized_to_the_grid(two_scale: TwoScale) -> None:
    features = two_scale(torch.randn(1, 3, 128, 192))
    first = features[0].shape[1]  # stride 8 of the half-size image, twice as fine as the grid
    torch.testing.assert_close(
        coarse(features)[:, :first].mean((2, 3)), features[0].float().mean((2, 3)), rtol=1e-3, atol=1e-3
    )
