"""Calibration of the predicted densities: the fraction of fixations inside the densest pixels of each predicted mass.

The densest pixels that together hold a fraction *a* of an image's predicted mass should receive a fraction *a* of its
fixations (:func:`saltext.metrics.calibration.coverage`). Fractions are means over the pairs of a task that have a
fixation. The **calibration error** is the mean distance of that curve from the diagonal, 0 (calibrated) to .5; the
**signed calibration error** is the mean of the curve minus the diagonal: above 0 the maps are too spread out, below 0
overconfident.

References:
    Naeini et al., Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015 (the error).
    Kuleshov et al., Accurate uncertainties for deep learning using calibrated regression, ICML 2018 (its regions).
"""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saltext import storage
from saltext.data.tasks import in_order
from saltext.errors import DamagedFileError
from saltext.results.comparison import Estimate, bootstrap_means
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)

LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Fractions of the predicted mass, 0 to 1."""

_LEVEL_COLUMNS = [f"mass_{level:.2f}" for level in LEVELS]

COLUMNS = ("image_id", "task", "maps", "fixations", *_LEVEL_COLUMNS)
"""Columns of a table of coverages, one row per test pair and kind of map; the last ones hold the fraction of the pair's
fixations inside the densest pixels of each of :data:`LEVELS`."""

MODEL, HUMAN = "model", "human"
"""Kinds of map in the column ``maps``: predictions, and human maps, which are off the diagonal by their blur."""

_DRAWS = 2000
_INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Calibration:
    """Calibration curve of the pairs of one task, with 95 % intervals (bootstrap over images).

    ``covered``, ``low`` and ``high`` are of each of :data:`LEVELS`, shape (levels,); ``signed_error`` is -.5 to .5.
    """

    task: str
    pairs: int
    covered: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    signed_error: Estimate

    @property
    def error(self) -> float:
        """Mean distance of the curve from the diagonal, 0 to .5."""
        return float(np.abs(self.covered - LEVELS).mean())


def calibrations(coverage: pd.DataFrame, maps: str = MODEL) -> list[Calibration]:
    """Calibration of one kind of map by task, from a table with :data:`COLUMNS`; none without a pair with fixations."""
    defined = coverage[coverage["maps"] == maps].dropna(subset=_LEVEL_COLUMNS)
    by_task = []
    for task in in_order(defined["task"]):
        of_task = defined[defined["task"] == task]
        covered, images = of_task[_LEVEL_COLUMNS].to_numpy(np.float64), of_task["image_id"].to_numpy()
        # The same resamples for every level, since the seed is the same.
        means = np.stack([bootstrap_means(column, images, _DRAWS) for column in covered.T], axis=1)
        low, high = np.quantile(means, _INTERVAL, axis=0)
        curve = covered.mean(axis=0)
        ends = np.quantile((means - LEVELS).mean(axis=1), _INTERVAL)
        signed = Estimate(float((curve - LEVELS).mean()), float(ends[0]), float(ends[1]), len(set(images)))
        by_task.append(Calibration(task, len(of_task), curve, low, high, signed))
    return by_task


def read(folder: RunFolder, fingerprint: str) -> pd.DataFrame | None:
    """The table of coverages in a run's folder; None if it is missing, damaged, or of maps of another fingerprint."""
    if not folder.coverage.is_file():
        return None
    try:
        storage.check_csv(folder.coverage)
        table = pd.read_csv(folder.coverage, dtype={"image_id": str})
    except (DamagedFileError, ValueError) as error:
        _log.warning("%s; computing it again", error)
        return None
    is_current = set(COLUMNS) < set(table) and (table["of"] == fingerprint).all()
    return table[list(COLUMNS)] if is_current else None


def write(folder: RunFolder, coverage: pd.DataFrame, fingerprint: str) -> None:
    """Write a table of coverages into a run's folder, with the fingerprint of the maps it was computed from."""
    storage.write_csv(folder.coverage, coverage.assign(of=fingerprint), durable=True)
