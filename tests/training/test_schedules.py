import pytest
import torch
from torch import nn

from saltext.training.schedules import one_cycle, step_down


def rates(total_steps: int, phases: int, gamma: float) -> list[float]:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler = step_down(optimizer, total_steps, phases, gamma)
    found = []
    for _ in range(total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_rate_is_constant_in_each_part_and_falls_from_one_to_the_next() -> None:
    assert rates(6, phases=3, gamma=0.5) == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_parts_of_unequal_length_leave_the_last_one_short() -> None:
    assert rates(5, phases=2, gamma=0.5) == [1, 1, 1, 0.5, 0.5]


def test_no_part_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rates(3, phases=0, gamma=0.5)


@pytest.mark.parametrize("steps", [5, 9, 10, 11, 20])
def test_a_one_cycle_schedule_rises_and_falls_to_nothing_also_when_its_rise_is_one_step(steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = one_cycle(optimizer, max_lr=0.5, total_steps=steps)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps - 1):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert 0.48 < max(rates) <= 0.5
    assert rates[-1] < 1e-4
