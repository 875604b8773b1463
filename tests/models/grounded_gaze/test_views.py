import pytest
import torch
from torch.nn import functional as F

from saltext.models.grounded_gaze.views import TwoViews, coarse, fine
from saltext.models.image.timm_encoder import TimmEncoder


@pytest.fixture
def views() -> TwoViews:
    torch.manual_seed(0)
    return TwoViews(TimmEncoder("test_efficientnet", frozen=True)).eval()


def test_the_small_view_is_the_image_at_half_its_size(views: TwoViews) -> None:
    images = torch.randn(2, 3, 128, 192)
    seen = views(images)
    small, full = views.encoder(F.avg_pool2d(images, 2)), views.encoder(images)
    for feature, expected in zip(seen, (*small, *full[1:]), strict=True):
        assert feature.dtype == torch.float16
        assert torch.equal(feature, expected.half())


@pytest.mark.parametrize("size", [(128, 192), (75, 101), (33, 64)])
def test_all_features_come_to_the_grid_of_the_full_view(views: TwoViews, size: tuple[int, int]) -> None:
    seen = views(torch.randn(1, 3, *size))
    rows, columns = (-(-side // 32) for side in size)
    assert coarse(seen).shape == (1, views.coarse_channels, rows, columns)
    assert fine(seen).shape == (1, views.fine_channels, 2 * rows, 2 * columns)


def test_a_feature_keeps_its_mean_when_it_is_brought_to_the_grid(views: TwoViews) -> None:
    seen = views(torch.randn(1, 3, 128, 192))
    first = seen[0].shape[1]  # stride 8 of the small view, twice as fine as the grid
    torch.testing.assert_close(coarse(seen)[:, :first].mean((2, 3)), seen[0].float().mean((2, 3)), rtol=1e-3, atol=1e-3)
