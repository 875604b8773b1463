"""The weighted sum of saliency scores that TranSalNet and TranBlend train with."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import near
from saltext.metrics import functional, published
from saltext.metrics.maps import Maps, metric_device

PAPER_WEIGHTS: Mapping[str, float] = MappingProxyType({"cc": -2.0, "nss": -1.0, "sim": -1.0, "kl": 10.0, "mse": 4.0})
"""TranBlend's weights: scores to be raised have negative ones."""

# DISCREPANCY: the authors' script divides by a deviation or a sum of 0 at a constant map and gives NaN. The floor keeps
# the gradient finite there and changes no other map; it has no switch, since no network trains on NaN.
FLOOR = 1e-4
"""Smallest deviation (cc, nss) and smallest mean above the minimum (sim) that is divided by, for maps in 0..1."""


class SaliencyLoss(nn.Module):
    r"""Weighted sum of the papers' terms and one more, each averaged over the images of the batch.

    .. math:: L = \sum_i w_i \, \mathrm{score}_i

    * ``cc``: Pearson correlation (:func:`~saltext.metrics.functional.cc`)
    * ``sim``: histogram intersection of min-max scaled maps (:func:`~saltext.metrics.functional.sim_minmax`)
    * ``kl``: divergence in nats (:func:`~saltext.metrics.functional.kl`)
    * ``nss``: over pixels with a fixation, with the sample deviation
      (:func:`~saltext.metrics.published.nss_unbiased`). Images without fixations contribute nothing and are not
      averaged in; the term of a batch without any fixation is 0.
    * ``mse``: mean squared difference
    * ``contrast``: how well the ground truths identify the predictions of the batch. The cross-entropy, in nats, of a
      softmax over the predictions of minus their divergences from a ground truth, with the prediction that was made for
      it. Of few unrelated images it soon vanishes; it is meant for batches that hold several texts for an image
      (``data.images_together``). Readouts of one network share a ground truth: the logarithm of their number is the
      floor of the term. The papers have no such term.

    Terms are computed in float64 whatever the maps' dtype, on the CPU where the device has none (mps); otherwise
    nothing synchronises with the device. NaN passes through. A ground-truth map without content has no divergence: it
    makes the loss NaN rather than a plausible number.

    Args:
        weights: Weight of each term; a score to be raised needs a negative weight. Terms with weight 0 are not
            computed.

    Raises:
        ValueError: A term is unknown, a weight is no finite number, or all weights are 0.

    Example:
        >>> from saltext.losses import SaliencyLoss
        >>> loss = SaliencyLoss({"cc": -2.0, "mse": 4.0})
        >>> density = torch.tensor([[[[0.0, 0.25], [0.5, 0.75]]]])
        >>> saliency = (density + 0.25).requires_grad_()
        >>> total, terms = loss(saliency, density, torch.zeros(1, 1, 2, 2))  # -2 * 1 + 4 / 16
        >>> total.backward()
        >>> total.detach(), terms["mse"].detach()
        (tensor(-1.7500), tensor(0.0625, dtype=torch.float64))

    References:
        Lou et al., TranSalNet, Neurocomputing 2022, and the TranBlend paper, for the weights.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        problems = [f"unknown term {name!r}{near(str(name), _TERMS)}" for name in weights if name not in _TERMS]
        problems += [
            f"the weight of {name} is {weight!r}"
            for name, weight in weights.items()
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight)
        ]
        if not problems and not any(weights.values()):
            problems = ["all weights are 0, so there is nothing to learn from"]
        if problems:
            raise ValueError(
                f"loss weights: expected finite numbers for any of {', '.join(_TERMS)}, got {'; '.join(problems)}"
            )
        self.weights = {str(name): float(weight) for name, weight in weights.items() if weight}

    def forward(self, saliency: Tensor, density: Tensor, fixations: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch.

        Args:
            saliency: Predictions in 0..1, (batch, 1, height, width), floating point.
            density: Ground-truth maps in 0..1, same shape.
            fixations: Number of fixations at each pixel, same shape; above 0 counts as fixated.

        Returns:
            The loss, a scalar of the predictions' dtype, and the unweighted terms, float64 scalars (of the predictions'
            dtype on a device without float64), all on their device.

        Raises:
            ValueError: Shapes differ.
        """
        p = Maps(saliency, "saliency", validate=False)
        g = Maps(density, "density", validate=False)
        f = Maps(fixations, "fixations", validate=False)
        p.same_size(g)
        p.same_size(f)
        # DISCREPANCY: the authors' script sums over the images of a batch, so that its step grows with the batch size;
        # the mean does not. Weights times the batch size reproduce the sum.
        terms = {name: _TERMS[name](p, g, f) for name in self.weights}
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        if metric_device(saliency.device) != saliency.device:
            terms = {name: term.to(saliency) for name, term in terms.items()}
        return total.to(saliency), terms

    def extra_repr(self) -> str:
        """The weights, for ``print(model)``."""
        return ", ".join(f"{name}={weight:g}" for name, weight in self.weights.items())


def _cc(p: Maps, g: Maps, f: Maps) -> Tensor:
    return functional.cc(p, g, min_std=FLOOR).mean()


def _sim(p: Maps, g: Maps, f: Maps) -> Tensor:
    return functional.sim_minmax(p, g, min_mean=FLOOR).mean()


def _kl(p: Maps, g: Maps, f: Maps) -> Tensor:
    return functional.kl(p, g).mean()


def _nss(p: Maps, g: Maps, f: Maps) -> Tensor:
    fixated = (f.flat > 0).any(1)
    scores = published.nss_unbiased(p, f, min_std=FLOOR).masked_fill(~fixated, 0.0)
    return scores.sum() / fixated.sum().clamp_min(1)


def _mse(p: Maps, g: Maps, f: Maps) -> Tensor:
    return (p.wide - g.wide).square().mean()


def _contrast(p: Maps, g: Maps, f: Maps) -> Tensor:
    # A divergence without the entropy of the ground truth, which is the same for all predictions.
    agreement = g.distribution @ (p.distribution + functional.EPS).log().T
    return F.cross_entropy(agreement, torch.arange(len(agreement), device=agreement.device))


_TERMS = {"cc": _cc, "nss": _nss, "sim": _sim, "kl": _kl, "mse": _mse, "contrast": _contrast}
