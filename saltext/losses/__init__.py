"""Training losses. Imports neither Lightning nor Hydra."""

from saltext.losses.saliency import PAPER_WEIGHTS, SaliencyLoss

__all__ = ["PAPER_WEIGHTS", "SaliencyLoss"]
