"""Callbacks of a training: the seed of each epoch, settings for GPUs, one log line per epoch, and the progress bar."""

import logging
import random
import time
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar

from saltext import storage
from saltext.data.dataset import Batch
from saltext.metrics import METRICS
from saltext.system.run_folder import RunFolder
from saltext.training.scored import ScoredModule

_log = logging.getLogger(__name__)


def _is_overall(key: str) -> bool:
    """Whether a logged value is a metric over all tasks of the selection split, not of one task."""
    part, _, name = key.partition("/")
    return part in ("val", "test") and name in METRICS


class EpochSeed(Callback):
    """Seeds each epoch from the run's seed and the epoch alone.

    A resumed run then draws the same random numbers as an uninterrupted one, without generator states in the
    checkpoint.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed Python, NumPy and torch."""
        sequence = np.random.SeedSequence([self._seed, trainer.current_epoch, trainer.global_rank])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


class Throughput(Callback):
    """Settings that make a GPU's steps faster and change the last digits of results.

    Args:
        matmul_precision: See :func:`torch.set_float32_matmul_precision`; a run restores it at its end.
        channels_last: Whether the weights of convolutions are laid out with channels last, as tensor cores read them.

    Example:
        >>> network = torch.nn.Conv2d(8, 8, 3)
        >>> Throughput(matmul_precision="highest").setup(None, network, "fit")
        >>> network.weight.is_contiguous(memory_format=torch.channels_last)
        True
    """

    def __init__(
        self, matmul_precision: Literal["highest", "high", "medium"] = "high", channels_last: bool = True
    ) -> None:
        self._matmul_precision = matmul_precision
        self._channels_last = channels_last

    def setup(self, trainer: L.Trainer | None, pl_module: torch.nn.Module, stage: str) -> None:
        """Apply them, before the strategy wraps the module."""
        torch.set_float32_matmul_precision(self._matmul_precision)
        if self._channels_last:
            pl_module.to(memory_format=torch.channels_last)


class EpochScores(Callback):
    """Keeps the scores of single pairs after every epoch, in ``epoch_scores.csv`` of the run's or the stage's folder.

    Columns: ``epoch`` (from 0), ``split``, ``task``, ``image_id`` and the validation metrics. ``data.epoch_splits``
    says which splits are scored.
    """

    def __init__(self) -> None:  # says that a configuration can set nothing: Lightning's class has no signature to read
        super().__init__()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the epoch's scores; those of an epoch that a killed run began are replaced."""
        if trainer.sanity_checking or not trainer.is_global_zero or not isinstance(pl_module, ScoredModule):
            return
        path = RunFolder(Path(trainer.default_root_dir)).epoch_scores
        epoch = trainer.current_epoch
        scores = pl_module.epoch_scores.sort_values(["split", "task", "image_id"])
        scores.insert(0, "epoch", epoch)
        if epoch and path.is_file():
            earlier = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False, na_values=[""])
            scores = pd.concat([earlier[earlier["epoch"] < epoch], scores])
        first = ["epoch", "split", "task", "image_id"]
        storage.write_csv(path, scores[[*first, *(name for name in scores if name not in first)]], durable=True)


class EpochLines(Callback):
    """Logs one plain line per epoch: progress, loss, scores on the selection split, time, throughput and time left.

    Throughput is image-text pairs trained per second, from the start of the epoch to the end of its last training
    batch; with several processes that of each rank, so that a slow one shows.
    """

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._start = self._trained_until = time.monotonic()
        self._pairs = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count its pairs."""
        self._pairs += len(batch["text"])
        self._trained_until = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line."""
        seconds = time.monotonic() - self._start
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        shown = {k: float(v) for k, v in trainer.callback_metrics.items() if k == "train/loss" or _is_overall(k)}
        values = "  ".join(f"{name} {value:.4g}" for name, value in sorted(shown.items()))
        left = (total - done) * seconds
        remaining = f"about {left / 60:.0f} min left" if left >= 60 else "<1 min left"
        per_second = self._pairs_per_second(trainer)
        _log.info("epoch %d/%d  %s  %.0f s (%s), %s", done, total, values, seconds, per_second, remaining)

    def _pairs_per_second(self, trainer: L.Trainer) -> str:
        own = self._pairs / max(self._trained_until - self._start, 1e-9)
        if trainer.world_size == 1:
            return f"{own:.3g} pairs/s"
        of_ranks = trainer.strategy.all_gather(torch.tensor(own, device=trainer.strategy.root_device)).tolist()
        return f"{', '.join(f'{rate:.3g}' for rate in of_ranks)} pairs/s by rank"


class Bar(RichProgressBar):
    """A progress bar that ends without ending the training when the terminal fails, such as one that was closed."""

    def __getattribute__(self, name: str) -> Any:
        hook = super().__getattribute__(name)
        if not name.startswith(("on_", "setup", "teardown", "print")):
            return hook

        @wraps(hook)
        def end_bar_on_error(*arguments: Any, **named: Any) -> None:
            if self.__dict__.get("ended"):
                return
            try:
                hook(*arguments, **named)
            except Exception as error:
                self.__dict__["ended"] = True
                with suppress(Exception):
                    self._stop_progress()
                _log.info("the progress bar ended: %s", error)

        return end_bar_on_error
