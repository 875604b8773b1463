import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from saltext.training.callbacks import Bar, EpochLines, EpochSeed, Throughput


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


@pytest.mark.parametrize("channels_last", [True, False])
def test_settings_for_gpus_lay_out_weights_and_choose_the_precision_of_products(channels_last: bool) -> None:
    before = torch.get_float32_matmul_precision()
    network = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3), torch.nn.Linear(4, 4))
    try:
        Throughput("high", channels_last).setup(None, network, "fit")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last) is channels_last


@pytest.mark.parametrize("part", ["val", "test"])
def test_the_line_of_an_epoch_shows_the_scores_that_choose_it(part: str, caplog: pytest.LogCaptureFixture) -> None:
    logged = {"train/loss": 2.5, f"{part}/cc": 0.75, f"{part}/cc_salient": 0.5, "lr": 0.1}
    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=3, callback_metrics=logged, world_size=1)
    line = _line_of_an_epoch(trainer, caplog)
    assert line.startswith(f"epoch 1/3  {part}/cc 0.75  train/loss 2.5  ") or line.startswith(
        f"epoch 1/3  train/loss 2.5  {part}/cc 0.75  "
    )
    assert "salient" not in line
    assert "lr" not in line


def _line_of_an_epoch(trainer: Any, caplog: pytest.LogCaptureFixture) -> str:
    """The line of an epoch of two batches, of 16 and 4 pairs, whose training takes 2 s and its validation 6 s."""
    module: Any = None
    lines = EpochLines()
    clock = iter([10.0, 11.0, 12.0, 18.0])
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr("saltext.training.callbacks.time", SimpleNamespace(monotonic=lambda: next(clock)))
        lines.on_train_epoch_start(trainer, module)
        for size in (16, 4):
            batch: Any = {"text": ["a dog"] * size}
            lines.on_train_batch_end(trainer, module, None, batch, 0)
        lines.on_train_epoch_end(trainer, module)
    (line,) = caplog.messages
    return line


def test_the_line_of_an_epoch_says_how_many_pairs_a_second_trained_without_counting_the_validation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=3, callback_metrics={}, world_size=1)
    assert _line_of_an_epoch(trainer, caplog).endswith("8 s (10 pairs/s), <1 min left")


def test_the_line_of_an_epoch_says_the_throughput_of_each_process(caplog: pytest.LogCaptureFixture) -> None:
    strategy = SimpleNamespace(root_device="cpu", all_gather=lambda own: torch.stack([own, own * 0.5]))
    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=3, callback_metrics={}, world_size=2, strategy=strategy)
    assert "8 s (10, 5 pairs/s by rank)" in _line_of_an_epoch(trainer, caplog)


def test_a_bar_whose_terminal_fails_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Bar):
        calls = 0

        def on_train_batch_end(self, *_: Any) -> None:
            self.calls += 1
            raise OSError(5, "Input/output error")

    bar = Broken()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            bar.on_train_batch_end()
    assert bar.calls == 1
    assert caplog.messages == ["the progress bar ended: [Errno 5] Input/output error"]
