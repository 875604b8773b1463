r"""Do the predicted densities mean what they say? The share of fixations where they put each share of their mass.

The densest pixels that together hold a share *a* of an image's predicted mass should receive a share *a* of its
fixations (:func:`saltext.metrics.calibration.coverage`). Shares are averaged over the test pairs of a task, each pair
with the same weight, for masses of 5 % to 95 %. Two numbers sum the curve up:

* the **calibration error**, the mean distance of the curve from the diagonal: 0 (calibrated) to .5. It is the expected
  calibration error of Naeini et al. (2015), which averages \|share observed - share promised\|, for regions of
  prescribed mass, as Kuleshov et al. (2018) look at the regions of a regression.
* the **signed calibration error**, the mean of the curve minus the diagonal: above 0 the maps are too spread out, below
  0 overconfident.

Pairs without a fixation have no coverage and are left out; a task without any other pair has no row.

References:
    Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
    Kuleshov, Fenner and Ermon, Accurate uncertainties for deep learning using calibrated regression, ICML 2018.
"""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saltext import storage
from saltext.data.tasks import in_order
from saltext.errors import DamagedFileError
from saltext.results.comparison import bootstrap_means
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)

LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Shares of the predicted mass."""

_NAMES = [f"mass_{level:.2f}" for level in LEVELS]

COLUMNS = ("image_id", "task", "maps", "fixations", *_NAMES)
"""Of a table of coverages, one row a test pair and kind of map: the last columns hold the share of the pair's fixations
inside the region of each mass."""

MODEL, PEOPLE = "model", "people"
"""Kinds of map: what the model predicts, and the data set's own, which are blurred fixations. A model that predicted
these exactly would be calibrated as they are: their distance from the diagonal is that of the blur."""

_DRAWS = 2000
_INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Calibration:
    """How a task's maps are calibrated.

    Attributes:
        task: The task.
        pairs: With at least one fixation.
        images: They belong to.
        covered: Share of the fixations inside the region of each of :data:`LEVELS`, mean over pairs, shape (levels,).
        low, high: Ends of the 95 % intervals, bootstrap over images, likewise.
        signed_low: Lower end of the interval of :attr:`signed_error`.
        signed_high: Upper end.
    """

    task: str
    pairs: int
    images: int
    covered: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    signed_low: float
    signed_high: float

    @property
    def error(self) -> float:
        """Mean distance of the curve from the diagonal, 0 to .5."""
        return float(np.abs(self.covered - LEVELS).mean())

    @property
    def signed_error(self) -> float:
        """Mean of the curve minus the diagonal, -.5 to .5."""
        return float((self.covered - LEVELS).mean())


def calibrations(coverage: pd.DataFrame, maps: str = MODEL) -> list[Calibration]:
    """Calibration by task, tasks in their usual order.

    Args:
        coverage: Columns :data:`COLUMNS`.
        maps: The kind that is looked at.
    """
    known = coverage[coverage["maps"] == maps].dropna(subset=_NAMES)
    return [_calibration(task, known[known["task"] == task]) for task in in_order(known["task"])]


def _calibration(task: str, part: pd.DataFrame) -> Calibration:
    coverages = part[_NAMES].to_numpy(np.float64)
    images = part["image_id"].to_numpy()
    # The same resamples for every level, since the seed is the same.
    means = np.stack([bootstrap_means(column, images, _DRAWS) for column in coverages.T], axis=1)
    low, high = np.quantile(means, _INTERVAL, axis=0)
    signed = np.quantile((means - LEVELS).mean(axis=1), _INTERVAL)
    count = len(set(images))
    return Calibration(task, len(part), count, coverages.mean(axis=0), low, high, float(signed[0]), float(signed[1]))


def read(folder: RunFolder, fingerprint: str) -> pd.DataFrame | None:
    """The coverages a run's folder holds; None if there are none, or of other maps than the fingerprint stands for."""
    if not folder.coverage.is_file():
        return None
    try:
        storage.check_csv(folder.coverage)
        table = pd.read_csv(folder.coverage, dtype={"image_id": str})
    except (DamagedFileError, ValueError) as error:
        _log.warning("%s; it is computed again", error)
        return None
    current = set(COLUMNS) < set(table) and (table["of"] == fingerprint).all()
    return table[list(COLUMNS)] if current else None


def write(folder: RunFolder, coverage: pd.DataFrame, fingerprint: str) -> None:
    """Keep coverages in a run's folder, with what stands for the maps they were computed from."""
    storage.write_csv(folder.coverage, coverage.assign(of=fingerprint), durable=True)
