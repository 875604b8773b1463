"""Whether a predicted density means what it says: a share of its mass should hold that share of the fixations."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from saltext.metrics.maps import Fixations, Maps, scored_at


def coverage(pred: Tensor | Maps, fixations: Tensor | Fixations, levels: Sequence[float]) -> Tensor:
    r"""Share of the fixations inside the densest region that holds a given share of the predicted mass.

    Pixels are taken in descending order of the predicted density until they hold the mass :math:`a`: the highest
    density region of that level. Fixations drawn from the prediction itself fall into it with probability :math:`a`.

    .. math:: c(a) = \frac{1}{|F|} \sum_{x \in F}
              \mathrm{clip}\left(\frac{a - M_{>}(x)}{M_{=}(x)},\, 0,\, 1\right)

    :math:`M_{>}` is the mass of the pixels that are denser than x, :math:`M_{=}` that of the pixels as dense as x, x
    among them. What is equally dense enters the region evenly: ties have no order, and the pixel at the region's edge
    counts with the part that is inside.

    Calibration says nothing about how much a prediction knows: a uniform one has :math:`c(a) = a` exactly.

    Args:
        pred: Predicted saliency, not negative; it is divided by its sum. Shape ``(batch, 1, height, width)``.
        fixations: Number of fixations at each pixel. Same shape.
        levels: Shares of the mass, each above 0 and below 1 (at the ends every density is calibrated).

    Returns:
        Shares in 0..1, float64 ``(batch, len(levels))``, not falling with the level; of an average over images, above
        the level where the prediction is too spread out, below it where it is too sure. An all-zero prediction covers
        nothing. An image without fixations has NaN.

    Raises:
        ValueError: Shapes differ, the prediction has negative, NaN or infinite values, or a level is not inside 0..1.

    Example:
        >>> pred = torch.tensor([[[[1.0, 1.0], [2.0, 4.0]]]])  # masses 1/8, 1/8, 1/4, 1/2
        >>> coverage(pred, torch.tensor([[[[0, 0], [1, 1]]]]), [0.25, 0.625])  # (1/2 + 0) / 2, (1 + 1/2) / 2
        tensor([[0.2500, 0.7500]], dtype=torch.float64)

    References:
        Hyndman, Computing and graphing highest density regions, The American Statistician 1996.
    """
    outside = [level for level in levels if not 0 < level < 1]
    if outside:
        raise ValueError(f"expected levels above 0 and below 1, got {outside}")
    p, f = scored_at(pred, fixations)
    _ = p.inverse_total  # refuses negative values
    # Of each fixation (batch, longest), the mass above the value there, and the mass of that value; in gaps, anything.
    values = f.each.values(p.flat)
    up_to = torch.searchsorted(p.ascending, values, right=True)
    ties = up_to - torch.searchsorted(p.ascending, values)
    from_the_top = F.pad(p.ascending.flip(1).double().cumsum(1), (1, 0))
    denser = from_the_top.gather(1, p.pixels - up_to)
    alike = values.masked_fill(~f.each.valid, 0.0).double() * ties
    asked = torch.tensor(list(levels), dtype=torch.float64, device=denser.device) * p.total[:, None]
    inside = ((asked[:, None] - denser[..., None]) / alike[..., None]).clamp(0, 1)
    # A pixel without mass is in no region below the whole image.
    counted = (f.each.valid & (alike > 0))[..., None]
    covered = inside.masked_fill(~counted, 0.0).sum(1) / f.each.number.clamp_min(1)[:, None]
    return covered.masked_fill(f.each.number[:, None] == 0, torch.nan)
