import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from saltext.data.density import density_from_points, fitted_sigma, sigma_for


def _points(seed: int, number: int, size: tuple[int, int]) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([rng.integers(0, side, number) for side in size], axis=1))


def _convolved(points: torch.Tensor, size: tuple[int, int], sigma: float, truncate: float) -> np.ndarray:
    counts = np.zeros(size)
    np.add.at(counts, tuple(points.numpy().T), 1.0)
    blurred = gaussian_filter(counts, sigma, mode="constant", truncate=truncate)
    return blurred / blurred.max()


@pytest.mark.parametrize("size", [(48, 64), (64, 40)])
def test_equals_a_convolution_with_zeros_outside(size: tuple[int, int]) -> None:
    points = _points(0, 30, size)
    ours = density_from_points([points], size, 4.0)
    assert ours.shape == (1, 1, *size)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours[0, 0], _convolved(points, size, 4.0, truncate=30), atol=1e-6)


def test_a_cut_equals_a_kernel_of_that_radius() -> None:
    points = _points(1, 5, (60, 70))
    ours = density_from_points([points], (60, 70), 4.0, cut=3)[0, 0]
    np.testing.assert_allclose(ours, _convolved(points, (60, 70), 4.0, truncate=3), atol=1e-6)
    assert bool((ours == 0).any())


def test_a_point_listed_twice_counts_twice() -> None:
    # Far apart, so that each peak is one Gaussian's: heights 2 and 1, scaled to 1 and 1/2.
    points = torch.tensor([[5, 5], [5, 5], [5, 95]])
    density = density_from_points([points], (10, 100), 2.0)[0, 0]
    assert float(density[5, 5]) == 1.0
    assert float(density[5, 95]) == pytest.approx(0.5)


def test_a_maps_batch_mates_do_not_matter() -> None:
    lists = [_points(seed, number, (20, 30)) for seed, number in enumerate((3, 0, 17))]
    together = density_from_points(lists, (20, 30), [2.0, 3.0, 4.0])
    alone = [density_from_points([p], (20, 30), s) for p, s in zip(lists, (2.0, 3.0, 4.0), strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))
    assert not together[1].any()


def test_no_lists_give_no_maps() -> None:
    assert density_from_points([], (4, 5), 1.0).shape == (0, 1, 4, 5)


@pytest.mark.parametrize(
    ("points", "sigma", "cut", "message"),
    [
        (torch.tensor([[4, 0]]), 1.0, None, "map 0 lies outside its 4 x 5 pixels"),
        (torch.tensor([[0, -1]]), 1.0, None, "lies outside"),
        (torch.tensor([[0.0, 1.0]]), 1.0, None, "expected whole numbers"),
        (torch.tensor([0, 1]), 1.0, None, r"shape \(2,\)"),
        (torch.tensor([[0, 1]]), 0.0, None, "expected positive numbers"),
        (torch.tensor([[0, 1]]), 1.0, -1.0, "expected positive numbers, got .* and cut=-1.0"),
        (torch.tensor([[0, 1]]), [1.0, 2.0], None, "one for each of 1, got 2"),
    ],
)
def test_what_cannot_be_blurred_is_refused(points, sigma, cut, message) -> None:
    with pytest.raises(ValueError, match=message):
        density_from_points([points], (4, 5), sigma, cut)


def test_the_blur_follows_the_longer_side() -> None:
    assert [sigma_for(size) for size in ((640, 427), (480, 640), (575, 300))] == [32.0] * 3
    assert [sigma_for(size) for size in ((375, 500), (500, 333), (120, 160))] == [16.0] * 3


@pytest.mark.parametrize("sigma", [3.0, 9.0])
def test_the_blur_of_a_map_is_found_again(sigma: float) -> None:
    points = _points(2, 25, (90, 120))
    density = (density_from_points([points], (90, 120), sigma)[0, 0] * 255).round()
    assert fitted_sigma(points, density) == pytest.approx(sigma, rel=0.02)


@pytest.mark.real_data
def test_the_published_maps_are_these_densities(sjtu_root) -> None:
    for path in sorted((sjtu_root / "map_1800").glob("*.png"))[::90]:
        with Image.open(path) as image, Image.open(sjtu_root / "fixation_1800" / path.name) as fixated:
            published, points = np.asarray(image.convert("L")), np.argwhere(np.asarray(fixated.convert("L")))
        ours = density_from_points([torch.from_numpy(points)], published.shape, sigma_for(published.shape))
        assert np.corrcoef(ours.flatten(), published.ravel())[0, 1] > 0.9999, path.name
