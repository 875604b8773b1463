"""Text ablation: substitutes for a pair's own text (empty, shuffled or swapped), with the same weights.

The effect of the text is the score with the pair's own text minus the score with a substitute, on the same image and
against the same ground truth. No published system of the field reports it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from saltext.data.pairs import Pair
from saltext.evaluation.groups import EvaluationBatch

_OPPOSITE = {"salient": "non_salient", "non_salient": "salient"}


@dataclass(frozen=True)
class SubstituteText:
    """What a model reads for a pair: a text, and the condition (task) it is conditioned on."""

    text: str
    task: str


@dataclass(frozen=True)
class TextVariant:
    """One kind of substitute text, for the pairs that have one.

    Attributes:
        name: Name in score tables (column ``variant``).
        substitutes: Index of a pair -> what is read instead. Other pairs are not scored under this variant.
    """

    name: str
    substitutes: Mapping[int, SubstituteText]

    def view(self, batch: EvaluationBatch) -> dict[str, Any]:
        """The samples of a batch that the variant covers, with their texts and tasks replaced."""
        indices = batch["index"].tolist()
        rows = [row for row, index in enumerate(indices) if index in self.substitutes]
        covered: dict[str, Any] = {}
        for key, values in batch.items():
            if isinstance(values, torch.Tensor):
                covered[key] = values[torch.tensor(rows, device=values.device)]
            else:
                covered[key] = [values[row] for row in rows]
        substitutes = [self.substitutes[indices[row]] for row in rows]
        return {**covered, "text": [s.text for s in substitutes], "task": [s.task for s in substitutes]}


def text_variants(pairs: Sequence[Pair], tested: Sequence[int], reads_condition: bool) -> list[TextVariant]:
    """The text variants of a set of test pairs; only pairs with a text have any.

    * ``empty``: no text.
    * ``other_image``: shuffled texts, each that of another test image under the same condition. A cyclic shift in an
      order that depends on the image ids alone; every text is used once.
    * ``opposite``: swapped texts, each that which names the other objects of the same image (salient <-> non_salient).
    * ``opposite_condition``: the same, with the condition swapped as well. Only for models that are conditioned on it.

    Args:
        pairs: All pairs of the data set.
        tested: Indices of the pairs to score.
        reads_condition: Whether the model is conditioned on the task besides the text.

    Returns:
        The variants that cover at least one pair.
    """
    with_text = [index for index in tested if pairs[index].text]
    shuffled: dict[int, SubstituteText] = {}
    by_task: dict[str, list[int]] = {}
    for index in sorted(with_text, key=lambda i: hashlib.sha256(pairs[i].image_id.encode()).digest()):
        by_task.setdefault(pairs[index].task, []).append(index)
    for task, indices in by_task.items():
        for index, other in zip(indices, indices[1:] + indices[:1], strict=True):
            if index != other:
                shuffled[index] = SubstituteText(pairs[other].text, task)
    by_image_and_task = {(pair.image_id, pair.task): pair for pair in pairs}
    opposite = {
        index: by_image_and_task[key]
        for index in with_text
        if (key := (pairs[index].image_id, _OPPOSITE.get(pairs[index].task, ""))) in by_image_and_task
    }
    variants = [
        TextVariant("empty", {index: SubstituteText("", pairs[index].task) for index in with_text}),
        TextVariant("other_image", shuffled),
        TextVariant("opposite", {i: SubstituteText(other.text, pairs[i].task) for i, other in opposite.items()}),
    ]
    if reads_condition:
        swapped = {i: SubstituteText(other.text, other.task) for i, other in opposite.items()}
        variants.append(TextVariant("opposite_condition", swapped))
    return [variant for variant in variants if variant.substitutes]
