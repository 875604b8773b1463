"""A trained network as a predictor of an evaluator."""

from collections.abc import Callable, Sequence

from torch import Tensor

from saltext.data.geometry import Size
from saltext.evaluation.groups import EvaluationBatch, resample
from saltext.evaluation.text_variants import TextVariant
from saltext.metrics import Fixations


class ModelPredictor:
    """A trained model as a predictor. It holds the predictions for one batch, the one it read last.

    Args:
        predict: EvaluationBatch -> saliency over the whole network input, (B,1,h,w).
        variant: Substitute texts, for a text ablation; None for the pairs' own texts.

    Example:
        >>> import torch
        >>> predictor = ModelPredictor(lambda batch: batch["image"].mean(1, keepdim=True))
        >>> image, box = torch.ones(1, 3, 4, 4), torch.tensor([[0, 0, 4, 4]])
        >>> predictor.read({"image": image, "index": torch.tensor([7]), "box": box})
        >>> predictor.maps([7], (2, 2)).shape
        torch.Size([1, 1, 2, 2])
    """

    def __init__(self, predict: Callable[[EvaluationBatch], Tensor], variant: TextVariant | None = None) -> None:
        self._predict = predict
        self._variant = variant
        self._row: dict[int, int] = {}  # index of a pair -> its row in the batch that was read

    def read(self, batch: EvaluationBatch) -> None:
        """Predict the covered pairs of an evaluation batch in one forward pass; no pass where no pair is covered."""
        self._row = {}
        if not any(self.covers(index) for index in batch["index"].tolist()):
            return
        part: EvaluationBatch = batch if self._variant is None else self._variant.view(batch)
        self._saliency = self._predict(part).float()
        self._boxes = part["box"].tolist()
        height, width = part["image"].shape[-2:]
        self._input_size = height, width
        self._row = {index: row for row, index in enumerate(part["index"].tolist())}

    def covers(self, index: int) -> bool:
        """All pairs, or those that have a substitute text."""
        return self._variant is None or index in self._variant.substitutes

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """Predictions of pairs of the batch that was read last, cut out of the network input and resampled.

        Raises:
            ValueError: Pairs of another batch, or images that lie at different positions in the network input.
        """
        unread = [index for index in indices if index not in self._row]
        if unread:
            raise ValueError(f"expected pairs of the batch that was read, {list(self._row)}, got {unread}")
        rows = [self._row[index] for index in indices]
        box = self._boxes[rows[0]]
        if any(self._boxes[row] != box for row in rows):
            raise ValueError(f"expected one box in the network input, got {[self._boxes[row] for row in rows]}")
        return resample(self._saliency[rows], box, size, self._input_size)

    def ground_truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations] | None:
        """None: the predictions are scored against the pairs' own ground truth."""
        return None
