"""The base of all Lightning modules that train: predictions, and validation scores at native resolution."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
from torch import Tensor

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.splits import Part
from saltext.errors import CheckpointError
from saltext.evaluation.evaluator import Evaluator
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.protocols import standard
from saltext.training.score_tables import ScoreTables


class ScoredModule(L.LightningModule):
    """A model that predicts saliency for batches, scored after every epoch.

    Logs, for each validation metric, ``PART/METRIC`` (mean of the tasks' means, so that a task with more pairs does not
    outweigh the others) and ``PART/METRIC_TASK``, where PART is the split that selects the checkpoint, or another of
    the data module's ``epoch_splits``.

    Args:
        validation_metrics: Names of ``saltext.metrics.METRICS``.
        selection_split: ``"val"``, or ``"test"`` to report the best test epoch as the papers do.

    Attributes:
        epoch_scores: Scores of the pairs that were scored after the last epoch: ``split``, ``task``, ``image_id`` and
            the validation metrics.
        reads_text: Whether the text can change a prediction.
        reads_condition: Whether predictions are also conditioned on the task.
    """

    reads_text: bool = False
    reads_condition: bool = False

    def __init__(self, validation_metrics: Sequence[str], selection_split: Part = "val") -> None:
        super().__init__()
        self._validation = standard(validation_metrics)
        self._selection_split = selection_split
        self.score_tables: ScoreTables | None = None
        self.epoch_scores = pd.DataFrame()

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        """Maps in 0..1, float32 (B,1,h,w), over the whole network input, at the model's own resolution."""
        raise NotImplementedError(f"{type(self).__name__} has to predict")

    def predict_saliency(self, batch: Mapping[str, Any]) -> Tensor:
        """The maps to score, like :meth:`saliency`; a model may spend more on them than in training."""
        return self.saliency(batch)

    def encode_ahead(self, data: SaliencyDataModule, indices: Sequence[int]) -> None:
        """Encode the texts of pairs that will be read, in batches; a model without a text encoder has nothing to do."""

    def log_same(self, name: str, value: float, prog_bar: bool = False) -> None:
        """Log a value that is equal on all processes, without communication between them.

        Args:
            name: The key.
            value: The same one on every process.
            prog_bar: Whether the progress bar shows it.
        """
        # Lightning reduces nothing where rank_zero_only is set, and without sync_dist recommends that it be set.
        self.log(name, value, prog_bar=prog_bar, sync_dist=True, rank_zero_only=True)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint with a path that leads out of the folder of checkpoints.

        Lightning deletes the file that the checkpoint names as the last best epoch, if its path begins with the
        folder's.

        Raises:
            CheckpointError: A path in the checkpoint leads out of the folder.
        """
        folders = [Path(str(callback.dirpath)).absolute() for callback in self.trainer.checkpoint_callbacks]  # type: ignore[attr-defined]
        for path in (Path(text).absolute() for text in _strings_in(checkpoint.get("callbacks"))):
            if any(folder in path.parents and ".." in path.relative_to(folder).parts for folder in folders):
                raise CheckpointError(
                    f"The checkpoint names {path} as one of its files, which it is not. Do not use it."
                )

    def on_validation_epoch_start(self) -> None:
        """Start with an empty table."""
        evaluator = Evaluator()
        evaluator.add(type(self).__name__, ModelPredictor(self.predict_saliency), self._validation)
        self.score_tables = ScoreTables(evaluator, self.trainer.datamodule.pairs)  # type: ignore[attr-defined]
        self.score_tables.to(self.device)  # new, so Lightning has not moved it; scores are gathered on this device

    def validation_step(self, batch: Mapping[str, Any], batch_index: int) -> None:
        """Score a batch for the selection of the checkpoint."""
        if self.score_tables is not None:
            self.score_tables.update(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the means over tasks and the tasks' own means."""
        if self.score_tables is None:
            return
        table = self.score_tables.frame()
        self.score_tables = None
        data: SaliencyDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        part_of = {(data.pairs[i].image_id, data.pairs[i].task): part for i, part in data.epoch_parts.items()}
        parts = [part_of[key] for key in zip(table["image_id"], table["task"], strict=True)]
        metrics = list(self._validation.metrics)
        self.epoch_scores = table[["task", "image_id", *metrics]].assign(split=parts)
        for part in dict.fromkeys(parts):
            of_part = self.epoch_scores[self.epoch_scores["split"] == part]
            by_task: pd.DataFrame = of_part.groupby("task", sort=False)[metrics].mean()
            selects = part == self._selection_split
            for name in metrics:
                self.log_same(f"{part}/{name}", float(by_task[name].mean()), prog_bar=selects)
                for task, value in by_task[name].items():
                    self.log_same(f"{part}/{name}_{task}", float(value))


def _strings_in(state: Any) -> Iterator[str]:
    """Every string in nested mappings, lists and tuples, keys included."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from _strings_in(key)
            yield from _strings_in(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _strings_in(value)
    elif isinstance(state, str):
        yield state
