"""Losses of CLIP-SalGAN's generator and discriminator."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.losses.saliency import SaliencyLoss


def at_least_float32(x: Tensor) -> Tensor:
    """Widen what autocast has narrowed, since cross-entropies of 16-bit numbers are coarse; float64 stays.

    Example:
        >>> at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def gan_loss(logits: Tensor, target: float) -> Tensor:
    """Binary cross-entropy of a discriminator's logits with one target for all of them.

    Args:
        logits: Of the discriminator, floating point, any shape; 16-bit ones are widened.
        target: 0 (generated) to 1 (a human map).

    Returns:
        Mean over the logits, a scalar in nats.

    Example:
        >>> gan_loss(torch.zeros(2, 1), 1.0)  # undecided: ln 2
        tensor(0.6931)
    """
    wide = at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(wide, torch.full_like(wide, target))


class GeneratorLoss(nn.Module):
    r"""Loss of the generator: cross-entropy with the human map, and the adversarial term.

    .. math:: L_G = \alpha \, \mathrm{BCE}(\hat S, S) + \beta \, \mathrm{BCE}(D(I, \hat S), 1) + \sum_i w_i \, t_i

    The first term is over pixels of the ground-truth map in 0..1; the t_i are those of
    :class:`saltext.losses.SaliencyLoss`. The paper has no such terms; its authors name MSE, and fixations in training,
    as wishes.

    # DISCREPANCY: the authors' script trains with the adversarial term alone. `alpha=0` reproduces it.

    Args:
        alpha: Weight of the cross-entropy with the ground truth, at least 0.
        adversarial: Weight of the adversarial term, at least 0.
        terms: Weights of further terms; a score to be raised needs a negative weight. None, or all 0: none.

    Attributes:
        content: Whether anything but the adversarial term is minimised.

    Raises:
        ValueError: A weight that is negative or no finite number, an unknown term, or nothing to minimise.

    Example:
        >>> from saltext.losses import GeneratorLoss
        >>> loss = GeneratorLoss(alpha=1.0, adversarial=0.5)
        >>> logits, density, fixations = torch.zeros(2, 1, 3, 4), torch.ones(2, 1, 3, 4), torch.ones(2, 1, 3, 4)
        >>> loss(logits, density, fixations, torch.zeros(2, 1))  # ln 2 + ln 2 / 2
        (tensor(1.0397), {'bce': tensor(0.6931), 'adversarial': tensor(0.6931)})
    """

    def __init__(self, alpha: float = 1.0, adversarial: float = 1.0, terms: Mapping[str, float] | None = None) -> None:
        super().__init__()
        wrong = [
            f"{name}: expected a finite number of at least 0, got {weight!r}"
            for name, weight in (("alpha", alpha), ("adversarial", adversarial))
            if not 0 <= weight < math.inf
        ]
        extra = any((terms or {}).values())
        if not wrong and not (alpha or adversarial or extra):
            wrong = ["expected a weight above 0, got 0 alone: there is nothing to learn from"]
        if wrong:
            raise ValueError("generator loss: " + "; ".join(wrong))
        self.alpha = alpha
        self.adversarial = adversarial
        self.terms = SaliencyLoss(terms) if terms and extra else None
        self.content = bool(alpha) or extra

    def forward(
        self, logits: Tensor, density: Tensor, fixations: Tensor, fake_logits: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch.

        Args:
            logits: Predictions whose sigmoid is the map, floating point, shape ``(batch, 1, height, width)``.
            density: Ground-truth maps in 0..1, same shape.
            fixations: Number of fixations at each pixel, same shape.
            fake_logits: The discriminator's logits for the predictions; None leaves the adversarial term out.

        Returns:
            The loss, a scalar, and its unweighted terms by name. These are ``bce``, even where its weight is 0,
            ``adversarial`` if there are ``fake_logits``, and the further terms.

        Raises:
            ValueError: Shapes differ.
        """
        if logits.shape != density.shape:
            raise ValueError(f"expected maps of one shape, got {tuple(logits.shape)} and {tuple(density.shape)}")
        wide = at_least_float32(logits)
        bce = F.binary_cross_entropy_with_logits(wide, density.to(wide.dtype))
        terms = {"bce": bce}
        total = self.alpha * bce
        if fake_logits is not None:
            terms["adversarial"] = gan_loss(fake_logits, 1.0)
            total = total + self.adversarial * terms["adversarial"]
        if self.terms is not None:
            weighted, further = self.terms(wide.sigmoid(), density, fixations)
            terms |= further
            total = total + weighted
        return total, terms
