"""All metrics by name, those from outside the package included, and several of them at once."""

import inspect
import math
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from saltext.errors import near
from saltext.metrics import functional, published
from saltext.metrics.maps import Fixations, Maps

TargetName = Literal["density", "fixations", "others", "baseline"]

Invariance = Literal["scale and offset", "scale", "nothing"]

BLOCK_PIXELS = 2**20
"""Pixels scored at a time on a CPU, where small maps are taken together and large ones one by one.

Bounds the memory, and takes enough maps at a time for threads to compute longer than they wait for the interpreter."""

LABEL_COLUMNS = frozenset(
    (
        "image_id",
        "task",
        "text",
        "split",
        "fold",
        "model",
        "seed",
        "protocol",
        "variant",
        "run",
        "setting",
        "line",
        "generated",
        "epoch",
        "network",
        "image_trains",
        "arm",
        "rows",
        "rotation",
    )
)
"""Columns of score tables that say what was scored; no metric has such a name."""

_MIN_METRICS_FOR_THREADS = 3  # of fewer metrics, threads spend more on waiting for the interpreter than they save


@dataclass(frozen=True)
class Metric:
    """What the suite knows about a metric.

    Attributes:
        title: Heading of a table's column.
        higher_is_better: Direction.
        function: ``(pred, *targets) -> Tensor of shape (batch,)``; is given :class:`Maps` and :class:`Fixations`.
        needs: The targets the function takes, in its order. ``density``: ground-truth map. ``fixations``: counts.
            ``others``: counts of other images' fixations. ``baseline``: density of a baseline model.
        invariant_to: What may change in a prediction without changing its score. ``scale`` alone means that maps are
            taken as distributions, so negative values are refused.
        chance: Score of a constant prediction, whatever the image; None if it depends on the image.
        differentiable: Whether gradients reach the prediction.
        spatial: Whether it matters which pixels are neighbours.
        sampled: Whether the score is a draw, repeatable by its seed, of what another function computes exactly.
        bounds: The lowest and the highest score that is possible, up to rounding.

    tests/metrics holds every metric of the package to what it declares here.

    Example:
        >>> from saltext.metrics import METRICS
        >>> METRICS["auc_shuffled"].needs
        ('fixations', 'others')
    """

    title: str
    higher_is_better: bool
    function: Callable[..., Tensor]
    needs: tuple[TargetName, ...]
    invariant_to: Invariance = "nothing"
    chance: float | None = None
    differentiable: bool = False
    spatial: bool = False
    sampled: bool = False
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @classmethod
    def of(cls, function: Callable[..., Tensor], *, higher_is_better: bool, title: str = "") -> "Metric":
        """A metric of plain tensors.

        Args:
            function: Its parameters are ``pred`` and those of ``density``, ``fixations``, ``others`` and ``baseline``
                that it needs: tensors of shape ``(batch, 1, height, width)``. It gives a score for each image, shape
                ``(batch,)``, NaN where one is not defined; an image's score depends on that image alone, since a batch
                is scored in parts, on several threads. Parameters with a default are left to it.
            higher_is_better: Direction.
            title: Heading of a table's column; the function's name by default.

        Raises:
            ValueError: The function takes something else.

        Example:
            >>> def mae(pred, density):
            ...     return (pred - density).abs().mean((1, 2, 3))
            >>> Metric.of(mae, higher_is_better=False, title="MAE").needs
            ('density',)
        """
        named = PlainFunction(function, ()).name
        parameters = inspect.signature(function).parameters.values()
        required = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
        needs = tuple(one.name for one in required[1:])
        positional = all(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in required)
        if not needs or not positional or not set(needs) <= set(get_args(TargetName)):
            raise ValueError(
                f"expected {named} to take pred and any of {', '.join(get_args(TargetName))}, got "
                f"({', '.join(map(str, parameters))})"
            )
        return cls(title or named, higher_is_better, PlainFunction(function, needs), needs)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PlainFunction:
    """A function of plain tensors as ``Metric.function``, whose input and output are checked.

    Args:
        function: See :meth:`Metric.of`.
        names: Of its parameters behind the first.

    Example:
        >>> mae = PlainFunction(lambda pred, density: (pred - density).abs().mean((1, 2, 3)), ("density",))
        >>> mae(torch.ones(2, 1, 3, 4), torch.zeros(2, 1, 3, 4))
        tensor([1., 1.], dtype=torch.float64)
    """

    function: Callable[..., Tensor]
    names: tuple[str, ...]

    @property
    def func(self) -> Callable[..., Tensor]:
        """The function itself, without arguments that were bound to it."""
        function = self.function
        while isinstance(function, partial):
            function = function.func
        return function

    @property
    def name(self) -> str:
        """What the function is called."""
        return getattr(self.func, "__name__", type(self.func).__name__)

    def __call__(self, pred: Tensor | Maps, *targets: Tensor | Maps | Fixations) -> Tensor:
        """Scores of a batch, float64.

        Raises:
            ValueError: Shapes differ, a map has NaN or infinite values, or the result is not a score for each image.
        """
        p, tensors = Maps.of(pred, "pred"), []
        for name, target in zip(self.names, targets, strict=True):
            is_counts = isinstance(target, Fixations) or name in ("fixations", "others")
            given = Fixations.of(target, name) if is_counts else Maps.of(target, name)  # type: ignore[arg-type]
            p.same_size(given)
            tensors.append(given.counts if isinstance(given, Fixations) else given.tensor)
        scores: Any = self.function(p.tensor, *tensors)
        if not isinstance(scores, Tensor) or scores.shape != p.shape[:1] or scores.is_complex():
            got = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
            raise ValueError(f"expected {self.name} to give one score per image, shape ({p.shape[0]},), got {got}")
        return scores.double()


_REGISTERED: dict[str, Metric] = {}

# What the metrics of a kind have in common: of standardised maps, of distributions, and of the order of values.
_standardized = partial(Metric, invariant_to="scale and offset", chance=0.0, differentiable=True)
_distributions = partial(Metric, invariant_to="scale", differentiable=True)
_ranks = partial(Metric, invariant_to="scale and offset", chance=0.5, bounds=(0.0, 1.0))

METRICS: Mapping[str, Metric] = MappingProxyType(
    ChainMap(
        _REGISTERED,
        {
            "cc": _standardized("CC", True, functional.cc, ("density",), bounds=(-1.0, 1.0)),
            "sim": _distributions("SIM", True, functional.sim, ("density",), bounds=(0.0, 1.0)),
            "sim_minmax": _standardized("SIM (min-max)", True, functional.sim_minmax, ("density",), bounds=(0.0, 1.0)),
            "kl": _distributions("KL", False, functional.kl, ("density",), bounds=(0.0, math.inf)),
            "nss": _standardized("NSS", True, functional.nss, ("fixations",)),
            "auc_judd": _ranks("AUC-J", True, functional.auc_judd, ("fixations",)),
            "auc_judd_unfixated": _ranks(
                "AUC-J (unfixated)", True, partial(functional.auc_judd, negatives="unfixated"), ("fixations",)
            ),
            "auc_judd_mit": _ranks("AUC-J (MIT code)", True, published.auc_judd_mit, ("fixations",)),
            "auc_borji": _ranks("AUC-B", True, functional.auc_borji, ("fixations",), sampled=True),
            "auc_shuffled": _ranks("sAUC", True, functional.auc_shuffled, ("fixations", "others")),
            "ig": _distributions("IG", True, functional.ig, ("fixations", "baseline")),
            "top20_auc": _ranks("AUC (top 20 %)", True, published.top20_auc, ("density",)),
            "top20_sauc": _ranks("sAUC (top 20 %)", True, published.top20_sauc, ("density",)),
            "top20_sauc_sampled": _ranks(
                "sAUC (top 20 %, sampled)", True, published.top20_sauc_sampled, ("density",), sampled=True
            ),
            "nss_unbiased": _standardized("NSS (TranBlend)", True, published.nss_unbiased, ("fixations",)),
            "nss_of_map": _standardized("NSS (CLIP-SalGAN, of the map)", True, published.nss_of_map, ("density",)),
        },
    )
)
"""Every metric by its name in configurations and score tables; :func:`register_metric` adds to it."""


def register_metric(name: str, metric: Metric) -> None:
    """Make a metric from outside the package known by a name, in this process.

    Args:
        name: Letters, digits and ``_``. A name that was registered before gets the new metric.
        metric: See :meth:`Metric.of`.

    Raises:
        ValueError: The name is one of the package's metrics or of a score table's other columns, or has other letters.

    Example:
        >>> from saltext.metrics import Metric, register_metric, score
        >>> def mae(pred, density):
        ...     return (pred - density).abs().mean((1, 2, 3))
        >>> register_metric("mae", Metric.of(mae, higher_is_better=False, title="MAE"))
        >>> score(torch.ones(2, 1, 3, 4), torch.zeros(2, 1, 3, 4), None, ["mae"])
        {'mae': tensor([1., 1.], dtype=torch.float64)}
    """
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ValueError(f"expected a name of letters, digits and _ for a metric, got {name!r}")
    if name in LABEL_COLUMNS or is_built_in(name):
        raise ValueError(f"expected another name than those of the package for a metric, got {name!r}")
    _REGISTERED[name] = metric


def is_built_in(name: str) -> bool:
    """Whether a metric is one of the package's own.

    Example:
        >>> is_built_in("cc"), is_built_in("mae")
        (True, False)
    """
    return name in METRICS and name not in _REGISTERED


def describe_metric(name: str, title: str, higher_is_better: bool) -> None:
    """Make a metric known whose scores are there and whose function is not, so that they can be shown.

    Nothing happens where the name is known with the same direction.

    Raises:
        ValueError: It is known with the other direction, or is no name for a metric.

    Example:
        >>> describe_metric("hit", "HIT", higher_is_better=True)
        >>> METRICS["hit"].title
        'HIT'
    """
    known = METRICS.get(name)
    if known is None:
        register_metric(name, Metric(title, higher_is_better, partial(_without_function, name), ()))
    elif known.higher_is_better != higher_is_better:
        words = {True: "higher", False: "lower"}
        raise ValueError(
            f"expected one direction of metric {name!r}, got {words[known.higher_is_better]} is better and "
            f"{words[higher_is_better]} is better"
        )


def _without_function(name: str, *arguments: object) -> Tensor:
    """A metric from outside the package: the run's config.yaml names its function."""
    raise ValueError(f"expected a function for metric {name!r}, got its scores alone: register_metric({name!r}, ...)")


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of metrics, checked.

    Raises:
        ValueError: Names that are unknown, all of them at once, each with the closest known one; or a name given twice.

    Example:
        >>> check_names(["cc", "auc_jud"])
        Traceback (most recent call last):
        ...
        ValueError: metrics: unknown metric 'auc_jud' (did you mean 'auc_judd'?). Choose from: cc, sim, ...
    """
    problems = [f"unknown metric {name!r}{near(name, METRICS)}" for name in names if name not in METRICS]
    problems += [
        f"{name!r} is given {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if problems:
        raise ValueError(f"metrics: {'; '.join(problems)}. Choose from: {', '.join(METRICS)}")
    return tuple(names)


class Targets:
    """What a batch of predictions is scored against.

    Intermediate results (deviations, distributions, sorted pixels) are computed once, however many predictions are
    scored against the same one, and held as long as it is: some 30 bytes a pixel.

    Args:
        density: Blurred ground truth, (batch, 1, height, width); None if no metric asked for needs it.
        fixations: Number of fixations at each pixel, same shape, or :class:`Fixations` made from coordinates, which is
            faster; None if no metric asked for needs it.
        others: Other images' fixations, for ``auc_shuffled``, given like ``fixations``.
        baseline: Density to beat, same shape, for ``ig``.

    Example:
        >>> from saltext.metrics import Targets, score_against
        >>> targets = Targets(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), None)
        >>> for pred in torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]):
        ...     print(score_against(pred, targets, ["cc"]))
        {'cc': tensor([0.], dtype=torch.float64)}
        {'cc': tensor([1.0000], dtype=torch.float64)}
    """

    def __init__(
        self,
        density: Tensor | None,
        fixations: Tensor | Fixations | None,
        *,
        others: Tensor | Fixations | None = None,
        baseline: Tensor | None = None,
    ) -> None:
        self._given: dict[TargetName, Tensor | Fixations | None] = {
            "density": density,
            "fixations": fixations,
            "others": others,
            "baseline": baseline,
        }
        self._blocks: dict[tuple[TargetName, int, int], Maps | Fixations] = {}

    def check(self, pred: Maps, metrics: Mapping[str, Metric]) -> None:
        """Raise ValueError unless all that metrics need is there, for as many maps as ``pred`` of the same size."""
        wanted = {name for metric in metrics.values() for name in metric.needs}
        given = {name: target for name, target in self._given.items() if name in wanted and target is not None}
        if missing := sorted(wanted - set(given)):
            asking = (f"{t} for {', '.join(n for n, m in metrics.items() if t in m.needs)}" for t in missing)
            raise ValueError(f"ground truth is missing: {'; '.join(asking)}. Give it, or leave these metrics out")
        for name, target in given.items():
            pred.same_size(target if isinstance(target, Fixations) else Maps(target, name))

    def block(self, name: TargetName, start: int, stop: int) -> Maps | Fixations:
        """One of the targets for some images of the batch.

        Raises:
            ValueError: It was not given, or holds no counts where these are expected.
        """
        key = name, start, stop
        if key not in self._blocks:
            target = self._given[name]
            if target is None:
                raise ValueError(f"expected {name}, got None")
            if isinstance(target, Fixations):
                self._blocks[key] = target.images(start, stop)
            elif name in ("fixations", "others"):
                self._blocks[key] = Fixations.from_counts(target[start:stop], name)
            else:
                self._blocks[key] = Maps(target[start:stop], name, first=start)
        return self._blocks[key]


def score(
    pred: Tensor,
    density: Tensor | None,
    fixations: Tensor | Fixations | None,
    names: Sequence[str],
    *,
    others: Tensor | Fixations | None = None,
    baseline: Tensor | None = None,
) -> dict[str, Tensor]:
    """Several metrics of the same predictions, see :func:`score_against` and :class:`Targets`.

    Example:
        >>> from saltext.metrics import score
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> score(pred, pred, (pred == 3.0).float(), ["cc", "nss"])
        {'cc': tensor([1.0000], dtype=torch.float64), 'nss': tensor([1.3416], dtype=torch.float64)}
    """
    return score_against(pred, Targets(density, fixations, others=others, baseline=baseline), names)


def score_against(pred: Tensor, targets: Targets, names: Sequence[str]) -> dict[str, Tensor]:
    """Several metrics of the same predictions; what they have in common is computed once.

    Each score equals that of the metric's own function, without gradient. On a CPU a batch is scored in blocks, so
    memory does not grow with it; blocks are spread over ``torch.get_num_threads()`` threads, which does not change a
    bit of the scores. On a GPU the batch is one block, and the device is waited for a few times a batch, never for
    an image.

    Args:
        pred: Predicted saliency at the ground truth's resolution, (batch, 1, height, width).
        targets: Of the same images.
        names: Metrics, names of ``METRICS``.

    Returns:
        Scores of each metric, float64 (batch,), in the order of ``names``.

    Raises:
        ValueError: An unknown metric, a target that a metric needs and that is None, or what the metrics' own functions
            refuse.

    Example:
        >>> from saltext.metrics import Targets, score_against
        >>> targets = Targets(None, torch.tensor([[[[0, 0], [0, 1]]]]))
        >>> score_against(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), targets, ["nss", "auc_judd"])
        {'nss': tensor([1.3416], dtype=torch.float64), 'auc_judd': tensor([0.8750], dtype=torch.float64)}
    """
    metrics = {name: METRICS[name] for name in check_names(names)}
    targets.check(Maps(pred, "pred"), metrics)
    batch = len(pred)
    score_block = partial(_score_block, pred, targets, metrics)
    with one_thread_each(pred.device) as threads:
        size = max(1, batch)
        if batch and pred.device.type == "cpu":
            largest = max(1, BLOCK_PIXELS // pred[0].numel())
            blocks_per_thread = math.ceil(batch / (largest * threads))
            size = math.ceil(batch / (blocks_per_thread * threads))  # threads end together
        starts = range(0, max(1, batch), size)
        stops = [min(start + size, batch) for start in starts]
        if min(threads, len(starts)) == 1 or len(metrics) < _MIN_METRICS_FOR_THREADS:
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

    Example:
        >>> with one_thread_each(torch.device("cpu")):
        ...     torch.get_num_threads()
        1
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


@torch.no_grad()  # here, since each thread has a gradient mode of its own
def _score_block(
    pred: Tensor,
    targets: Targets,
    metrics: Mapping[str, Metric],
    start: int,
    stop: int,
) -> dict[str, Tensor]:
    maps = Maps(pred[start:stop], "pred", first=start)
    return {
        name: metric.function(maps, *(targets.block(need, start, stop) for need in metric.needs))
        for name, metric in metrics.items()
    }
