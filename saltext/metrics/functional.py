r"""Standard saliency metrics: pure functions, one score per image.

Conventions shared by all functions:

* Arguments are tensors of shape ``(batch, 1, height, width)`` at the ground truth's resolution, of any real dtype,
  on any device, or :class:`~saltext.metrics.maps.Maps` / :class:`~saltext.metrics.maps.Fixations` that wrap such
  tensors once for several metrics. The result has shape ``(batch,)``, dtype float64, on the same device.
* Never averaged over a batch or over pixels of different images: the score of an image does not depend on its
  batch-mates.
* A score that has no definition (no fixations, a ground-truth map without content) is NaN, and the caller decides. A
  *prediction* never makes a score undefined: a constant one is at chance, an all-zero one places its mass nowhere,
  and NaN or infinite values raise ``ValueError``, since an undefined score would drop out of a mean unseen.
* ``fixations`` counts the fixations at each pixel; a pixel fixated twice counts twice.
* ``cc``, ``sim``, ``sim_minmax``, ``kl``, ``nss`` and ``ig`` are differentiable in the prediction.

The sources of the definitions are the MIT/Tuebingen saliency benchmark's code and the references of each function. On
non-negative maps with content they agree with pysaliency (tests/metrics). On others it differs: it shifts a map with
negative values to 0 and takes an all-zero one as uniform, where these functions refuse the first, place the mass of an
all-zero prediction nowhere, and leave an all-zero ground truth undefined. Where the MIT benchmark's MATLAB code gives
another number, the page of the metric says so.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from saltext.metrics import passes
from saltext.metrics.maps import Fixations, Maps, ascending, covariance, paired, scored_at

EPS = 2.2204e-16
"""The MIT benchmark's constant inside logarithms and quotients (MATLAB's eps, as printed there)."""

Negatives = Literal["all", "unfixated"]


def cc(pred: Tensor | Maps, density: Tensor | Maps, *, min_std: float = 0.0) -> Tensor:
    r"""Pearson correlation of two maps, one score per image.

    .. math:: \mathrm{CC}(P, G) = \frac{\sum_j (P_j - \mu_P)(G_j - \mu_G)}{N \sigma_P \sigma_G}

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        density: Blurred ground truth, any finite scale. Same shape.
        min_std: For a loss: deviations below it are raised to it, which keeps the gradient finite at a constant
            prediction. In the units of the maps. 0, the definition, for scoring.

    Returns:
        Scores in -1..1, shape ``(batch,)``; 0 is chance, 1 is best. A constant prediction scores 0; a constant
        ground truth scores NaN.

    Raises:
        ValueError: Shapes differ, or a map has NaN or infinite values.

    Example:
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> cc(pred, 5 - 2 * pred)
        tensor([-1.0000], dtype=torch.float64)

    References:
        Bylinskii et al., What do different evaluation metrics tell us about saliency models? TPAMI 2019.
    """
    p, g = paired(pred, density)
    score = covariance(p, g) / (p.safe_std(min_std) * g.safe_std(min_std))
    return score if min_std > 0 else score.masked_fill(g.constant, torch.nan)


def sim(pred: Tensor | Maps, density: Tensor | Maps) -> Tensor:
    r"""Histogram intersection of two maps divided by their sums, one score per image.

    .. math:: \mathrm{SIM}(P, G) = \sum_j \min(p_j, g_j), \quad p = P / \sum P, \; g = G / \sum G

    The maps are *not* min-max scaled first; :func:`sim_minmax` does that, and gives another number.

    Args:
        pred: Predicted saliency, not negative. Shape ``(batch, 1, height, width)``.
        density: Blurred ground truth, not negative. Same shape.

    Returns:
        Scores in 0..1, shape ``(batch,)``; 1 is best. An all-zero prediction scores 0; an all-zero ground truth scores
        NaN.

    Raises:
        ValueError: Shapes differ, or a map has negative, NaN or infinite values.

    Example:
        >>> pred = torch.tensor([[[[1.0, 1.0], [1.0, 1.0]]]])
        >>> sim(pred, torch.tensor([[[[0.0, 0.0], [0.0, 7.0]]]]))  # min(1/4, 1)
        tensor([0.2500], dtype=torch.float64)

    References:
        Judd et al., A benchmark of computational models of saliency to predict human fixations, MIT 2012.
    """
    p, g = paired(pred, density)
    if p.scored_on_cpu and g.scored_on_cpu:
        score = passes.shared_mass(p.flat, p.inverse_total, g.flat, g.inverse_total)
    else:
        score = torch.minimum(p.distribution, g.distribution).sum(1)
    return score.masked_fill(g.total == 0, torch.nan)


def sim_minmax(pred: Tensor | Maps, density: Tensor | Maps, *, min_mean: float = 0.0) -> Tensor:
    r"""Histogram intersection after both maps were min-max scaled, then divided by their sums, one score per image.

    .. math:: \mathrm{SIM}_{mm}(P, G) = \sum_j \min(p_j, g_j), \quad
        p = \frac{P - \min P}{\sum_j (P_j - \min P)}, \; g = \frac{G - \min G}{\sum_j (G_j - \min G)}

    The variant of the MIT benchmark's ``similarity.m`` and of TranBlend's loss. The scaling lowers the smallest
    value of each map to 0, so an offset of the prediction does not matter here.

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        density: Blurred ground truth, any finite scale. Same shape.
        min_mean: For a loss: means above the minimum that are below this are raised to it, which keeps the gradient
            finite at a constant prediction. In the units of the maps. 0, the definition, for scoring.

    Returns:
        Scores in 0..1, shape ``(batch,)``; 1 is best. A constant prediction scores 0; a constant ground truth scores
        NaN.

    Raises:
        ValueError: Shapes differ, or a map has NaN or infinite values.

    Example:
        >>> pred = torch.tensor([[[[5.0, 6.0], [6.0, 7.0]]]])  # becomes 0, 1/4, 1/4, 1/2
        >>> sim_minmax(pred, torch.tensor([[[[0.0, 0.0], [0.0, 7.0]]]]))
        tensor([0.5000], dtype=torch.float64)

    References:
        Judd et al., A benchmark of computational models of saliency to predict human fixations, MIT 2012.
    """
    p, g = paired(pred, density)
    score = torch.minimum(_from_zero(p, min_mean), _from_zero(g, min_mean)).sum(1)
    return score if min_mean > 0 else score.masked_fill(g.constant, torch.nan)


def kl(pred: Tensor | Maps, density: Tensor | Maps) -> Tensor:
    r"""Kullback-Leibler divergence of the prediction from the ground truth, one score per image.

    .. math:: \mathrm{KL}(P, G) = \sum_j g_j \ln\Bigl(\epsilon + \frac{g_j}{p_j + \epsilon}\Bigr),
        \quad p = P / \sum P, \; g = G / \sum G, \; \epsilon = 2.2204 \cdot 10^{-16}

    The ground truth comes first in the divergence: missed mass is what costs.

    Args:
        pred: Predicted saliency, not negative. Shape ``(batch, 1, height, width)``.
        density: Blurred ground truth, not negative. Same shape.

    Returns:
        Scores in nats, shape ``(batch,)``; 0 is best (down to about -1e-10 through epsilon), mass predicted nowhere
        costs up to 36 nats. An all-zero prediction counts as zero mass at every pixel; an all-zero ground truth
        scores NaN.

    Raises:
        ValueError: Shapes differ, or a map has negative, NaN or infinite values.

    Example:
        >>> pred = torch.tensor([[[[1.0, 1.0], [1.0, 1.0]]]])
        >>> kl(pred, torch.tensor([[[[0.0, 0.0], [0.0, 7.0]]]]))  # ln 4
        tensor([1.3863], dtype=torch.float64)

    References:
        Bylinskii et al., What do different evaluation metrics tell us about saliency models? TPAMI 2019.
    """
    p, g = paired(pred, density)
    if p.scored_on_cpu and g.scored_on_cpu:
        score = passes.divergence(p.flat, p.inverse_total, g.flat, g.inverse_total, EPS)
    else:
        # In place: a fresh array costs more than the arithmetic.
        score = (g.distribution / (p.distribution + EPS)).add_(EPS).log_().mul_(g.distribution).sum(1)
    return score.masked_fill(g.total == 0, torch.nan)


def nss(pred: Tensor | Maps, fixations: Tensor | Fixations) -> Tensor:
    r"""Mean standardised saliency at the fixations, one score per image.

    .. math:: \mathrm{NSS}(P, F) = \frac{1}{|F|} \sum_{x \in F} \frac{P(x) - \mu_P}{\sigma_P}

    sigma_P is the population deviation, as in pysaliency. The MIT benchmark's ``NSS.m`` divides by the sample deviation
    (N - 1) and counts a pixel once however often it was fixated.

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        fixations: Number of fixations at each pixel. Same shape.

    Returns:
        Scores in standard deviations, shape ``(batch,)``; 0 is chance, higher is better. A constant prediction
        scores 0. An image without fixations scores NaN.

    Raises:
        ValueError: Shapes differ, the prediction has NaN or infinite values, or ``fixations`` holds no counts.

    Example:
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> nss(pred, (pred == 3.0).float())  # (3 - 1.5) / sqrt(1.25)
        tensor([1.3416], dtype=torch.float64)

    References:
        Peters et al., Components of bottom-up gaze allocation in natural images, Vision Research 2005.
    """
    p, f = scored_at(pred, fixations)
    score = f.each.mean(p.flat, p.mean) / p.safe_std(0.0)
    return score.masked_fill(f.each.number == 0, torch.nan)


def auc_judd(pred: Tensor | Maps, fixations: Tensor | Fixations, negatives: Negatives = "all") -> Tensor:
    r"""Area under the ROC curve of fixations against the image's pixels, one score per image, exact.

    .. math:: \mathrm{AUC}(P, F) = \frac{1}{|F| |N|} \sum_{x \in F} \sum_{y \in N}
        \bigl( [P(x) > P(y)] + \frac{1}{2} [P(x) = P(y)] \bigr)

    Every value of the prediction is a threshold and ties count one half. (The MIT benchmark's ``AUC_Judd.m`` uses
    the fixated values alone as thresholds and breaks ties by noise: :func:`saltext.metrics.published.auc_judd_mit`.)

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        fixations: Number of fixations at each pixel. Same shape.
        negatives: ``"all"`` pixels (the Tuebingen benchmark), or the ``"unfixated"`` ones (MIT).

    Returns:
        Scores in 0..1, shape ``(batch,)``; 0.5 is chance, and a constant prediction's score. An image without
        fixations, or without negatives, scores NaN.

    Raises:
        ValueError: Shapes differ, the prediction has NaN or infinite values, or ``fixations`` holds no counts.

    Example:
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> auc_judd(pred, (pred == 2.0).float())  # beats two of four pixels, ties with itself
        tensor([0.6250], dtype=torch.float64)

    References:
        Judd et al., Learning to predict where humans look, ICCV 2009.
    """
    p, f = scored_at(pred, fixations)
    at_fixations = f.each.values(p.flat)
    won = _wins(at_fixations, p.ascending)
    number = torch.full_like(f.each.number, p.pixels)
    if negatives == "unfixated":
        won = won - _wins(at_fixations, f.distinct.ascending(p.flat))
        number = number - f.distinct.number
    elif negatives != "all":
        raise ValueError(f"expected 'all' or 'unfixated' as negatives, got {negatives!r}")
    return _area(won, f, number)


def auc_borji(pred: Tensor | Maps, fixations: Tensor | Fixations, draws: int = 100, seed: int = 0) -> Tensor:
    r"""Area under the ROC curve of fixations against as many random pixels, mean over draws, one score per image.

    .. math:: \mathrm{AUC}_B(P, F) = \frac{1}{D |F|^2} \sum_{d=1}^{D} \sum_{x \in F} \sum_{y \in R_d}
        \bigl( [P(x) > P(y)] + \frac{1}{2} [P(x) = P(y)] \bigr)

    :math:`R_d` is the d-th draw, as many pixels as there are fixations.

    A sampled estimate; its expectation is :func:`auc_judd` with all pixels as negatives, which is exact and should be
    preferred. Uniform pixels are drawn with replacement, as many as the image has fixations. All images use the same
    stream of random numbers, so that a score does not depend on the order or the batches of the images.

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        fixations: Number of fixations at each pixel. Same shape.
        draws: Number of sets of negatives.
        seed: Of the random numbers.

    Returns:
        Scores in 0..1, shape ``(batch,)``; 0.5 is chance, and a constant prediction's score. An image without fixations
        scores NaN.

    Raises:
        ValueError: Shapes differ, the prediction has NaN or infinite values, ``fixations`` holds no counts, or
            ``draws`` is not positive.

    Example:
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> fixations = (pred == 2.0).float()
        >>> auc_borji(pred, fixations, draws=10_000), auc_judd(pred, fixations)  # drawn, and what is drawn on average
        (tensor([0.6242], dtype=torch.float64), tensor([0.6250], dtype=torch.float64))

    References:
        Borji et al., Quantitative analysis of human-model agreement in visual saliency modeling, TIP 2013.
    """
    if draws < 1:
        raise ValueError(f"expected draws of at least 1, got {draws}")
    p, f = scored_at(pred, fixations)
    drawn = f.each.number * draws
    uniform = np.random.default_rng(seed).random(int(drawn.max()) if len(drawn) else 0)
    pixel = torch.from_numpy((uniform * p.pixels).astype(np.int64)).to(p.flat.device)
    beyond = torch.arange(len(pixel), device=pixel.device) >= drawn[:, None]
    sample = p.flat.detach()[:, pixel].masked_fill(beyond, torch.inf)
    return _area(_wins(f.each.values(p.flat), ascending(sample)), f, drawn)


def auc_shuffled(pred: Tensor | Maps, fixations: Tensor | Fixations, others: Tensor | Fixations) -> Tensor:
    r"""Area under the ROC curve of fixations against fixations of other images (sAUC), one score per image, exact.

    .. math:: \mathrm{sAUC}(P, F, O) = \frac{1}{|F| |O|} \sum_{x \in F} \sum_{y \in O}
        \bigl( [P(x) > P(y)] + \frac{1}{2} [P(x) = P(y)] \bigr)

    A prediction that knows only the centre bias is at chance. As :func:`auc_judd`, the negatives being the fixations in
    ``others``, all of them and as often as they occur: nothing is sampled.

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        fixations: Number of fixations at each pixel. Same shape.
        others: Number of other images' fixations at each pixel, their coordinates rescaled to this image's size. Same
            shape. See :class:`saltext.metrics.pool.FixationPool`.

    Returns:
        Scores in 0..1, shape ``(batch,)``; 0.5 is chance, and a constant prediction's score. An image without
        fixations, or without others' fixations, scores NaN.

    Raises:
        ValueError: Shapes differ, the prediction has NaN or infinite values, or a fixation map holds no counts.

    Example:
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> auc_shuffled(pred, (pred == 2.0).float(), torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]]))
        tensor([0.2500], dtype=torch.float64)

    References:
        Tatler et al., Visual correlates of fixation selection, Vision Research 2005. Zhang et al., SUN, JOV 2008.
    """
    p, f = scored_at(pred, fixations)
    o = Fixations.of(others, "others")
    p.same_size(o)
    return _area(_wins(f.each.values(p.flat), o.each.ascending(p.flat)), f, o.each.number)


def ig(
    pred: Tensor | Maps,
    fixations: Tensor | Fixations,
    baseline: Tensor | Maps,
    *,
    eps: float = EPS,
) -> Tensor:
    r"""Information gain over a baseline density, one score per image.

    .. math:: \mathrm{IG}(P, B, F) = \frac{1}{|F|} \sum_{x \in F}
        \log_2(\epsilon + p(x)) - \log_2(\epsilon + b(x)), \quad p = P / \sum P, \; b = B / \sum B

    Meaningful for predicted *densities*; a saliency map that is not one scores low, whatever its ranking.

    Args:
        pred: Predicted density, not negative, any sum. Shape ``(batch, 1, height, width)``.
        fixations: Number of fixations at each pixel. Same shape.
        baseline: Density to beat, usually the centre prior made from other images; not negative, any sum. Same shape.
        eps: Density below which nothing counts. With 0, a fixation where the prediction is zero scores -inf.

    Returns:
        Scores in bits per fixation, shape ``(batch,)``; 0 is the baseline's score. An all-zero prediction counts as
        zero density at every pixel. An image without fixations, or with an all-zero baseline, scores NaN.

    Raises:
        ValueError: Shapes differ, a map has negative, NaN or infinite values, or ``fixations`` holds no counts.

    Example:
        >>> pred = torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])
        >>> ig(pred, torch.tensor([[[[0, 0], [0, 1]]]]), torch.ones(1, 1, 2, 2))  # log2(1/2) - log2(1/4)
        tensor([1.0000], dtype=torch.float64)

    References:
        Kuemmerer et al., Information-theoretic model comparison unifies saliency metrics, PNAS 2015.
    """
    p, f = scored_at(pred, fixations)
    b = Maps.of(baseline, "baseline")
    b.same_size(p)
    p_at, b_at = (maps.flat.gather(1, f.each.index).double() * maps.inverse_total[:, None] for maps in (p, b))
    gain = torch.log2(eps + p_at) - torch.log2(eps + b_at)
    gain = gain.masked_fill(~f.each.valid, 0.0).sum(1) / f.each.number.clamp_min(1)
    return gain.masked_fill((f.each.number == 0) | (b.total == 0), torch.nan)


def _from_zero(maps: Maps, min_mean: float) -> Tensor:
    # Dividing by the range as well would cancel in the sum-normalisation.
    lifted = maps.wide - maps.low.double()[:, None]
    mean = lifted.mean(1, keepdim=True)
    mean = mean.clamp_min(min_mean) if min_mean > 0 else torch.where(maps.constant[:, None], 1.0, mean)
    return lifted / (mean * maps.pixels)


def _wins(positives: Tensor, ascending_negatives: Tensor) -> Tensor:
    """For each positive, the negatives below it plus half of those equal to it; float64, shape of ``positives``."""
    below = torch.searchsorted(ascending_negatives, positives)
    not_above = torch.searchsorted(ascending_negatives, positives, right=True)
    return (below + not_above).double() / 2


def _area(won: Tensor, fixations: Fixations, negatives: Tensor) -> Tensor:
    points = fixations.each
    total = won.masked_fill(~points.valid, 0.0).sum(1)
    return total / (points.number * negatives)
