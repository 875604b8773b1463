"""Several predictors scored on the same pairs, in one pass over the data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import nn

from saltext.data.pairs import Pair
from saltext.evaluation.groups import Batch, Group
from saltext.evaluation.predictor import Maps, Predictor
from saltext.evaluation.protocols import Protocol
from saltext.evaluation.reference import Reference
from saltext.metrics import METRICS, ScoreTable
from saltext.metrics.maps import metric_device
from saltext.models.baselines import Baseline


class BaselinePredictor(Predictor):
    """A baseline among the predictors."""

    def __init__(self, baseline: Baseline) -> None:
        self.model = baseline.title
        self._baseline = baseline

    def covers(self, number: int) -> bool:
        """As the baseline does."""
        return self._baseline.covers(number)

    def at(self, batch: Batch) -> Maps:
        """Nothing of the batch is needed but the pairs' numbers."""
        return lambda group: self._baseline.maps(group.index, group.size)

    def truth(self, group: Group) -> Group:
        """The part of the human data that the baseline did not use."""
        truth = self._baseline.truth(group.index, group.size)
        if truth is None:
            return group
        density, fixations = truth
        device = group.density.device
        return replace(group, density=density.to(device), fixations=fixations.to(device))


@dataclass(frozen=True)
class _Entry:
    predictor: Predictor
    protocol: Protocol
    table: ScoreTable


class Scoreboard(nn.Module):
    """The scores of several predictors on the same pairs.

    A module, so that its states move with the model it is a part of.

    Args:
        pairs: The whole data set.
        reference: What is known of other images, for the metrics that ask for it; None where none does.
    """

    def __init__(self, pairs: Sequence[Pair], reference: Reference | None = None) -> None:
        super().__init__()
        self._pairs = pairs
        self._reference = reference
        self._entries: list[_Entry] = []
        self._tables = nn.ModuleList()

    def add(self, predictor: Predictor, protocol: Protocol) -> None:
        """Score a predictor under a protocol; tables list predictors in this order."""
        table = ScoreTable(protocol.metrics)
        self._tables.append(table)
        self._entries.append(_Entry(predictor, protocol, table))

    def reset(self) -> None:
        """Forget all scores."""
        for entry in self._entries:
            entry.table.reset()

    def update(self, batch: Batch) -> None:
        """Score all predictors on an evaluation batch; each predicts the batch once.

        Truth is scored on the device of the images, or on the CPU where that device has no float64 (mps), wherever it
        comes from.
        """
        device = metric_device(batch["image"].device)
        protocols = {entry.protocol.name: entry.protocol for entry in self._entries}
        groups = {
            name: [self._with_reference(group, protocol) for group in protocol.groups(batch, device)]
            for name, protocol in protocols.items()
        }
        predictions: dict[int, Maps] = {}
        for entry in self._entries:
            for group in groups[entry.protocol.name]:
                places = [place for place, number in enumerate(group.index) if entry.predictor.covers(number)]
                if places:
                    key = id(entry.predictor)
                    if key not in predictions:
                        predictions[key] = entry.predictor.at(batch)
                    self._score(entry, predictions[key], group.select(places))

    def _score(self, entry: _Entry, maps: Maps, group: Group) -> None:
        group = entry.predictor.truth(group)
        saliency = maps(group).to(group.density.device, torch.float32)
        numbers = torch.tensor(group.index, dtype=torch.long)
        entry.table.update(saliency, group.density, group.fixations, numbers, group.others, group.baseline)

    def _with_reference(self, group: Group, protocol: Protocol) -> Group:
        needs = {truth for name in protocol.metrics for truth in METRICS[name].needs}
        if self._reference is None or not needs & {"others", "baseline"}:
            return group
        device = group.density.device
        return replace(
            group,
            others=self._reference.others(group.index, group.size).to(device) if "others" in needs else None,
            baseline=self._reference.baseline(group.index, group.size).to(device) if "baseline" in needs else None,
        )

    def frame(self) -> pd.DataFrame:
        """One row a pair, predictor and protocol, of all processes; pairs in the order of their numbers.

        Returns:
            image_id, task, text, model, variant, protocol, and a column for each metric of any protocol (NaN where the
            row's protocol has it not).
        """
        return pd.concat([self._rows(entry) for entry in self._entries], ignore_index=True)

    def _rows(self, entry: _Entry) -> pd.DataFrame:
        numbers, values = entry.table.per_sample()
        pairs = [self._pairs[number] for number in numbers.tolist()]
        columns = {
            "image_id": [pair.image_id for pair in pairs],
            "task": [pair.task for pair in pairs],
            "text": [pair.text for pair in pairs],
            "model": entry.predictor.model,
            "variant": entry.predictor.variant,
            "protocol": entry.protocol.name,
        }
        scores = {name: values[:, column].numpy() for column, name in enumerate(entry.table.names)}
        return pd.DataFrame({**columns, **scores})
