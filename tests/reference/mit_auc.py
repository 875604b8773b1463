"""The areas under ROC curves of the MIT benchmark's Matlab code, written from its description, with its random numbers.

Its maps are scaled to 0..1, and its fixations are the pixels of a binary map. Shares no code with the package.

Sources: the files AUC_Judd.m, AUC_Borji.m and AUC_shuffled.m of the MIT saliency benchmark (Judd, Bylinskii, Borji).
"""

import numpy as np


def _scaled(image):
    image = np.asarray(image, np.float64)
    return (image - image.min()) / (image.max() - image.min())


def _area(false_rates, true_rates):
    return float(np.trapezoid([0, *true_rates, 1], [0, *false_rates, 1]))


def auc_judd(image, fixated, rng=None):
    """One point of the curve per fixated pixel; ``rng`` draws the noise of 1e-7 against ties, None adds none."""
    image = np.asarray(image, np.float64)
    if rng is not None:
        image = image + rng.random(image.shape) / 1e7
    image = _scaled(image)
    positives = np.sort(image[fixated])[::-1]
    above = np.array([(image >= threshold).sum() for threshold in positives])
    rank = np.arange(1, len(positives) + 1)
    return _area((above - rank) / (image.size - len(positives)), rank / len(positives))


def _stepped(positives, negatives, step):
    """Mean area of draws of negatives, shape (draws, n), at thresholds a step apart."""
    areas = []
    for drawn in negatives:
        top = max(positives.max(), drawn.max())
        thresholds = np.arange(0, top + 1e-12, step)[::-1]
        true = [(positives >= threshold).mean() for threshold in thresholds]
        false = [(drawn >= threshold).sum() / len(positives) for threshold in thresholds]
        areas.append(_area(false, true))
    return float(np.mean(areas))


def auc_borji(image, fixated, rng, draws=100, step=0.1):
    """As many random pixels as there are fixated ones, with replacement; mean over draws."""
    image = _scaled(image)
    positives = image[fixated]
    return _stepped(positives, image.ravel()[rng.integers(0, image.size, (draws, len(positives)))], step)


def auc_shuffled(image, fixated, other, rng, draws=100, step=0.1):
    """As many pixels of ``other`` (the union of ten images' fixations) as there are fixated ones; mean over draws."""
    image = _scaled(image)
    positives, known = image[fixated], np.flatnonzero(other)
    number = min(len(positives), len(known))
    drawn = np.stack([rng.permutation(known)[:number] for _ in range(draws)])
    return _stepped(positives, image.ravel()[drawn], step)
