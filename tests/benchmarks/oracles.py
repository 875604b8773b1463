"""Published implementations of the metrics, one image at a time: what the benchmark is measured against.

Shares no code with :mod:`saltext.metrics`, so tests may take it as a reference. pysaliency and scikit-learn are needed
for developing only, and imported when they are first called.
"""

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltext.errors import ConfigError

Image = NDArray[np.floating[Any]]
"""One map, shape ``(height, width)``."""
Points = NDArray[np.integer[Any]]
"""(y, x) of fixations in pixels counted from 0, shape ``(fixations, 2)``."""


def load_pysaliency() -> ModuleType:
    """The package pysaliency.

    Raises:
        ConfigError: It is not installed.
    """
    if find_spec("pysaliency") is None:
        raise ConfigError("pysaliency is not installed: run `make oracle` (it is built from source, with a C compiler)")
    # pysaliency 0.2.22 imports two functions of pkg_resources, for files of models that are not used here; setuptools
    # 82 removed that module.
    stub = "pkg_resources" not in sys.modules and find_spec("pkg_resources") is None
    if stub:
        module: Any = ModuleType("pkg_resources")
        module.resource_string = module.resource_listdir = None
        sys.modules["pkg_resources"] = module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of code that is not ours
            return import_module("pysaliency")
    finally:
        if stub:
            del sys.modules["pkg_resources"]


class PySaliency:
    """pysaliency's functions with the definitions of :mod:`saltext.metrics`; float64 maps, one score a call.

    Where it offers several ways the fastest one is taken: :meth:`auc` sorts the negatives once and gives the same
    number as its ``AUC_per_image(thresholds="all")``.
    """

    def __init__(self) -> None:
        load_pysaliency()
        self._metrics = import_module("pysaliency.metrics")
        self._roc = import_module("pysaliency.roc")

    def cc(self, pred: Image, density: Image) -> float:
        """Correlation of two maps."""
        return float(self._metrics.CC(pred, density))

    def sim(self, pred: Image, density: Image) -> float:
        """Histogram intersection of two maps divided by their sums."""
        return float(self._metrics.SIM(pred, density))

    def kl(self, pred: Image, density: Image) -> float:
        """Divergence with the MIT benchmark's constants, in nats."""
        with np.errstate(divide="ignore"):  # it takes the logarithm of empty pixels, and gets the right score
            return float(self._metrics.MIT_KLDiv(pred, density))

    def nss(self, pred: Image, fixations: Points) -> float:
        """Mean standardised value at the fixations."""
        return float(self._metrics.NSS(pred, fixations[:, 1], fixations[:, 0]).mean())

    def auc_judd(self, pred: Image, fixations: Points) -> float:
        """Area under the ROC curve of the fixations against all pixels."""
        return self._auc(pred[fixations[:, 0], fixations[:, 1]], pred.ravel())

    def auc_shuffled(self, pred: Image, fixations: Points, others: Points) -> float:
        """Area under the ROC curve of the fixations against other images' fixations."""
        return self._auc(pred[fixations[:, 0], fixations[:, 1]], pred[others[:, 0], others[:, 1]])

    def _auc(self, positives: Image, negatives: Image) -> float:
        return float(self._roc.general_rocs_per_positive(positives, negatives).mean())


class PapersLoop:
    """Both papers' AUC and sAUC of one image, by scikit-learn's ROC curve of binarised maps, as in their scripts."""

    def __init__(self) -> None:
        if find_spec("sklearn") is None:
            raise ConfigError("scikit-learn is not installed: install the extra `dev`")
        self._metrics = import_module("sklearn.metrics")

    def top20_auc(self, pred: Image, density: Image) -> float:
        """The salient fifth of the prediction against that of the ground truth."""
        return float(self._metrics.roc_auc_score(_salient_fifth(density), _salient_fifth(pred)))

    def top20_sauc_sampled(self, pred: Image, density: Image, seed: int = 0) -> float:
        """The same, with as many random negatives as there are positives labelled as positive."""
        labels = _salient_fifth(density)
        negatives = np.flatnonzero(~labels)
        np.random.RandomState(seed).shuffle(negatives)
        labels[negatives[: labels.sum()]] = True
        return float(self._metrics.roc_auc_score(labels, _salient_fifth(pred)))


def _salient_fifth(image: Image) -> NDArray[np.bool_]:
    values = image.ravel()
    salient: NDArray[np.bool_] = values > np.sort(values)[int(0.8 * values.size)]
    return salient
