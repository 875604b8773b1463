"""How often the host waits for the device in a training batch: on a GPU as torch warns, elsewhere on the stand-in."""

import warnings
from contextlib import ExitStack
from typing import Any

import lightning as L
import torch

from tests import standin


class Waits(L.Callback):
    """Notes what is waited for between a batch's arrival on the device and the end of its step.

    Attributes:
        of_batches: By epoch and batch, the operations with their lines.
    """

    def __init__(self) -> None:
        self.of_batches: dict[tuple[int, int], list[str]] = {}
        self._open = ExitStack()

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.device.type == "cuda" and torch.cuda.is_available():
            self._warned = self._open.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("warn")
        else:
            self._noted = self._open.enter_context(standin.waits())

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.device.type == "cuda" and torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")
            waited = [w for w in self._warned if "called a synchronizing CUDA operation" in str(w.message)]
            self.of_batches[trainer.current_epoch, batch_idx] = [f"{w.filename}:{w.lineno}" for w in waited]
        else:
            self.of_batches[trainer.current_epoch, batch_idx] = list(self._noted)
        self._open.close()
