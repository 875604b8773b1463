"""Evaluation protocols: which metrics, at which size. Two protocols are never mixed in one table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch

from saltext.data.geometry import Size
from saltext.evaluation.groups import EvaluationBatch, Group, native_groups, resized_groups
from saltext.metrics import check_names

STANDARD = "standard"


@dataclass(frozen=True)
class Protocol:
    """Metrics, and the size at which they are computed.

    Attributes:
        name: Name in score tables (column ``protocol``).
        title: Title in reports: the field's metrics, or the name of the paper.
        metrics: Names of ``saltext.metrics.METRICS``.
        size: Height and width of all maps; None for each image's own resolution and original fixation points.
        metric_names: The paper's names of the metrics, in the same order; empty for no paper.

    Raises:
        ValueError: An unknown metric.
    """

    name: str
    title: str
    metrics: tuple[str, ...]
    size: Size | None = None
    metric_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.metrics)

    def groups(self, batch: EvaluationBatch, device: torch.device) -> Iterator[Group]:
        """The samples of an evaluation batch with ground truth at the protocol's size."""
        return native_groups(batch, device) if self.size is None else resized_groups(batch, self.size, device)


def standard(metrics: Sequence[str]) -> Protocol:
    """The field's metrics at each image's own resolution, with the original fixation points."""
    return Protocol(STANDARD, "Standard metrics", tuple(metrics))


_PAPER_METRICS = ("AUC", "sAUC", "CC", "NSS")

PAPERS: Mapping[str, Protocol] = MappingProxyType(
    {
        "tranblend": Protocol(
            "tranblend", "TranBlend", ("top20_auc", "top20_sauc", "cc", "nss_unbiased"), (288, 384), _PAPER_METRICS
        ),
        "clip_salgan": Protocol(
            "clip_salgan", "CLIP-SalGAN", ("top20_auc", "top20_sauc", "cc", "nss_of_map"), (256, 256), _PAPER_METRICS
        ),
    }
)
"""The protocols of the two papers' own scripts, by the paper's name."""
