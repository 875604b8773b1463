"""``callbacks=ema`` is Lightning's; that it is put together correctly is ours to show."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from saltext.data.datamodule import SaliencyDataModule
from saltext.models.checkpoints import read_weights
from saltext.training import SupervisedModule
from saltext.training.callbacks import EpochSeed
from tests.test_config import composed
from tests.training import test_supervised
from tests.training.quick_trainer import trainer
from tests.training.test_supervised import module

pytestmark = test_supervised.pytestmark


class RecordedWeights(Callback):
    """The head's weights after each step and in each validation."""

    def __init__(self) -> None:
        self.stepped: list[Tensor] = []
        self.validated: list[Tensor] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.stepped.append(pl_module.network.head.weight.detach().clone())

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.validated.append(pl_module.network.head.weight.detach().clone())


def running_mean(steps: list[Tensor], decay: float) -> Tensor:
    mean = steps[0]
    for weights in steps[1:]:
        mean = decay * mean + (1 - decay) * weights
    return mean


def test_with_callbacks_ema_the_mean_of_the_weights_is_validated_chosen_and_left(
    data: SaliencyDataModule, tmp_path: Path
) -> None:
    parts = composed("callbacks=ema", f"data.cache_dir={tmp_path}").callbacks
    seen, best = RecordedWeights(), instantiate(parts.best, dirpath=str(tmp_path), monitor="val/cc", mode="max")
    model = module()
    trainer(tmp_path, max_epochs=2, enable_checkpointing=True, callbacks=[seen, best, instantiate(parts.average)]).fit(
        model, datamodule=data
    )
    half = len(seen.stepped) // 2
    means = [running_mean(seen.stepped[:upto], parts.average.decay) for upto in (half, 2 * half)]
    torch.testing.assert_close(model.network.head.weight.detach(), means[1])
    for found, expected in zip((seen.validated[0], seen.validated[-1]), means, strict=True):
        torch.testing.assert_close(found, expected)
    chosen = read_weights(tmp_path / "best.ckpt")["head.weight"]
    assert min(float((chosen - mean).abs().max()) for mean in means) < 1e-6
    assert not torch.allclose(means[1], seen.stepped[-1])


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_resumed_run_goes_on_with_the_mean_and_with_the_weights_that_train(
    data: SaliencyDataModule, tmp_path: Path
) -> None:
    parts = composed("callbacks=ema").callbacks

    def fitted(epochs: int, folder: Path, resume: Path | None = None) -> SupervisedModule:
        model = module(scheduler=partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: 1.0))
        last = instantiate(parts.last, dirpath=str(folder))
        callbacks = [last, EpochSeed(0), instantiate(parts.average)]
        trainer(tmp_path, max_epochs=epochs, enable_checkpointing=True, callbacks=callbacks).fit(
            model, datamodule=data, ckpt_path=resume, weights_only=True
        )
        return model

    expected = fitted(3, tmp_path / "whole").state_dict()
    fitted(1, tmp_path / "part")
    resumed = fitted(3, tmp_path / "part", tmp_path / "part" / "last.ckpt").state_dict()
    for name, value in expected.items():
        assert torch.equal(value, resumed[name]), name
