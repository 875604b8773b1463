"""How the highest density regions of a prediction cover fixations."""

import numpy as np
import pytest
import torch

from saltext.metrics import Fixations
from saltext.metrics.calibration import coverage

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def random_case(seed: int, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps with ties and zeros, and counts."""
    rng = np.random.default_rng(seed)
    pred = rng.integers(0, 6, (batch, 1, 7, 9)).astype(np.float64)
    return torch.from_numpy(pred), torch.from_numpy(rng.poisson(0.4, pred.shape))


def plain(pred: np.ndarray, counts: np.ndarray, level: float) -> float:
    """Walk down the densities, and let what is equally dense enter evenly."""
    density, left, found = pred / pred.sum(), level, 0.0
    for value in sorted(set(density.ravel()), reverse=True):
        there = density == value
        if value == 0 or left <= 0:
            break
        part = min(1.0, left / density[there].sum())
        found += part * counts[there].sum()
        left -= part * density[there].sum()
    return found / counts.sum()


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_plain_reference(seed: int) -> None:
    pred, counts = random_case(seed)
    expected = [[plain(p, c, level) for level in LEVELS] for p, c in zip(pred.numpy(), counts.numpy(), strict=True)]
    np.testing.assert_allclose(coverage(pred, counts, LEVELS).numpy(), expected, atol=1e-12)


def test_half_of_a_pixel_s_fixations_lie_in_the_half_of_it_that_is_inside() -> None:
    # Masses 1/8 1/8 1/4 1/2. At 1/4 half of the densest pixel is inside: 2 of its 4 fixations, of 8.
    # At 7/8 the two densest are, with 4 + 2, and of the tied ones half of their mass: 1 of 2.
    pred = torch.tensor([[[[1.0, 1.0], [2.0, 4.0]]]])
    counts = torch.tensor([[[[2, 0], [2, 4]]]])
    assert coverage(pred, counts, [0.25, 0.875])[0].tolist() == pytest.approx([2 / 8, 7 / 8])


def test_a_uniform_map_and_the_fixations_themselves_are_calibrated_exactly() -> None:
    _, counts = random_case(0)
    for pred in (torch.full(counts.shape, 3.0), counts.double()):
        np.testing.assert_allclose(coverage(pred, counts, LEVELS).numpy(), [LEVELS] * 3, atol=1e-12)


def test_fixations_drawn_from_a_density_are_calibrated() -> None:
    rng = np.random.default_rng(1)
    density = rng.gamma(0.3, size=2000)
    counts = rng.multinomial(40_000, density / density.sum())
    shaped = (torch.from_numpy(values).reshape(1, 1, 40, 50) for values in (density, counts))
    # Standard error sqrt(.25 / 40000) = .0025
    np.testing.assert_allclose(coverage(*shaped, LEVELS)[0].numpy(), LEVELS, atol=0.011)


@pytest.mark.parametrize(("power", "sign"), [(3.0, -1), (0.3, 1)])
def test_a_prediction_that_is_too_sure_covers_too_little_and_one_too_spread_too_much(power: float, sign: int) -> None:
    rng = np.random.default_rng(2)
    density = rng.gamma(0.5, size=(1, 1, 40, 50))
    counts = rng.multinomial(5000, density.ravel() / density.sum()).reshape(density.shape)
    covered = coverage(torch.from_numpy(density**power), torch.from_numpy(counts), LEVELS)[0].numpy()
    assert (sign * (covered - LEVELS) > 0.05).all()


def test_it_rises_with_the_level_and_stays_within_its_range() -> None:
    pred, counts = random_case(3)
    covered = coverage(pred, counts, [step / 50 for step in range(1, 50)])
    assert (covered.diff(dim=1) >= -1e-12).all()
    assert covered.min() >= 0
    assert covered.max() <= 1


def test_neither_scale_nor_order_of_pixels_nor_batch_mates_matter() -> None:
    pred, counts = random_case(4)
    whole = coverage(pred, counts, LEVELS)
    order = torch.randperm(63, generator=torch.Generator().manual_seed(0))
    moved = [values.flatten(2)[..., order].reshape(3, 1, 9, 7) for values in (7 * pred, counts)]
    np.testing.assert_allclose(coverage(*moved, LEVELS).numpy(), whole.numpy(), atol=1e-12)
    alone = torch.cat([coverage(p[None], c[None], LEVELS) for p, c in zip(pred, counts, strict=True)])
    np.testing.assert_allclose(alone.numpy(), whole.numpy(), atol=1e-15)


def test_single_precision_gives_the_same_to_seven_digits() -> None:
    rng = np.random.default_rng(5)
    pred = torch.from_numpy(rng.gamma(0.5, size=(2, 1, 60, 80)))
    counts = torch.from_numpy(rng.poisson(0.05, pred.shape))
    narrow = coverage(pred.float(), counts, LEVELS)
    assert narrow.dtype == torch.float64
    np.testing.assert_allclose(narrow.numpy(), coverage(pred, counts, LEVELS).numpy(), atol=1e-6)


def test_a_map_of_zeros_covers_nothing_and_a_fixation_without_mass_is_never_covered() -> None:
    counts = torch.tensor([[[[1, 0, 1]]]])
    assert coverage(torch.zeros(1, 1, 1, 3), counts, LEVELS)[0].tolist() == [0] * 5
    assert coverage(torch.tensor([[[[0.0, 1.0, 1.0]]]]), counts, [0.999])[0].item() == pytest.approx(0.4995)


def test_an_image_without_fixations_is_undefined_and_the_others_are_not() -> None:
    fixations = Fixations.from_points([torch.empty(0, 2, dtype=torch.long), torch.tensor([[0, 1], [0, 1]])], (1, 2))
    covered = coverage(torch.tensor([[[[1.0, 3.0]]], [[[1.0, 3.0]]]]), fixations, [0.375])
    assert torch.isnan(covered[0]).all()
    assert covered[1].item() == pytest.approx(0.5)
    no_fixations = Fixations.from_points([torch.empty(0, 2, dtype=torch.long)], (1, 2))
    assert torch.isnan(coverage(torch.ones(1, 1, 1, 2), no_fixations, LEVELS)).all()


@pytest.mark.parametrize(
    ("pred", "levels", "said"),
    [
        (torch.ones(1, 1, 1, 2), [0.5, 1.0], r"above 0 and below 1, got \[1\.0\]"),
        (torch.ones(1, 1, 1, 2), [0.0], "above 0"),
        (torch.tensor([[[[1.0, -1.0]]]]), [0.5], "negative values"),
        (torch.tensor([[[[1.0, torch.nan]]]]), [0.5], "NaN"),
        (torch.ones(1, 1, 2, 2), [0.5], "resize pred"),
    ],
)
def test_what_has_no_coverage_is_refused(pred: torch.Tensor, levels: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        coverage(pred, torch.tensor([[[[1, 1]]]]), levels)
