"""pysaliency's own evaluation of a model: stimuli, fixations and a table of maps, as its users set them up."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np

from tests.benchmarks.oracles import load_pysaliency


@contextmanager
def _numpy_with_trapz() -> Iterator[None]:
    # pysaliency 0.2.22 calls numpy.trapz, which numpy 2.4 no longer has; other code must not find it again.
    with mock.patch.object(np, "trapz", np.trapezoid, create=True):
        yield


class Evaluation:
    """Scores of a batch of maps.

    Args:
        maps: Float64, (batch, height, width).
        points: (y, x) of each image's fixations.
    """

    def __init__(self, maps, points) -> None:
        self._package = load_pysaliency()
        # The first pixels say which image it is: pysaliency gives a model the image only.
        size = maps.shape[1:]
        self._stimuli = self._package.Stimuli([np.full(size, number, dtype=np.uint8) for number in range(len(maps))])
        self._model = self._table(maps)
        self._fixations = self._listed(points)

    def _table(self, maps):
        class Table(self._package.SaliencyMapModel):
            def _saliency_map(self, stimulus):
                return maps[int(stimulus[0, 0])].copy()

        return Table(caching=False)

    def _listed(self, points):
        y, x = np.concatenate(points).astype(float).T
        image = np.repeat(np.arange(len(points)), [len(p) for p in points])
        with np.errstate(invalid="ignore"):  # it multiplies memory that nothing was written to by NaN
            return self._package.Fixations.create_without_history(x, y, image)

    def auc(self, negatives, thresholds="all"):
        """Each image's area; ``negatives``: uniform, unfixated, shuffled, or points of each image."""
        if not isinstance(negatives, str):
            negatives = self._listed(negatives)
        with _numpy_with_trapz():
            return self._model.AUC_per_image(self._stimuli, self._fixations, negatives, thresholds)

    def ig(self, baseline):
        """Each image's mean information gain in bits over a baseline's maps, (batch, height, width)."""
        models = [self._package.models.SaliencyMapNormalizingModel(m) for m in (self._model, self._table(baseline))]
        gains = models[0].information_gains(self._stimuli, self._fixations, baseline_model=models[1])
        return [gains[self._fixations.n == number].mean() for number in range(len(baseline))]
