"""How predictions are measured: which metrics, at which size. Two protocols are never mixed in one table."""

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
    """One way of measuring.

    Attributes:
        name: In score tables (column ``protocol``).
        title: For people: the field's metrics, or whose paper it is.
        metrics: Names of ``saltext.metrics.METRICS``.
        size: Height and width of all maps; None for each image's own resolution and original fixation points.
        metric_names: What the paper calls them, in the same order; empty for no paper.

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
        """The truth of an evaluation batch at the protocol's size."""
        return native_groups(batch, device) if self.size is None else resized_groups(batch, self.size, device)


def standard(metrics: Sequence[str]) -> Protocol:
    """The field's metrics at each image's own resolution, with the original fixation points."""
    return Protocol(STANDARD, "Standard metrics", tuple(metrics))


_NAMES = ("AUC", "sAUC", "CC", "NSS")

PAPERS: Mapping[str, Protocol] = MappingProxyType(
    {
        "tranblend": Protocol(
            "tranblend", "TranBlend", ("top20_auc", "top20_sauc", "cc", "nss_unbiased"), (288, 384), _NAMES
        ),
        "clip_salgan": Protocol(
            "clip_salgan", "CLIP-SalGAN", ("top20_auc", "top20_sauc", "cc", "nss_of_map"), (256, 256), _NAMES
        ),
    }
)
"""What the two papers' own scripts measure, by the paper's name."""
