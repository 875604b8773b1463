"""The metrics once more: one image at a time, in plain loops, straight from their definitions. Shares no code with
the package."""

import itertools
import math

import numpy as np

EPS = 2.2204e-16


def _fixations(counts):
    """Every fixation as (y, x); a pixel counted twice comes twice."""
    return [(y, x) for (y, x), n in np.ndenumerate(np.asarray(counts)) for _ in range(int(n))]


def _mean(values):
    values = list(values)
    return math.fsum(values) / len(values) if values else math.nan


def _deviation(values, mean, freedom=0):
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - freedom))


def _floats(image):
    return [float(v) for v in np.asarray(image).ravel()]


def cc(pred, density):
    p, g = _floats(pred), _floats(density)
    if len(set(g)) == 1:
        return math.nan
    if len(set(p)) == 1:
        return 0.0
    mp, mg = _mean(p), _mean(g)
    covariance = _mean((a - mp) * (b - mg) for a, b in zip(p, g, strict=True))
    return covariance / (_deviation(p, mp) * _deviation(g, mg))


def _shares(image):
    values = _floats(image)
    total = math.fsum(values)
    return [v / total for v in values] if total else values


def sim(pred, density):
    if not np.asarray(density).any():
        return math.nan
    return math.fsum(min(a, b) for a, b in zip(_shares(pred), _shares(density), strict=True))


def _minmax(image):
    image = np.asarray(image, dtype=np.float64)
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else image * 0


def sim_minmax(pred, density):
    return sim(_minmax(pred), _minmax(density))


def kl(pred, density):
    if not np.asarray(density).any():
        return math.nan
    return math.fsum(b * math.log(EPS + b / (a + EPS)) for a, b in zip(_shares(pred), _shares(density), strict=True))


def nss(pred, counts):
    values = _floats(pred)
    mean = _mean(values)
    fixations = _fixations(counts)
    if not fixations:
        return math.nan
    if len(set(values)) == 1:
        return 0.0
    return _mean((float(pred[at]) - mean) / _deviation(values, mean) for at in fixations)


def auc(positives, negatives):
    """Probability that a positive is above a negative, ties half."""
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positives for n in negatives]
    return _mean(wins)


def auc_judd(pred, counts, negatives="all"):
    at = {"all": lambda n: True, "unfixated": lambda n: n == 0}[negatives]
    return auc(
        [float(pred[p]) for p in _fixations(counts)],
        [float(pred[p]) for p, n in np.ndenumerate(np.asarray(counts)) if at(n)],
    )


def auc_judd_unfixated(pred, counts):
    return auc_judd(pred, counts, "unfixated")


def auc_shuffled(pred, counts, others):
    return auc([float(pred[p]) for p in _fixations(counts)], [float(pred[p]) for p in _fixations(others)])


def auc_judd_mit(pred, counts, negatives="unfixated"):
    """Area under straight lines through one point of the curve for each fixated value."""
    counts = np.asarray(counts)
    positives = [float(pred[p]) for p in _fixations(counts)]
    others = [float(pred[p]) for p, n in np.ndenumerate(counts) if n == 0 or negatives == "all"]
    if not positives or not others:
        return math.nan
    curve = [(0.0, 0.0)]
    for threshold in sorted(positives, reverse=True):
        curve.append((_mean(v >= threshold for v in others), _mean(v >= threshold for v in positives)))
    curve.append((1.0, 1.0))
    return math.fsum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(curve))


def ig(pred, counts, baseline, eps=EPS):
    width = np.asarray(pred).shape[1]
    p, b = _shares(pred), _shares(baseline)
    if not np.asarray(baseline).any():
        return math.nan
    return _mean(math.log2(eps + p[y * width + x]) - math.log2(eps + b[y * width + x]) for y, x in _fixations(counts))


def _salient_fifth(image):
    values = _floats(image)
    threshold = sorted(values)[int(0.8 * len(values))]
    return [v > threshold for v in values]


def top20_auc(pred, density):
    """ROC AUC of a binary prediction, by comparing every positive with every negative."""
    predicted, truth = _salient_fifth(pred), _salient_fifth(density)
    return auc(
        [float(p) for p, t in zip(predicted, truth, strict=True) if t],
        [float(p) for p, t in zip(predicted, truth, strict=True) if not t],
    )


def top20_sauc(pred, density):
    """Expectation over which negatives become positives: each is chosen with probability positives / negatives."""
    predicted, truth = np.array(_salient_fifth(pred)), np.array(_salient_fifth(density))
    n_pos, n_neg = truth.sum(), (~truth).sum()
    if n_pos == 0:
        return math.nan
    chosen_hits = predicted[~truth].sum() * n_pos / n_neg
    true_positive_rate = (predicted[truth].sum() + chosen_hits) / (2 * n_pos)
    false_positive_rate = (predicted[~truth].sum() - chosen_hits) / (n_neg - n_pos)
    return (true_positive_rate + 1 - false_positive_rate) / 2


def nss_unbiased(pred, fixations):
    values = _floats(pred)
    mean = _mean(values)
    at = [float(pred[p]) for p, n in np.ndenumerate(np.asarray(fixations)) if n > 0]
    if not at:
        return math.nan
    if len(set(values)) == 1:
        return 0.0
    return (_mean(at) - mean) / _deviation(values, mean, freedom=1)


def nss_of_map(pred, density):
    return nss_unbiased(pred, density)


def loss_terms(saliency, density, fixations):
    """TranBlend's terms of single images; nss is NaN without fixations."""
    return {
        "cc": cc(saliency, density),
        "sim": sim_minmax(saliency, density),
        "kl": kl(saliency, density),
        "nss": nss_unbiased(saliency, fixations),
        "mse": float(np.mean((np.asarray(saliency, dtype=np.float64) - np.asarray(density, dtype=np.float64)) ** 2)),
    }
