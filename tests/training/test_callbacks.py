from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from saltext.training.callbacks import EpochSeed


def draws(seed: int, epoch: int, rank: int = 0) -> tuple[float, float]:
    trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    module: Any = None
    EpochSeed(seed).on_train_epoch_start(trainer, module)
    return float(torch.rand(())), float(np.random.rand())


def test_an_epoch_draws_the_same_numbers_whatever_came_before() -> None:
    expected = draws(1, 3)
    torch.rand(17)
    assert draws(1, 3) == expected


def test_epochs_seeds_and_ranks_draw_different_numbers() -> None:
    assert len({draws(1, 3), draws(1, 4), draws(2, 3), draws(1, 3, rank=1)}) == 4
