"""The CSV log of epochs: replaced atomically, and complete for every finished epoch, also after a kill."""

import csv
import io
from typing import Any

import lightning as L
from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from saltext import storage

_CHECKPOINT_KEY = "logged_epoch"


class _AtomicWriter(ExperimentWriter):
    """Replaces the whole file at every save: Lightning's writer appends, and empties it where a column is new."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._rows: list[dict[str, float]] = []

    def save(self) -> None:
        """Write every line so far."""
        if not self.metrics:
            return
        self._rows += self.metrics
        self.metrics = []
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, sorted({key for row in self._rows for key in row}), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        storage.write_text(self.metrics_file_path, text.getvalue())


class EpochLog(CSVLogger):
    """Lightning's ``CSVLogger``, but its ``metrics.csv`` is complete at every instant."""

    @property
    @rank_zero_experiment
    def experiment(self) -> _ExperimentWriter:
        """The writer of the file, created on first use."""
        if self._experiment is None:
            self._fs.makedirs(self.root_dir, exist_ok=True)
            self._experiment = _AtomicWriter(self.log_dir)
        return self._experiment


class RelogLastEpoch(Callback):
    """Logs the values of the last finished epoch again when a run is resumed.

    Lightning logs them after it saved the checkpoint; a run that is killed in between would never have them.
    """

    def __init__(self) -> None:
        self._logged: dict[str, Any] | None = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the values in the checkpoint."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        values["epoch"] = trainer.current_epoch
        checkpoint[_CHECKPOINT_KEY] = {"values": values, "step": trainer.global_step - 1}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Read the values from the checkpoint; older checkpoints have none."""
        self._logged = checkpoint.get(_CHECKPOINT_KEY)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the values, also where no epoch is left to train."""
        if self._logged is None:
            return
        for logger in trainer.loggers:
            if isinstance(logger, EpochLog):
                logger.log_metrics(self._logged["values"], self._logged["step"])
                logger.save()
