"""What happens around the epochs."""

import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar

from saltext.metrics import METRICS

_log = logging.getLogger(__name__)


def _is_overall(key: str) -> bool:
    """Whether a logged value is a metric over all tasks of the part that chooses the epoch, not of one task."""
    part, _, name = key.partition("/")
    return part in ("val", "test") and name in METRICS


class EpochSeed(Callback):
    """Start each epoch from random numbers that depend on the seed and the epoch alone.

    A resumed run then draws what the uninterrupted one would have drawn, without generator states in the checkpoint.
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


class EpochLines(Callback):
    """One plain line an epoch: progress, loss, scores that choose the epoch, time and time left."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line."""
        seconds = time.monotonic() - self._start
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        shown = {k: float(v) for k, v in trainer.callback_metrics.items() if k == "train/loss" or _is_overall(k)}
        values = "  ".join(f"{name} {value:.4g}" for name, value in sorted(shown.items()))
        left = (total - done) * seconds
        remaining = f"about {left / 60:.0f} min left" if left >= 60 else "<1 min left"
        _log.info("epoch %d/%d  %s  %.0f s, %s", done, total, values, seconds, remaining)


class Bar(RichProgressBar):
    """A progress bar that ends alone when the terminal fails: one that was closed, has no columns, or is strange."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return _forgiving(self, found) if name.startswith(_HOOKS) else found


_HOOKS = ("on_", "setup", "teardown", "print")


def _forgiving(bar: Bar, hook: Callable[..., None]) -> Callable[..., None]:
    @wraps(hook)
    def forgiven(*arguments: Any, **named: Any) -> None:
        if bar.__dict__.get("ended"):
            return
        try:
            hook(*arguments, **named)
        except Exception as error:
            bar.__dict__["ended"] = True
            with suppress(Exception):
                bar._stop_progress()
            _log.info("the progress bar ended: %s", error)

    return forgiven
