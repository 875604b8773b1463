"""What was logged by epoch is whole, and lacks no epoch."""

from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from saltext.training.checkpoint_io import ReplacingCheckpointIO
from saltext.training.epoch_log import EpochLog, RelogLastEpoch
from tests.training.quick_trainer import trainer

# One folder holds all of a run, and is used again when it resumes.
pytestmark = pytest.mark.filterwarnings("ignore:.*exists and is not empty.*")


class Module(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, number: int) -> Any:
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


def trained(folder: Path, epochs: int, resume: str | None = None) -> None:
    data = DataLoader(torch.ones(4, 1), batch_size=2)
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    built = trainer(
        folder, max_epochs=epochs, logger=EpochLog(folder, name="metrics"), enable_checkpointing=True,
        callbacks=[RelogLastEpoch(), last], plugins=[ReplacingCheckpointIO()], log_every_n_steps=1,
    )  # fmt: skip
    built.fit(Module(), data, ckpt_path=resume, weights_only=True)


def logged(folder: Path, version: int) -> dict[int, float]:
    table = pd.read_csv(folder / "metrics" / f"version_{version}" / "metrics.csv")
    return dict(zip(table["epoch"], table["train/loss"], strict=True))


def test_a_column_that_comes_later_loses_no_line_and_the_file_is_always_whole(tmp_path: Path) -> None:
    log = EpochLog(tmp_path, name="metrics")
    for values in ({"epoch": 0, "a": 1.0}, {"epoch": 0, "b": 2.0}, {"epoch": 1, "a": 3.0}):
        log.log_metrics(values, step=1)
        log.save()
        assert log.experiment.metrics_file_path
        table = pd.read_csv(log.experiment.metrics_file_path)
    assert list(table.columns) == ["a", "b", "epoch", "step"]
    assert len(table) == 3
    assert [path.name for path in Path(log.log_dir).iterdir()] == ["metrics.csv"]


def test_a_resumed_run_has_the_values_of_the_epoch_it_goes_on_after(tmp_path: Path) -> None:
    trained(tmp_path, epochs=2)
    first = logged(tmp_path, 0)
    # As if it had been killed after the checkpoint, before the line of its epoch.
    (tmp_path / "metrics" / "version_0" / "metrics.csv").unlink()
    trained(tmp_path, epochs=3, resume=str(tmp_path / "last.ckpt"))
    assert logged(tmp_path, 1)[1] == first[1]
    assert list(logged(tmp_path, 1)) == [1, 2]


def test_a_run_killed_after_its_last_epoch_lacks_no_value_either(tmp_path: Path) -> None:
    trained(tmp_path, epochs=2)
    first = logged(tmp_path, 0)
    (tmp_path / "metrics" / "version_0" / "metrics.csv").unlink()
    trained(tmp_path, epochs=2, resume=str(tmp_path / "last.ckpt"))
    assert logged(tmp_path, 1) == {1: first[1]}
