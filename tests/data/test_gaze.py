"""Fixations in recordings."""

import numpy as np

from saltext.data.gaze import fixations_of

RATES = {"samples_per_second": 240, "pixels_per_degree": 34}


def _resting(*points: tuple[float, float], samples: int = 60, noise: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.repeat(np.array(points, float), samples, axis=0) + rng.normal(0, noise, (samples * len(points), 2))


def test_every_rest_is_a_fixation_at_its_median() -> None:
    found = fixations_of(_resting((100, 100), (300, 50), (20, 200)), **RATES)
    np.testing.assert_allclose(found, [(100, 100), (300, 50), (20, 200)], atol=0.5)


def test_a_rest_that_is_too_short_is_none() -> None:
    gaze = np.concatenate([_resting((100, 100)), _resting((300, 50), samples=8), _resting((20, 200))])
    np.testing.assert_allclose(fixations_of(gaze, **RATES), [(100, 100), (20, 200)], atol=0.5)


def test_slow_pursuit_is_one_fixation_and_a_fast_one_is_none() -> None:
    slow = np.linspace((100, 100), (110, 100), 120)
    fast = np.linspace((100, 100), (1500, 100), 120)
    assert len(fixations_of(slow, **RATES)) == 1
    assert len(fixations_of(fast, **RATES)) == 0


def test_blinks_divide_and_are_not_looked_at() -> None:
    gaze = _resting((100, 100), (100, 100))
    gaze[60:70] = -1
    gaze[30:34] = np.nan
    found = fixations_of(gaze, **RATES)
    assert len(found) == 3
    np.testing.assert_allclose(found, [(100, 100)] * 3, atol=0.5)


def test_an_empty_recording_has_none() -> None:
    assert fixations_of(np.zeros((0, 2)), **RATES).shape == (0, 2)
