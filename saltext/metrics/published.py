"""The metrics of the papers' own scripts, and of the MIT benchmark's, under separate names.

Their numbers compare with nothing else, hence the names. Shapes, dtypes and undefined cases are those of
:mod:`saltext.metrics.functional`. TranBlend scores at 288x384 and CLIP-SalGAN at 256x256, both with fixation images
resized bilinearly; these functions score whatever they are given.
"""

import math

import numpy as np
import torch
from torch import Tensor

from saltext.metrics.functional import Negatives
from saltext.metrics.maps import Fixations, Maps, paired, scored_at


def top20_auc(pred: Tensor | Maps, density: Tensor | Maps) -> Tensor:
    r"""Both papers' "AUC": the most salient fifth of the prediction against that of the ground-truth map.

    Each map is binarised, keeping the values strictly above the sorted value at index floor(0.8 N); the ROC curve of
    a binary prediction has one corner, so its area is

    .. math:: \mathrm{AUC} = \frac{1}{2} (\mathrm{TPR} + 1 - \mathrm{FPR})

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        density: Blurred ground truth, any finite scale. Same shape.

    Returns:
        Scores in 0..1, shape ``(batch,)``; 0.5 is chance, and a constant prediction's score. A ground truth without
        a value above its threshold (a constant one) scores NaN.

    Raises:
        ValueError: Shapes differ, or a map has NaN or infinite values.

    Example:
        >>> pred = torch.arange(10.0).view(1, 1, 2, 5)  # its salient fifth is the last pixel: 9 > sorted[8]
        >>> top20_auc(pred, pred)
        tensor([1.], dtype=torch.float64)

    References:
        The scripts of the TranBlend and CLIP-SalGAN papers, 2023.
    """
    p, g = paired(pred, density)
    hits = _count(p.salient_fifth & g.salient_fifth)
    predicted, positives = _count(p.salient_fifth), _count(g.salient_fifth)
    true_positive_rate = hits / positives
    false_positive_rate = (predicted - hits) / (p.pixels - positives)
    return (true_positive_rate + 1 - false_positive_rate) / 2


def top20_sauc(pred: Tensor | Maps, density: Tensor | Maps) -> Tensor:
    r"""Expectation of both papers' "sAUC", exact: ``0.25 + top20_auc / 2``.

    .. math:: \mathrm{E}[\mathrm{sAUC}]
        = \frac{1}{2} \Bigl( \frac{\mathrm{TPR} + \mathrm{FPR}}{2} + 1 - \mathrm{FPR} \Bigr)
        = \frac{1}{4} + \frac{1}{2} \mathrm{AUC}

    It carries no further information and is no shuffled AUC in the literature's sense
    (:func:`saltext.metrics.functional.auc_shuffled`). The scripts also label as positive as many randomly chosen
    negatives as there are positives, then take the AUC of the binary prediction against these labels. On average the
    chosen negatives are predicted at the false positive rate, so TPR' = (TPR + FPR) / 2 and FPR' = FPR.

    Args and errors are those of :func:`top20_auc`.

    Returns:
        Scores in 0.25..0.75, shape ``(batch,)``; 0.5 is chance. A constant ground truth scores NaN.

    Example:
        >>> pred = torch.arange(10.0).view(1, 1, 2, 5)
        >>> top20_sauc(pred, pred)  # no prediction scores higher
        tensor([0.7500], dtype=torch.float64)

    References:
        The scripts of the TranBlend and CLIP-SalGAN papers, 2023.
    """
    return 0.25 + top20_auc(pred, density) / 2


def top20_sauc_sampled(pred: Tensor | Maps, density: Tensor | Maps, seed: int = 0) -> Tensor:
    r"""One draw of both papers' "sAUC", as their scripts compute it; :func:`top20_sauc` is its expectation.

    .. math:: \mathrm{sAUC} = \frac{1}{2} (\mathrm{TPR}' + 1 - \mathrm{FPR}')

    The rates are those of the prediction's salient fifth against labels in which as many negatives as there are
    positives, drawn at random, count as positive, too.

    Draws as the scripts do under ``numpy.random.seed(seed)``: the ascending numbers of the negative pixels are
    shuffled and the first become positives. Every image starts from ``seed``, so its score does not depend on its
    batch-mates. Slow, because the shuffle is a sequential algorithm of numpy's legacy generator: meant for
    reproducing, not for scoring.

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        density: Blurred ground truth, any finite scale. Same shape.
        seed: Of numpy's legacy generator.

    Returns:
        As :func:`top20_auc`; a constant prediction scores 0.5.

    Raises:
        ValueError: Shapes differ, or a map has NaN or infinite values.

    Example:
        >>> pred = torch.arange(10.0).view(1, 1, 2, 5)
        >>> top20_sauc_sampled(pred, pred)  # true positives 1 of 2, false ones 0 of 8
        tensor([0.7500], dtype=torch.float64)

    References:
        The scripts of the TranBlend and CLIP-SalGAN papers, 2023.
    """
    p, g = paired(pred, density)
    chosen, positives = (maps.salient_fifth.cpu().numpy() for maps in (p, g))
    labels = positives.copy()
    for row, mask in zip(labels, positives, strict=True):
        negatives = np.flatnonzero(~mask)
        np.random.RandomState(seed).shuffle(negatives)
        row[negatives[: mask.sum()]] = True
    with np.errstate(invalid="ignore"):  # no positives: 0 / 0 is the NaN that is meant
        true_positive_rate = (chosen & labels).sum(1) / labels.sum(1)
        false_positive_rate = (chosen & ~labels).sum(1) / (~labels).sum(1)
    return torch.from_numpy((true_positive_rate + 1 - false_positive_rate) / 2).to(p.flat.device)


def nss_unbiased(pred: Tensor | Maps, fixations: Tensor | Maps | Fixations, *, min_std: float = 0.0) -> Tensor:
    r"""TranBlend's NSS, as metric and in its loss: sample deviation, and a mask instead of counts. Differentiable.

    .. math:: \mathrm{NSS}(P, M) = \frac{1}{|M|} \sum_{x \in M} \frac{P(x) - \mu_P}{s_P}, \quad
        s_P^2 = \frac{1}{N - 1} \sum_j (P_j - \mu_P)^2, \quad M = \{x : F(x) > 0\}

    Differs from :func:`saltext.metrics.functional.nss` by the factor sqrt((N-1)/N), and in that every pixel above 0
    counts once. The scripts pass a bilinearly resized fixation image, whose fixations cover several pixels each.

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        fixations: A pixel above 0 is fixated; real values, since a resized fixation image has them. Same shape.
        min_std: For a loss: population deviations below it are raised to it, which keeps the gradient finite at a
            constant prediction. In the units of the prediction. 0, the definition, for scoring.

    Returns:
        Scores in standard deviations, shape ``(batch,)``; 0 is chance. A constant prediction scores 0. An image without
        fixations scores NaN.

    Raises:
        ValueError: Shapes differ, or a map has NaN or infinite values.

    Example:
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> nss_unbiased(pred, (pred == 3.0).float())  # (3 - 1.5) / sqrt(5 / 3)
        tensor([1.1619], dtype=torch.float64)

    References:
        The script of the TranBlend paper, 2023.
    """
    p = Maps.of(pred, "pred")
    f = fixations if isinstance(fixations, Fixations) else Maps.of(fixations, "fixations")
    p.same_size(f)
    if isinstance(f, Fixations):
        at_fixations, number = f.distinct.mean(p.flat, p.mean), f.distinct.number
    else:  # a dense mask, so that nothing waits for the device inside a training step
        fixated = f.flat > 0
        number = fixated.sum(1)
        at_fixations = (p.centred * fixated).sum(1) / number.clamp_min(1)
    sample_std = p.safe_std(min_std) * math.sqrt(p.pixels / max(p.pixels - 1, 1))
    return (at_fixations / sample_std).masked_fill(number == 0, torch.nan)


def nss_of_map(pred: Tensor | Maps, density: Tensor | Maps) -> Tensor:
    r"""CLIP-SalGAN's "NSS": :func:`nss_unbiased` over all pixels where the ground-truth *map* is above 0.

    .. math:: \mathrm{NSS}(P, G) = \frac{1}{|M|} \sum_{x \in M} \frac{P(x) - \mu_P}{s_P}, \quad
        M = \{x : G(x) > 0\}

    The map covers most of the image, so even a perfect prediction scores 0.25 to 0.34 on SJTU-TIS.

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        density: Blurred ground truth, 0 where there is no fixation near. Same shape.

    Returns:
        Scores in standard deviations, shape ``(batch,)``. A constant prediction scores 0; an all-zero map scores NaN.

    Raises:
        ValueError: Shapes differ, or a map has NaN or infinite values.

    Example:
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> nss_of_map(pred, pred)  # over three of the four pixels: (0.5 / 3) / sqrt(5 / 3) + ... = 0.5 / 1.291
        tensor([0.3873], dtype=torch.float64)

    References:
        The script of the CLIP-SalGAN paper, 2023.
    """
    return nss_unbiased(*paired(pred, density))


def auc_judd_mit(pred: Tensor | Maps, fixations: Tensor | Fixations, negatives: Negatives = "unfixated") -> Tensor:
    r"""Area under the ROC curve through the fixated values alone, as the MIT benchmark's ``AUC_Judd.m`` computes it.

    .. math:: \mathrm{AUC} = \sum_k (u_k - u_{k+1}) \frac{v_k + v_{k+1}}{2}, \quad
        v_k = \frac{|\{x \in F : P(x) \ge t_k\}|}{|F|}, \;
        u_k = \frac{|\{y \in N : P(y) \ge t_k\}|}{|N|}

    The thresholds :math:`t_k` are the values at the fixations, ascending, between the corners (1, 1) and (0, 0).

    Only the values at the fixations are thresholds, and straight lines join the curve's points, which raises the
    score above the exact one, :func:`saltext.metrics.functional.auc_judd`, by up to 1 / (2 * number of fixations).
    Equal to pysaliency's ``AUC_Judd(jitter=False)``; the noise that the original adds against ties is left out.

    Args:
        pred: Predicted saliency, any finite scale. Shape ``(batch, 1, height, width)``.
        fixations: Number of fixations at each pixel. Same shape.
        negatives: ``"unfixated"`` pixels (MIT), or ``"all"``.

    Returns:
        Scores in 0..1, shape ``(batch,)``; 0.5 is chance, and a constant prediction's score. An image without
        fixations, or without negatives, scores NaN.

    Raises:
        ValueError: Shapes differ, the prediction has NaN or infinite values, or ``fixations`` holds no counts.

    Example:
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> auc_judd_mit(pred, (pred == 2.0).float())  # one corner of the curve, at a false positive rate of 1/3
        tensor([0.8333], dtype=torch.float64)

    References:
        Judd et al., Learning to predict where humans look, ICCV 2009.
    """
    p, f = scored_at(pred, fixations)
    thresholds = f.each.ascending(p.flat)
    false = p.pixels - torch.searchsorted(p.ascending, thresholds)
    number = torch.full_like(f.each.number, p.pixels)
    if negatives == "unfixated":
        number = number - f.distinct.number
        distinct = f.distinct.ascending(p.flat)
        false = false - (f.distinct.number[:, None] - torch.searchsorted(distinct, thresholds))
    elif negatives != "all":
        raise ValueError(f"expected 'all' or 'unfixated' as negatives, got {negatives!r}")
    true = f.each.number[:, None] - torch.searchsorted(thresholds, thresholds)
    x, y = _curve(false, number), _curve(true, f.each.number)
    area = ((x[:, :-1] - x[:, 1:]) * (y[:, :-1] + y[:, 1:])).sum(1) / 2
    return area / (number * f.each.number)


def _curve(counts: Tensor, total: Tensor) -> Tensor:
    """Counts above each ascending threshold, from all of them to none."""
    ends = total[:, None]
    return torch.cat([ends, counts, torch.zeros_like(ends)], 1).double()


def _count(mask: Tensor) -> Tensor:
    # Half the time of int64.
    return mask.sum(1, dtype=torch.int32).double()
