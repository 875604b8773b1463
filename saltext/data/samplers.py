"""Samplers of training and evaluation, for one process or several."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class TrainingOrder(Sampler[tuple[int, int]]):
    """A new order in each epoch that depends on (seed, epoch) alone, so that a resumed run gets the same batches.

    The processes share one common order. The samples that do not divide evenly are left out, different ones in each
    epoch; none is repeated.

    Yields (epoch, index), which :class:`saltext.data.dataset.SJTUTIS` takes as a key.

    Args:
        length: Number of samples.
        seed: Seed of the order.
        rank: Rank of this process.
        world_size: Number of processes.
        repeats: Whether every epoch has the order of the first one.
        groups: The group of each sample. Samples of a group follow each other, and the groups are shuffled; each
            process gets a contiguous piece of the order, which separates few of them. None: the samples are shuffled.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        groups: Sequence[str] | None = None,
        repeats: bool = False,
    ) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.groups = groups
        self.repeats = repeats
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; Lightning calls this."""
        self.epoch = 0 if self.repeats else epoch

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        order = np.random.default_rng((self.seed, epoch)).permutation(self.length).tolist()
        if self.groups is None:
            of_rank = order[: len(self) * self.world_size][self.rank :: self.world_size]
        else:
            by_group: dict[str, list[int]] = {}
            for sample in order:
                by_group.setdefault(self.groups[sample], []).append(sample)
            grouped = [sample for samples in by_group.values() for sample in samples]
            of_rank = grouped[self.rank * len(self) :][: len(self)]
        return iter([(epoch, index) for index in of_rank])


class EvaluationBatches(Sampler[list[int]]):
    """Batches that hold every sample exactly once over all processes.

    The batches do not depend on the number of processes, which share whole batches: in float32 the last digits of a
    prediction depend on the other samples in the batch, and a pixel at a metric's threshold shows that. Only where
    there are fewer batches than processes, the batches are smaller, so that no process is idle.

    Args:
        sizes: Native (height, width) of each sample, at least as many samples as processes. Samples of equal size are
            in the same batches, so that the predictions of a batch are resized to few distinct sizes.
        batch_size: Samples of a batch; the last one may have fewer.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        order = sorted(range(len(sizes)), key=lambda index: (sizes[index], index))
        fewer = math.ceil(len(order) / batch_size) < world_size
        size = max(1, len(order) // world_size) if fewer else batch_size
        starts = range(0, len(order), size)[rank::world_size]
        self.batches = [order[start : start + size] for start in starts]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)
