"""Learning rates over a training, where torch's own need to be told in steps what papers say in epochs."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR


def step_down(optimizer: Optimizer, total_steps: int, phases: int = 10, gamma: float = 0.1) -> StepLR:
    """A rate that is constant in each of several equal parts of the training.

    Args:
        optimizer: Its rates are those of the first part.
        total_steps: Of the whole training; the schedule is stepped after each.
        phases: Number of parts, at least 1.
        gamma: What the rate is multiplied with from one part to the next.

    Raises:
        ValueError: ``phases`` is below 1.
    """
    if phases < 1:
        raise ValueError(f"scheduler.phases={phases}, at least 1 expected")
    return StepLR(optimizer, step_size=math.ceil(total_steps / phases), gamma=gamma)
