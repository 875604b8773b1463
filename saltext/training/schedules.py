"""Learning rate schedules that work for any number of training steps, where torch's own do not."""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR, StepLR


def one_cycle(
    optimizer: Optimizer, max_lr: float | list[float], total_steps: int, pct_start: float = 0.1, **options: Any
) -> OneCycleLR:
    """Torch's ``OneCycleLR`` for trainings of any length: torch's divides by zero where the rise is exactly one step.

    Args:
        optimizer: The optimizer whose learning rates the schedule sets.
        max_lr: The highest rate, or one per parameter group.
        total_steps: Steps of the whole training; the schedule is stepped after each.
        pct_start: Fraction of the steps in which the rate rises. A rise of one step is left out, as shorter ones are.
        options: Other arguments of ``OneCycleLR``.
    """
    rises = not math.isclose(pct_start * total_steps, 1)
    return OneCycleLR(optimizer, max_lr, total_steps, pct_start=pct_start if rises else 0.0, **options)


def step_down(optimizer: Optimizer, total_steps: int, phases: int = 10, gamma: float = 0.1) -> StepLR:
    """A learning rate that is constant in each of several equal phases of the training.

    Args:
        optimizer: Its learning rates are those of the first phase.
        total_steps: Steps of the whole training; the schedule is stepped after each.
        phases: Number of phases, at least 1.
        gamma: Factor of the rate from one phase to the next.

    Raises:
        ValueError: ``phases`` is below 1.
    """
    if phases < 1:
        raise ValueError(f"scheduler.phases: expected at least 1, got {phases}")
    return StepLR(optimizer, step_size=math.ceil(total_steps / phases), gamma=gamma)
