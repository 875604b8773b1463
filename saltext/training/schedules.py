"""Learning rates over a training, where torch's own do not take the number of steps as it comes."""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR, StepLR


def one_cycle(
    optimizer: Optimizer, max_lr: float | list[float], total_steps: int, pct_start: float = 0.1, **options: Any
) -> OneCycleLR:
    """Torch's schedule, for trainings of any length: its own divides by zero where the rise is exactly one step.

    Args:
        optimizer: Its rates are set by the schedule.
        max_lr: The highest rate, or one a parameter group.
        total_steps: Of the whole training; the schedule is stepped after each.
        pct_start: Fraction of the steps in which the rate rises. A rise of one step is left out, as shorter ones are.
        options: As for torch's.
    """
    rises = not math.isclose(pct_start * total_steps, 1)
    return OneCycleLR(optimizer, max_lr, total_steps, pct_start=pct_start if rises else 0.0, **options)


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
