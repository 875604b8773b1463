"""What a model is given instead of a pair's own text, to measure what the text does.

The effect of the text is the score with the pair's own text minus the score with another one, on the same image and
against the same human truth. No published system of the field reports it.
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
    """What a model reads for a pair: a text, and the condition (task) it is said to be."""

    text: str
    task: str


@dataclass(frozen=True)
class TextVariant:
    """Other substitutes for some pairs.

    Attributes:
        name: In score tables (column ``variant``).
        substitutes: Pair's number -> what is read instead. Other pairs are not scored under this variant.
    """

    name: str
    substitutes: Mapping[int, SubstituteText]

    def view(self, batch: EvaluationBatch) -> dict[str, Any]:
        """The samples of a batch that the variant covers, with the texts replaced."""
        numbers = batch["index"].tolist()
        rows = [row for row, number in enumerate(numbers) if number in self.substitutes]
        substitutes = [self.substitutes[numbers[row]] for row in rows]
        part = {key: _select(value, rows) for key, value in batch.items()}
        return {**part, "text": [r.text for r in substitutes], "task": [r.task for r in substitutes]}


def _select(values: Any, rows: Sequence[int]) -> Any:
    if isinstance(values, torch.Tensor):
        return values[torch.tensor(rows, device=values.device)]
    return [values[row] for row in rows]


def text_variants(pairs: Sequence[Pair], tested: Sequence[int], reads_condition: bool) -> list[TextVariant]:
    """The variants of a set of test pairs; only pairs with a text have any.

    * ``empty``: no text.
    * ``other_image``: the text of another test image under the same condition. A fixed cyclic exchange in an order
      that depends on the image ids alone; every text is used once.
    * ``opposite``: the text that names the other objects of the same image (salient <-> non_salient).
    * ``opposite_condition``: the same, and the condition the model is told is exchanged as well. Only for models that
      are told.

    Args:
        pairs: The whole data set.
        tested: Places in it of the pairs to score.
        reads_condition: Whether the model is told the condition in words besides the text.

    Returns:
        The variants that cover at least one pair.
    """
    with_text = [number for number in tested if pairs[number].text]
    where = {(pair.image_id, pair.task): pair for pair in pairs}
    opposite = {
        number: where[key]
        for number in with_text
        if (key := (pairs[number].image_id, _OPPOSITE.get(pairs[number].task, ""))) in where
    }
    variants = [
        TextVariant("empty", {number: SubstituteText("", pairs[number].task) for number in with_text}),
        TextVariant("other_image", _exchanged(pairs, with_text)),
        TextVariant("opposite", {n: SubstituteText(other.text, pairs[n].task) for n, other in opposite.items()}),
    ]
    if reads_condition:
        swapped = {n: SubstituteText(other.text, other.task) for n, other in opposite.items()}
        variants.append(TextVariant("opposite_condition", swapped))
    return [variant for variant in variants if variant.substitutes]


def _exchanged(pairs: Sequence[Pair], numbers: Sequence[int]) -> dict[int, SubstituteText]:
    by_task: dict[str, list[int]] = {}
    for number in sorted(numbers, key=lambda n: hashlib.sha256(pairs[n].image_id.encode()).digest()):
        by_task.setdefault(pairs[number].task, []).append(number)
    return {
        number: SubstituteText(pairs[other].text, task)
        for task, members in by_task.items()
        for number, other in zip(members, members[1:] + members[:1], strict=True)
        if number != other
    }
