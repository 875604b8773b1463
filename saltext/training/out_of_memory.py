"""Out-of-memory errors that name the batch and what to change."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from saltext.models.out_of_memory import OutOfMemoryError, is_out_of_memory

_EVALUATION = "Set a smaller data.eval_batch_size, or trainer.precision=bf16-mixed."


class _LastBatch(Callback):
    """Records the current batch, and what to change if it is too large."""

    what = "The network"
    remedy = "Use a smaller network, or another device (trainer.accelerator=cpu)."

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        accumulate = "trainer.accumulate_grad_batches" if pl_module.automatic_optimization else "training.accumulate"
        self._note_batch(
            "training",
            batch,
            f"Set a smaller data.batch_size (with {accumulate}=2 two half batches make one step), or "
            "trainer.precision=bf16-mixed.",
        )

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note_batch("validation", batch, _EVALUATION)

    def on_test_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note_batch("test", batch, _EVALUATION)

    def _note_batch(self, part: str, batch: Mapping[str, Any], remedy: str) -> None:
        number, _, height, width = batch["image"].shape
        self.what = f"A {part} batch of {number} image{'s' * (number > 1)} at {height}x{width}"
        self.remedy = remedy


@contextmanager
def explain_out_of_memory(trainer: L.Trainer) -> Iterator[None]:
    """Replace out-of-memory errors of a trainer by one that names the batch and what to change.

    Raises:
        OutOfMemoryError: Instead of such errors of torch, whichever device or library they come from.
    """
    last = _LastBatch()
    trainer.callbacks.append(last)  # type: ignore[attr-defined]
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        device = trainer.strategy.root_device
        raise OutOfMemoryError(
            f"{last.what} does not fit into the memory of {device}. {last.remedy} ({str(error).splitlines()[0]})"
        ) from error
    finally:
        trainer.callbacks.remove(last)  # type: ignore[attr-defined]
