"""Fixations in eye-tracking samples, by a velocity threshold (I-VT)."""

import numpy as np
import numpy.typing as npt

_STEP = 2  # samples before and after: the velocity is that of their distance, which averages the tracker's noise


def fixations_of(
    gaze: npt.NDArray[np.floating],
    *,
    samples_per_second: float,
    pixels_per_degree: float,
    fastest: float = 30.0,
    shortest: float = 0.05,
) -> npt.NDArray[np.float64]:
    """Fixations by a threshold of velocity (I-VT).

    Args:
        gaze: (x, y) of each sample in pixels, shape ``(n, 2)``; NaN or negative where the tracker lost the viewer.
        samples_per_second: Rate of the recording.
        pixels_per_degree: Pixels in a degree of visual angle.
        fastest: Velocity in degrees per second below which a sample belongs to a fixation.
        shortest: Duration in seconds of the shortest fixation.

    Returns:
        The median (x, y) of each fixation, float64 ``(m, 2)``, in the order of the recording.

    Example:
        >>> gaze = np.repeat([[10.0, 20.0], [200.0, 80.0]], 60, axis=0)  # a quarter of a second at each of two points
        >>> fixations_of(gaze, samples_per_second=240, pixels_per_degree=34)
        array([[ 10.,  20.],
               [200.,  80.]])

    References:
        Salvucci and Goldberg, Identifying fixations and saccades in eye-tracking protocols, ETRA 2000.
    """
    points = np.asarray(gaze, np.float64).reshape(-1, 2)
    tracked = np.isfinite(points[:, 0]) & np.isfinite(points[:, 1]) & (points[:, 0] >= 0) & (points[:, 1] >= 0)
    points = np.where(tracked[:, None], points, np.nan)
    number = np.arange(len(points))
    before, after = np.maximum(number - _STEP, 0), np.minimum(number + _STEP, len(points) - 1)
    seconds = np.maximum(after - before, 1) / samples_per_second
    degrees = np.hypot(*(points[after] - points[before]).T) / pixels_per_degree
    with np.errstate(invalid="ignore"):  # a sample next to a lost one has no velocity, and no fixation
        at_rest = tracked & (degrees / seconds < fastest)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], at_rest, [False]]).astype(np.int8)))
    stretches = [(start, end) for start, end in edges.reshape(-1, 2) if end - start >= shortest * samples_per_second]
    medians = [np.median(points[start:end], axis=0) for start, end in stretches]
    return np.array(medians, np.float64).reshape(-1, 2)
