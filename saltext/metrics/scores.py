"""All metrics by name, and several of them at once."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from saltext.metrics import functional, published
from saltext.metrics.maps import Fixations, Maps

Truth = Literal["density", "fixations", "others", "baseline"]

BLOCK_PIXELS = 2**21
"""Pixels scored at a time on a CPU. Bounds the memory (about 150 MB), and keeps each float64 array below the 32 MiB
from which the allocator returns memory to the system at once, and pays for it again at the next operation."""


@dataclass(frozen=True)
class Metric:
    """What the suite knows about a metric.

    Attributes:
        title: Heading of a table's column.
        higher_is_better: Direction.
        function: ``(pred, *truths) -> Tensor of shape (batch,)``.
        needs: The truths the function takes, in its order. ``density``: ground-truth map. ``fixations``: counts.
            ``others``: counts of other images' fixations. ``baseline``: density of a baseline model.
    """

    title: str
    higher_is_better: bool
    function: Callable[..., Tensor]
    needs: tuple[Truth, ...]


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "cc": Metric("CC", True, functional.cc, ("density",)),
        "sim": Metric("SIM", True, functional.sim, ("density",)),
        "sim_minmax": Metric("SIM (min-max)", True, functional.sim_minmax, ("density",)),
        "kl": Metric("KL", False, functional.kl, ("density",)),
        "nss": Metric("NSS", True, functional.nss, ("fixations",)),
        "auc_judd": Metric("AUC-J", True, functional.auc_judd, ("fixations",)),
        "auc_judd_unfixated": Metric(
            "AUC-J (unfixated)", True, partial(functional.auc_judd, negatives="unfixated"), ("fixations",)
        ),
        "auc_judd_mit": Metric("AUC-J (MIT code)", True, published.auc_judd_mit, ("fixations",)),
        "auc_borji": Metric("AUC-B", True, functional.auc_borji, ("fixations",)),
        "auc_shuffled": Metric("sAUC", True, functional.auc_shuffled, ("fixations", "others")),
        "ig": Metric("IG", True, functional.ig, ("fixations", "baseline")),
        "top20_auc": Metric("AUC (top 20 %)", True, published.top20_auc, ("density",)),
        "top20_sauc": Metric("sAUC (top 20 %)", True, published.top20_sauc, ("density",)),
        "top20_sauc_sampled": Metric("sAUC (top 20 %, sampled)", True, published.top20_sauc_sampled, ("density",)),
        "nss_unbiased": Metric("NSS (TranBlend)", True, published.nss_unbiased, ("fixations",)),
        "nss_of_map": Metric("NSS (CLIP-SalGAN, of the map)", True, published.nss_of_map, ("density",)),
    }
)
"""Every metric by its name in configurations and score tables."""


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of metrics, checked.

    Raises:
        ValueError: Names that are unknown, all of them at once, each with the closest known one; or a name given twice.
    """
    problems = [_unknown(name) for name in names if name not in METRICS]
    problems += [
        f"{name!r} is given {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if problems:
        raise ValueError(f"metrics: {'; '.join(problems)}. Choose from: {', '.join(METRICS)}")
    return tuple(names)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, METRICS, n=1)
    return f"unknown metric {name!r}" + (f" (did you mean {close[0]!r}?)" if close else "")


def score(
    pred: Tensor,
    density: Tensor | None,
    fixations: Tensor | None,
    names: Sequence[str],
    *,
    others: Tensor | None = None,
    baseline: Tensor | None = None,
) -> dict[str, Tensor]:
    """Several metrics of the same predictions; what they have in common is computed once.

    Each score equals that of the metric's own function, without gradient. On a CPU a large batch is scored in blocks of
    images, so memory does not grow with it.

    Args:
        pred: Predicted saliency at the ground truth's resolution, (batch, 1, height, width).
        density: Blurred ground truth, same shape; None if no metric asked for needs it.
        fixations: Number of fixations at each pixel, same shape; None if no metric asked for needs it.
        names: Metrics, names of ``METRICS``.
        others: Number of other images' fixations at each pixel, same shape, for ``auc_shuffled``.
        baseline: Density to beat, same shape, for ``ig``.

    Returns:
        Scores of each metric, float64 (batch,), in the order of ``names``.

    Raises:
        ValueError: An unknown metric, a truth that a metric needs and that is None, or what the metrics' own
            functions refuse.
    """
    metrics = {name: METRICS[name] for name in check_names(names)}
    given = {"density": density, "fixations": fixations, "others": others, "baseline": baseline}
    wanted = sorted({truth for metric in metrics.values() for truth in metric.needs})
    missing = [
        f"{truth} for {', '.join(n for n, m in metrics.items() if truth in m.needs)}"
        for truth in wanted
        if given[truth] is None
    ]
    if missing:
        raise ValueError(f"ground truth is missing: {'; '.join(missing)}: give it, or leave these metrics out")
    whole: dict[str, Tensor] = {name: value for name in wanted if (value := given[name]) is not None}
    for name, truth in whole.items():
        Maps(pred, "pred").same_size(Maps(truth, name))
    with torch.no_grad():
        blocks = [_score_block(pred, whole, metrics, start, stop) for start, stop in _blocks(pred)]
    return {name: torch.cat([block[name] for block in blocks]) for name in metrics}


def _score_block(
    pred: Tensor, whole: Mapping[str, Tensor], metrics: Mapping[str, Metric], start: int, stop: int
) -> dict[str, Tensor]:
    maps = Maps(pred[start:stop], "pred", first=start)
    truths = {name: _wrap(name, truth[start:stop], start) for name, truth in whole.items()}
    return {name: metric.function(maps, *(truths[t] for t in metric.needs)) for name, metric in metrics.items()}


def _wrap(name: str, truth: Tensor, start: int) -> Maps | Fixations:
    return Fixations(truth, name) if name in ("fixations", "others") else Maps(truth, name, first=start)


def _blocks(pred: Tensor) -> list[tuple[int, int]]:
    batch = len(pred)
    images = max(1, BLOCK_PIXELS // pred[0].numel()) if batch and pred.device.type == "cpu" else max(1, batch)
    return [(start, min(start + images, batch)) for start in range(0, max(1, batch), images)]
