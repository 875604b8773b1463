"""All metrics by name, and several of them at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from saltext.errors import near
from saltext.metrics import functional, published
from saltext.metrics.maps import Fixations, Maps

Truth = Literal["density", "fixations", "others", "baseline"]

BLOCK_PIXELS = 2**18
"""Pixels scored at a time on a CPU, where small maps are taken together and large ones one by one.

Bounds the memory, and keeps the float64 arrays of a block in the cache; beyond 2**20 pixels every operation also
pays for fresh pages from the system."""


_WORTH_THREADS = 3  # metrics; below, threads spend more on waiting for the interpreter than they save


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
    return f"unknown metric {name!r}{near(name, METRICS)}"


class Targets:
    """What a batch of predictions is scored against.

    What metrics make of it (deviations, distributions, sorted pixels) is computed once, however many predictions are
    scored against the same one, and held as long as it is: some 30 bytes a pixel.

    Args:
        density: Blurred ground truth, (batch, 1, height, width); None if no metric asked for needs it.
        fixations: Number of fixations at each pixel, same shape, or :class:`Fixations` made from coordinates, which is
            faster; None if no metric asked for needs it.
        others: Other images' fixations, for ``auc_shuffled``, given like ``fixations``.
        baseline: Density to beat, same shape, for ``ig``.
    """

    def __init__(
        self,
        density: Tensor | None,
        fixations: Tensor | Fixations | None,
        *,
        others: Tensor | Fixations | None = None,
        baseline: Tensor | None = None,
    ) -> None:
        self._given: dict[Truth, Tensor | Fixations | None] = {
            "density": density,
            "fixations": fixations,
            "others": others,
            "baseline": baseline,
        }
        self._parts: dict[tuple[Truth, int, int], Maps | Fixations] = {}

    def check(self, pred: Maps, metrics: Mapping[str, Metric]) -> None:
        """Raise ValueError unless all that metrics need is there, for as many maps as ``pred`` of the same size."""
        wanted = {truth for metric in metrics.values() for truth in metric.needs}
        given = {name: truth for name, truth in self._given.items() if name in wanted and truth is not None}
        _refuse_missing(metrics, wanted - set(given))
        for name, truth in given.items():
            pred.same_size(truth if isinstance(truth, Fixations) else Maps(truth, name))

    def part(self, name: Truth, start: int, stop: int) -> Maps | Fixations:
        """One of the truths for some images of the batch.

        Raises:
            ValueError: It was not given, or holds no counts where these are expected.
        """
        key = name, start, stop
        if key not in self._parts:
            truth = self._given[name]
            if truth is None:
                raise ValueError(f"expected {name}, got None")
            if isinstance(truth, Fixations):
                self._parts[key] = truth.images(start, stop)
            elif name in ("fixations", "others"):
                self._parts[key] = Fixations.from_counts(truth[start:stop], name)
            else:
                self._parts[key] = Maps(truth[start:stop], name, first=start)
        return self._parts[key]


def score(
    pred: Tensor,
    density: Tensor | None,
    fixations: Tensor | Fixations | None,
    names: Sequence[str],
    *,
    others: Tensor | Fixations | None = None,
    baseline: Tensor | None = None,
) -> dict[str, Tensor]:
    """Several metrics of the same predictions, see :func:`score_against` and :class:`Targets`."""
    return score_against(pred, Targets(density, fixations, others=others, baseline=baseline), names)


def score_against(pred: Tensor, truth: Targets, names: Sequence[str]) -> dict[str, Tensor]:
    """Several metrics of the same predictions; what they have in common is computed once.

    Each score equals that of the metric's own function, without gradient. On a CPU a batch is scored in blocks, so
    memory does not grow with it; blocks are spread over ``torch.get_num_threads()`` threads, which does not change a
    bit of the scores. On a GPU the batch is one block, and the device is waited for a few times a batch, never for
    an image.

    Args:
        pred: Predicted saliency at the ground truth's resolution, (batch, 1, height, width).
        truth: Of the same images.
        names: Metrics, names of ``METRICS``.

    Returns:
        Scores of each metric, float64 (batch,), in the order of ``names``.

    Raises:
        ValueError: An unknown metric, a truth that a metric needs and that is None, or what the metrics' own functions
            refuse.
    """
    metrics = {name: METRICS[name] for name in check_names(names)}
    truth.check(Maps(pred, "pred"), metrics)
    score_block = partial(_score_block, pred, truth, metrics)
    starts, stops = zip(*_blocks(pred), strict=True)
    with one_thread_each(pred.device) as threads:
        if min(threads, len(starts)) == 1 or len(metrics) < _WORTH_THREADS:
            blocks = list(map(score_block, starts, stops))
        else:
            with ThreadPoolExecutor(min(threads, len(starts)), "score") as pool:
                blocks = list(pool.map(score_block, starts, stops))
    return {name: torch.cat([block[name] for block in blocks]) for name in metrics}


@contextmanager
def one_thread_each(device: torch.device) -> Iterator[int]:
    """Inside, an operation takes one thread; yields how many threads to divide the work among instead.

    Threads within an operation would wait for each other at each of the many short operations of a block: where other
    processes keep the cores busy, two such threads were measured to be 40 times slower than one.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield 1
        return
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _refuse_missing(metrics: Mapping[str, Metric], missing: AbstractSet[Truth]) -> None:
    if missing:
        wants = (f"{t} for {', '.join(n for n, m in metrics.items() if t in m.needs)}" for t in sorted(missing))
        raise ValueError(f"ground truth is missing: {'; '.join(wants)}. Give it, or leave these metrics out")


@torch.no_grad()  # here, since each thread has a gradient mode of its own
def _score_block(
    pred: Tensor,
    truth: Targets,
    metrics: Mapping[str, Metric],
    start: int,
    stop: int,
) -> dict[str, Tensor]:
    maps = Maps(pred[start:stop], "pred", first=start)
    return {
        name: metric.function(maps, *(truth.part(need, start, stop) for need in metric.needs))
        for name, metric in metrics.items()
    }


def _blocks(pred: Tensor) -> list[tuple[int, int]]:
    batch = len(pred)
    images = max(1, BLOCK_PIXELS // pred[0].numel()) if batch and pred.device.type == "cpu" else max(1, batch)
    return [(start, min(start + images, batch)) for start in range(0, max(1, batch), images)]
