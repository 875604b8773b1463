"""torchmetrics on top of the pure functions: every score is kept with the number of its sample.

A repeated sample (a distributed sampler that pads), an uneven last batch, the order of the samples, the number of
processes: none of them changes a result, because samples are told apart by number and sorted before anything is
averaged.
"""

from collections.abc import Callable, Sequence
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


class KeyedScores(TorchMetric):
    """Scores of samples, each kept with the sample's number; the base of the classes below.

    States are gathered from all processes by ``compute`` and :meth:`per_sample`; a process that saw no sample
    takes part. They lie on the metric's device, which has to be the one that the processes communicate by: NCCL gathers
    nothing from the CPU. ``.to("mps")`` leaves them on the CPU, since scores are float64. In a ``MetricCollection``
    pass keywords, ``collection.update(pred=..., density=..., fixations=..., ids=...)``: each metric takes what it
    needs.

    Args:
        names: One or more names of ``saltext.metrics.METRICS``.
        kwargs: For ``torchmetrics.Metric``.

    Raises:
        ValueError: An unknown metric.
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
        ids: Tensor,
        pred: Tensor,
        density: Tensor | None = None,
        fixations: Tensor | Fixations | None = None,
        others: Tensor | Fixations | None = None,
        baseline: Tensor | None = None,
    ) -> None:
        scores = score(pred, density, fixations, self.names, others=others, baseline=baseline)
        self._keep(ids, torch.stack([scores[name] for name in self.names], dim=1))

    def _keep(self, ids: Tensor, values: Tensor) -> None:
        if ids.ndim != 1 or ids.is_floating_point() or len(ids) != len(values):
            raise ValueError(
                f"ids has shape {tuple(ids.shape)} and dtype {ids.dtype}; expected one whole number for each of the "
                f"{len(values)} samples: the pair's number in the data set, not its index in the batch"
            )
        getattr(self, self._ids_state).append(ids.detach().to(self.device, torch.long))
        getattr(self, self._values_state).append(values.to(self.device))

    def per_sample(self) -> tuple[Tensor, Tensor]:
        """Scores of all samples of all processes, each sample once, in the order of their numbers.

        Returns:
            Numbers, int64 (n,), and scores, float64 (n, metrics), both on the CPU.

        Raises:
            ValueError: A sample was scored twice, with different results.
        """
        if self._is_synced:
            return self._gathered()
        with self.sync_context():
            return self._gathered()

    def missing(self, expected: Tensor) -> Tensor:
        """Numbers of ``expected`` (int64, any shape) that no process has scored, sorted, on the CPU."""
        ids, _ = self.per_sample()
        wanted = expected.cpu().flatten().sort().values
        missing: Tensor = wanted[~torch.isin(wanted, ids)]
        distinct: Tensor = torch.unique_consecutive(missing)
        return distinct

    def undefined(self) -> Tensor:
        """How many samples have no defined score (NaN), int64 (metrics,): these are counted, not averaged."""
        return torch.isnan(self.per_sample()[1]).sum(0)

    def means(self) -> Tensor:
        """Means over the samples that have a score, float64 (metrics,) on the metric's device; NaN if none has."""
        return self.per_sample()[1].nanmean(0).to(self.device)

    def _gathered(self) -> tuple[Tensor, Tensor]:
        ids, values = (_joined(getattr(self, state)) for state in (self._ids_state, self._values_state))
        order = torch.argsort(ids, stable=True)
        ids, values = ids[order].cpu(), values[order].cpu()
        distinct, times = torch.unique_consecutive(ids, return_counts=True)
        first = times.cumsum(0) - times
        self._refuse_contradictions(ids, values, values[first].repeat_interleave(times, dim=0))
        return distinct, values[first]

    def _refuse_contradictions(self, ids: Tensor, values: Tensor, firsts: Tensor) -> None:
        close = torch.isclose(values, firsts, rtol=REPEAT_TOLERANCE, atol=REPEAT_TOLERANCE, equal_nan=True)
        if bool(close.all()):
            return
        wrong = torch.unique_consecutive(ids[~close.all(1)]).tolist()
        raise ValueError(
            f"{len(wrong)} samples were scored more than once with different results (numbers {wrong[:5]}, ...): ids "
            "must be the sample's number in the data set, and reset() must come between two passes"
        )


def _joined(state: Tensor | list[Tensor]) -> Tensor:
    return state if isinstance(state, Tensor) else torch.cat(state)


class ScoreTable(KeyedScores):
    """Several metrics of the same samples, computed together (:func:`saltext.metrics.score`) or elsewhere.

    Args:
        names: Names of ``saltext.metrics.METRICS``, the columns.
        kwargs: For ``torchmetrics.Metric``.
    """

    def update(
        self,
        pred: Tensor,
        density: Tensor | None,
        fixations: Tensor | Fixations | None,
        ids: Tensor,
        others: Tensor | Fixations | None = None,
        baseline: Tensor | None = None,
    ) -> None:
        """Score a batch of samples of one size; arguments of :func:`saltext.metrics.score`, and int64 (batch,)
        numbers."""
        self._score(ids, pred, density, fixations, others, baseline)

    def add(self, ids: Tensor, values: Tensor) -> None:
        """Keep scores that are computed already, as an evaluator yields them.

        Args:
            ids: Numbers of the samples, int64 (samples,).
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
        return dict(zip(self.names, self.means(), strict=True))


class PerImageMetric(KeyedScores):
    """One metric: the mean over images of a pure function.

    ``compute()`` is a float64 scalar: NaN before the first sample, and samples without a defined score left out
    (:meth:`undefined` counts them). ``per_sample()`` has the single scores in a column.
    """

    name: ClassVar[str]
    """Of ``saltext.metrics.METRICS``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            # torchmetrics lets only a class say it, not an instance.
            cls.higher_is_better = METRICS[cls.name].higher_is_better

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__([name or self.name], **kwargs)

    def compute(self) -> Tensor:
        """Mean over the samples that have a score."""
        return self.means()[0]

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """A figure and axis with the value, or with several values of ``compute()`` (torchmetrics' convention)."""
        return self._plot(val, ax)


class DensityMetric(PerImageMetric):
    """A metric of prediction and ground-truth map."""

    def update(self, pred: Tensor, density: Tensor, ids: Tensor) -> None:
        """Score a batch: maps (batch, 1, height, width) and int64 (batch,) numbers of the samples."""
        self._score(ids, pred, density=density)


class FixationMetric(PerImageMetric):
    """A metric of prediction and fixations."""

    def update(self, pred: Tensor, fixations: Tensor | Fixations, ids: Tensor) -> None:
        """Score a batch: maps and counts (batch, 1, height, width), and int64 (batch,) numbers of the samples."""
        self._score(ids, pred, fixations=fixations)


class CC(DensityMetric):
    """Mean :func:`saltext.metrics.functional.cc`."""

    name = "cc"


class SIM(DensityMetric):
    """Mean :func:`saltext.metrics.functional.sim`; of its min-max variant with ``minmax=True``."""

    name = "sim"

    def __init__(self, minmax: bool = False, **kwargs: Any) -> None:
        super().__init__("sim_minmax" if minmax else "sim", **kwargs)


class KL(DensityMetric):
    """Mean :func:`saltext.metrics.functional.kl`."""

    name = "kl"


class NSS(FixationMetric):
    """Mean :func:`saltext.metrics.functional.nss`."""

    name = "nss"


class AUCJudd(FixationMetric):
    """Mean :func:`saltext.metrics.functional.auc_judd`."""

    name = "auc_judd"

    def __init__(self, negatives: Negatives = "all", **kwargs: Any) -> None:
        super().__init__({"all": "auc_judd", "unfixated": "auc_judd_unfixated"}[negatives], **kwargs)


class AUCBorji(FixationMetric):
    """Mean :func:`saltext.metrics.functional.auc_borji` with its default draws."""

    name = "auc_borji"


class AUCShuffled(PerImageMetric):
    """Mean :func:`saltext.metrics.functional.auc_shuffled`."""

    name = "auc_shuffled"

    def update(self, pred: Tensor, fixations: Tensor | Fixations, others: Tensor | Fixations, ids: Tensor) -> None:
        """Score a batch: maps, counts and others' counts (batch, 1, height, width), and int64 (batch,) numbers."""
        self._score(ids, pred, fixations=fixations, others=others)


class IG(PerImageMetric):
    """Mean :func:`saltext.metrics.functional.ig`."""

    name = "ig"

    def update(self, pred: Tensor, fixations: Tensor | Fixations, baseline: Tensor, ids: Tensor) -> None:
        """Score a batch: maps, counts and baseline densities (batch, 1, height, width), and int64 (batch,) numbers."""
        self._score(ids, pred, fixations=fixations, baseline=baseline)


class Top20AUC(DensityMetric):
    """Mean :func:`saltext.metrics.published.top20_auc`."""

    name = "top20_auc"


class Top20SAUC(DensityMetric):
    """Mean :func:`saltext.metrics.published.top20_sauc`."""

    name = "top20_sauc"


class NSSUnbiased(FixationMetric):
    """Mean :func:`saltext.metrics.published.nss_unbiased`. Of a resized fixation image pass the mask, ``image > 0``."""

    name = "nss_unbiased"


class NSSOfMap(DensityMetric):
    """Mean :func:`saltext.metrics.published.nss_of_map`."""

    name = "nss_of_map"
