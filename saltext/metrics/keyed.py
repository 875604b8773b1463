"""torchmetrics on top of the pure functions: ``metric(pred, target)``, collections, and scores of single samples.

The result depends neither on the order of the samples nor on how they fall into batches and processes. Where a
distributed sampler repeats samples to fill the last batches, ``ids=`` identifies the samples: each then counts once.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric as TorchMetric

from saltext.metrics.functional import Negatives
from saltext.metrics.maps import Fixations, metric_device
from saltext.metrics.scores import METRICS, check_names, score

REPEAT_TOLERANCE = 1e-4
"""How far two scores of one sample may differ. float32 networks differ by about 1e-6 with the composition of the
batch."""

_NO_ID = -1


class KeyedScores(TorchMetric):
    """Scores of single samples; the base of the classes below, which follow torchmetrics' contract.

    ``ids`` are optional everywhere: whole numbers from 0, one for each sample. With them a sample that is scored
    again counts once, in whatever process; without them every sample that is scored counts.

    States are gathered from all processes by ``compute`` and :meth:`per_sample`; a process that saw no sample
    takes part. They lie on the metric's device, which has to be the one that the processes communicate by: NCCL gathers
    nothing from the CPU. ``.to("mps")`` leaves them on the CPU, since scores are float64.

    Args:
        names: One or more names of ``saltext.metrics.METRICS``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ValueError: An unknown metric.

    Example:
        >>> from saltext.metrics import CC
        >>> metric = CC()
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]], [[[3.0, 2.0], [1.0, 0.0]]]])
        >>> metric.update(pred, pred[:1].expand(2, 1, 2, 2), ids=torch.tensor([7, 3]))
        >>> metric.update(pred[:1], pred[:1], ids=torch.tensor([7]))  # again: counts once
        >>> ids, values = metric.per_sample()
        >>> ids, values.squeeze(1)
        (tensor([3, 7]), tensor([-1.0000,  1.0000], dtype=torch.float64))
        >>> metric.missing(torch.arange(8))
        tensor([0, 1, 2, 4, 5, 6])
    """

    full_state_update: bool | None = False
    is_differentiable: bool | None = False

    def __init__(self, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = check_names(names)
        # A MetricCollection merges metrics whose states have equal names and, after one batch, equal values, and
        # from then on updates only the first of them. State names that say what is stored keep different metrics apart.
        self._ids_state = f"ids of {', '.join(self.names)}"
        self._values_state = f"values of {', '.join(self.names)}"
        self.add_state(self._ids_state, default=[], dist_reduce_fx="cat")
        self.add_state(self._values_state, default=[], dist_reduce_fx="cat")
        self._seed()

    def _seed(self) -> None:
        # torchmetrics gathers float32 from a process without updates, and the others' int64 then aborts the process
        # group.
        getattr(self, self._ids_state).append(torch.empty(0, dtype=torch.long, device=self.device))
        getattr(self, self._values_state).append(
            torch.empty(0, len(self.names), dtype=torch.float64, device=self.device)
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> torch.nn.Module:
        target = fn(torch.empty(0, device=self.device)).device
        return super()._apply(fn, exclude_state) if metric_device(target) == target else self

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self._seed()

    def _score(
        self,
        ids: Tensor | None,
        pred: Tensor,
        density: Tensor | None = None,
        fixations: Tensor | Fixations | None = None,
        others: Tensor | Fixations | None = None,
        baseline: Tensor | None = None,
    ) -> None:
        scores = score(pred, density, fixations, self.names, others=others, baseline=baseline)
        self._keep(ids, torch.stack([scores[name] for name in self.names], dim=1))

    def _keep(self, ids: Tensor | None, values: Tensor) -> None:
        if ids is None:
            ids = torch.full((len(values),), _NO_ID)
        elif ids.ndim != 1 or ids.is_floating_point() or len(ids) != len(values) or bool((ids < 0).any()):
            raise ValueError(
                f"expected one whole number for each of the {len(values)} samples as ids (the pair's number in the "
                f"data set, from 0, not its index in the batch), got {ids.tolist()!s:.60} of dtype {ids.dtype}"
            )
        getattr(self, self._ids_state).append(ids.detach().to(self.device, torch.long))
        getattr(self, self._values_state).append(values.to(self.device))

    def per_sample(self) -> tuple[Tensor, Tensor]:
        """Scores of the samples of all processes: with ids each sample once, in their order.

        Returns:
            Ids, int64 (n,), -1 where none were given; and scores, float64 (n, metrics). Both on the CPU.

        Raises:
            ValueError: A sample was scored twice, with different results; or only some samples have ids.
        """
        with nullcontext() if self._is_synced else self.sync_context():
            return self._gathered()

    def _gathered(self) -> tuple[Tensor, Tensor]:
        """What :meth:`per_sample` gives, of the samples that the states hold now."""
        states = (getattr(self, state) for state in (self._ids_state, self._values_state))
        ids, values = (state if isinstance(state, Tensor) else torch.cat(state) for state in states)
        order = torch.argsort(ids, stable=True)
        ids, values = ids[order].cpu(), values[order].cpu()
        without = int((ids == _NO_ID).sum())
        if without:
            if without < len(ids):
                raise ValueError(
                    f"expected ids in every update or in none, got {without} of {len(ids)} samples without: whether "
                    "these repeat others is not known"
                )
            return ids, values
        distinct, times = torch.unique_consecutive(ids, return_counts=True)
        first = times.cumsum(0) - times
        firsts = values[first].repeat_interleave(times, dim=0)
        close = torch.isclose(values, firsts, rtol=REPEAT_TOLERANCE, atol=REPEAT_TOLERANCE, equal_nan=True)
        if not bool(close.all()):
            wrong = torch.unique_consecutive(ids[~close.all(1)]).tolist()
            raise ValueError(
                f"{len(wrong)} samples were scored more than once with different results (numbers {wrong[:5]}, ...): "
                "ids must be the sample's number in the data set, and reset() must come between two passes"
            )
        return distinct, values[first]

    def missing(self, expected: Tensor) -> Tensor:
        """Ids of ``expected`` (int64, any shape) that no process has scored, sorted, on the CPU.

        Raises:
            ValueError: Samples were scored without ids.
        """
        ids, _ = self.per_sample()
        if bool((ids == _NO_ID).any()):
            raise ValueError("expected ids in every update to know which samples are missing, got none")
        wanted = expected.cpu().flatten().sort().values
        missing: Tensor = wanted[~torch.isin(wanted, ids)]
        distinct: Tensor = torch.unique_consecutive(missing)
        return distinct

    def undefined(self) -> Tensor:
        """How many samples have no defined score (NaN), int64 (metrics,): these are counted, not averaged."""
        return torch.isnan(self.per_sample()[1]).sum(0)

    def _means(self) -> Tensor:
        # Of what compute() finds: torchmetrics has gathered the states then, or (in forward) is not meant to.
        return self._gathered()[1].nanmean(0).to(self.device)


class ScoreTable(KeyedScores):
    """Several metrics of the same samples, computed together (:func:`saltext.metrics.score`) or elsewhere.

    Args:
        names: Names of ``saltext.metrics.METRICS``, the columns.
        kwargs: For ``torchmetrics.Metric``.

    Example:
        >>> from saltext.metrics import ScoreTable
        >>> table = ScoreTable(["cc", "nss"])
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> table(pred, density=pred, fixations=(pred == 3.0).float())
        {'cc': tensor(1.0000, dtype=torch.float64), 'nss': tensor(1.3416, dtype=torch.float64)}
    """

    def update(
        self,
        pred: Tensor,
        density: Tensor | None = None,
        fixations: Tensor | Fixations | None = None,
        *,
        others: Tensor | Fixations | None = None,
        baseline: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> None:
        """Score a batch of samples of one size; arguments of :func:`saltext.metrics.score`, and int64 (batch,) ids."""
        self._score(ids, pred, density, fixations, others, baseline)

    def add(self, ids: Tensor, values: Tensor) -> None:
        """Keep scores that are computed already, as an evaluator yields them.

        Args:
            ids: Of the samples, int64 (samples,).
            values: Their scores, float64 (samples, metrics), in the order of ``names``; NaN where one is not defined.

        Raises:
            ValueError: Shapes do not match.
        """
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise ValueError(f"expected values of shape (samples, {len(self.names)}), got {tuple(values.shape)}")
        # What torchmetrics does around an update.
        self._computed = None
        self._update_count += 1
        self._keep(ids, values)

    def compute(self) -> dict[str, Tensor]:
        """Mean of each metric over the samples that have a score; NaN if none has."""
        return dict(zip(self.names, self._means(), strict=True))


class PerImageMetric(KeyedScores):
    """One metric: the mean over images of a pure function.

    ``compute()`` is a float64 scalar: NaN before the first sample, and samples without a defined score left out
    (``undefined()`` counts them). ``per_sample()`` has the single scores in a column.

    A class of one's own names a registered metric and inherits from :class:`DensityMetric` or :class:`FixationMetric`,
    or has an ``update`` of its own.

    Args:
        name: Another metric than that of the class.
        kwargs: For ``torchmetrics.Metric``.

    Example:
        >>> from torchmetrics import MetricCollection
        >>> from saltext.metrics import CC, KL, NSS
        >>> pred = torch.tensor([[[[1.0, 1.0], [2.0, 4.0]]]])
        >>> of_maps = MetricCollection([CC(), KL()])  # all compare with the density: positional
        >>> sorted(of_maps(pred, pred))
        ['CC', 'KL']
        >>> both = MetricCollection([CC(), NSS()])  # by keyword, each metric takes the target that it needs
        >>> sorted(both(pred, density=pred, fixations=(pred == 4.0).float()))
        ['CC', 'NSS']
    """

    name: ClassVar[str]
    """Of ``saltext.metrics.METRICS``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            # torchmetrics lets only a class say it, not an instance.
            cls.higher_is_better = METRICS[cls.name].higher_is_better

    def __init__(self, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init__([name or self.name], **kwargs)

    def compute(self) -> Tensor:
        """Mean over the samples that have a score."""
        return self._means()[0]

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """A figure and axis with the value, or with several values of ``compute()`` (torchmetrics' convention)."""
        return self._plot(val, ax)


class DensityMetric(PerImageMetric):
    """A metric of prediction and ground-truth map.

    Example:
        >>> from saltext.metrics import DensityMetric, Metric, register_metric
        >>> def mae(pred, density):
        ...     return (pred - density).abs().mean((1, 2, 3))
        >>> register_metric("mae", Metric.of(mae, higher_is_better=False, title="MAE"))
        >>> class MAE(DensityMetric):
        ...     name = "mae"
        >>> MAE()(torch.ones(2, 1, 3, 4), torch.zeros(2, 1, 3, 4))
        tensor(1., dtype=torch.float64)
    """

    def update(self, pred: Tensor, density: Tensor, *, ids: Tensor | None = None) -> None:
        """Score a batch: maps (batch, 1, height, width), and int64 (batch,) ids of the samples."""
        self._score(ids, pred, density=density)


class FixationMetric(PerImageMetric):
    """A metric of prediction and fixations.

    Example:
        >>> from saltext.metrics import FixationMetric
        >>> class JuddMIT(FixationMetric):
        ...     name = "auc_judd_mit"
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> JuddMIT()(pred, (pred == 2.0).float())
        tensor(0.8333, dtype=torch.float64)
    """

    def update(self, pred: Tensor, fixations: Tensor | Fixations, *, ids: Tensor | None = None) -> None:
        """Score a batch: maps and counts (batch, 1, height, width), and int64 (batch,) ids of the samples."""
        self._score(ids, pred, fixations=fixations)


class CC(DensityMetric):
    """Mean :func:`saltext.metrics.functional.cc`.

    Example:
        >>> from saltext.metrics import CC
        >>> metric = CC()
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> metric(pred, 2 * pred), metric(pred, -pred)  # of each batch
        (tensor(1.0000, dtype=torch.float64), tensor(-1.0000, dtype=torch.float64))
        >>> metric.compute()  # of both
        tensor(0., dtype=torch.float64)
    """

    name = "cc"
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0


class SIM(DensityMetric):
    """Mean :func:`saltext.metrics.functional.sim`.

    Args:
        minmax: Take :func:`saltext.metrics.functional.sim_minmax` instead.
        kwargs: For ``torchmetrics.Metric``.

    Example:
        >>> from saltext.metrics import SIM
        >>> pred, density = torch.ones(1, 1, 2, 2), torch.tensor([[[[0.0, 0.0], [0.0, 7.0]]]])
        >>> SIM()(pred, density), SIM(minmax=True)(pred, density)
        (tensor(0.2500, dtype=torch.float64), tensor(0., dtype=torch.float64))
    """

    name = "sim"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, minmax: bool = False, **kwargs: Any) -> None:
        super().__init__(name="sim_minmax" if minmax else "sim", **kwargs)


class KL(DensityMetric):
    """Mean :func:`saltext.metrics.functional.kl`.

    Example:
        >>> from saltext.metrics import KL
        >>> KL()(torch.ones(1, 1, 2, 2), torch.tensor([[[[0.0, 0.0], [0.0, 7.0]]]]))  # ln 4
        tensor(1.3863, dtype=torch.float64)
    """

    name = "kl"
    plot_lower_bound = 0.0


class NSS(FixationMetric):
    """Mean :func:`saltext.metrics.functional.nss`.

    Example:
        >>> from saltext.metrics import NSS
        >>> metric = NSS()
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> metric.update(pred, (pred == 3.0).float())
        >>> metric.update(pred, torch.zeros_like(pred))  # without fixations: counted, not averaged
        >>> metric.compute(), metric.undefined()
        (tensor(1.3416, dtype=torch.float64), tensor([1]))
    """

    name = "nss"


class AUCJudd(FixationMetric):
    """Mean :func:`saltext.metrics.functional.auc_judd`.

    Args:
        negatives: ``"all"`` pixels, or the ``"unfixated"`` ones.
        kwargs: For ``torchmetrics.Metric``.

    Example:
        >>> from saltext.metrics import AUCJudd
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> AUCJudd()(pred, (pred == 2.0).float()), AUCJudd("unfixated")(pred, (pred == 2.0).float())
        (tensor(0.6250, dtype=torch.float64), tensor(0.6667, dtype=torch.float64))
    """

    name = "auc_judd"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, negatives: Negatives = "all", **kwargs: Any) -> None:
        names = {"all": "auc_judd", "unfixated": "auc_judd_unfixated"}
        if negatives not in names:
            raise ValueError(f"expected 'all' or 'unfixated' as negatives, got {negatives!r}")
        super().__init__(name=names[negatives], **kwargs)


class AUCBorji(FixationMetric):
    """Mean :func:`saltext.metrics.functional.auc_borji` with its default draws, which are the same for all images.

    Example:
        >>> from saltext.metrics import AUCBorji
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> AUCBorji()(pred, (pred == 2.0).float())  # of 100 draws; 0.625 on average
        tensor(0.5650, dtype=torch.float64)
    """

    name = "auc_borji"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0


class AUCShuffled(PerImageMetric):
    """Mean :func:`saltext.metrics.functional.auc_shuffled`.

    Example:
        >>> from saltext.metrics import AUCShuffled
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> others = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])  # see saltext.metrics.FixationPool
        >>> AUCShuffled()(pred, (pred == 2.0).float(), others=others)
        tensor(0.2500, dtype=torch.float64)
    """

    name = "auc_shuffled"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def update(
        self,
        pred: Tensor,
        fixations: Tensor | Fixations,
        *,
        others: Tensor | Fixations | None = None,
        ids: Tensor | None = None,
    ) -> None:
        """Score a batch: maps, counts and others' counts (batch, 1, height, width), and int64 (batch,) ids.

        Raises:
            ValueError: No fixations of other images.
        """
        self._score(ids, pred, fixations=fixations, others=others)


class IG(PerImageMetric):
    """Mean :func:`saltext.metrics.functional.ig`.

    Example:
        >>> from saltext.metrics import IG
        >>> pred = torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])
        >>> IG()(pred, torch.tensor([[[[0, 0], [0, 1]]]]), baseline=torch.ones(1, 1, 2, 2))  # log2(1/2) - log2(1/4)
        tensor(1.0000, dtype=torch.float64)
    """

    name = "ig"

    def update(
        self,
        pred: Tensor,
        fixations: Tensor | Fixations,
        *,
        baseline: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> None:
        """Score a batch: maps, counts and baseline densities (batch, 1, height, width), and int64 (batch,) ids.

        Raises:
            ValueError: No baseline.
        """
        self._score(ids, pred, fixations=fixations, baseline=baseline)


class Top20AUC(DensityMetric):
    """Mean :func:`saltext.metrics.published.top20_auc`.

    Example:
        >>> from saltext.metrics import Top20AUC
        >>> pred = torch.arange(10.0).view(1, 1, 2, 5)
        >>> Top20AUC()(pred, pred)
        tensor(1., dtype=torch.float64)
    """

    name = "top20_auc"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0


class Top20SAUC(DensityMetric):
    """Mean :func:`saltext.metrics.published.top20_sauc`.

    Example:
        >>> from saltext.metrics import Top20SAUC
        >>> pred = torch.arange(10.0).view(1, 1, 2, 5)
        >>> Top20SAUC()(pred, pred)
        tensor(0.7500, dtype=torch.float64)
    """

    name = "top20_sauc"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0


class NSSUnbiased(FixationMetric):
    """Mean :func:`saltext.metrics.published.nss_unbiased`. Of a resized fixation image pass the mask, ``image > 0``.

    Example:
        >>> from saltext.metrics import NSSUnbiased
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> NSSUnbiased()(pred, pred == 3.0)  # (3 - 1.5) / sqrt(5 / 3)
        tensor(1.1619, dtype=torch.float64)
    """

    name = "nss_unbiased"


class NSSOfMap(DensityMetric):
    """Mean :func:`saltext.metrics.published.nss_of_map`.

    Example:
        >>> from saltext.metrics import NSSOfMap
        >>> pred = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> NSSOfMap()(pred, pred)
        tensor(0.3873, dtype=torch.float64)
    """

    name = "nss_of_map"
