"""Training losses. Imports neither Lightning nor Hydra."""

from saltext.losses.adversarial import GeneratorLoss, at_least_float32, gan_loss
from saltext.losses.saliency import PAPER_WEIGHTS, SaliencyLoss

__all__ = ["PAPER_WEIGHTS", "GeneratorLoss", "SaliencyLoss", "at_least_float32", "gan_loss"]
