"""The order in which samples are served, the same for one process or many."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class TrainingOrder(Sampler[tuple[int, int]]):
    """A new order each epoch, decided by (seed, epoch) alone, so that a resumed run sees the same batches.

    The processes deal one common order among themselves. What does not divide evenly is left out, other samples in
    each epoch; none is repeated.

    Yields (epoch, index), which :class:`saltext.data.dataset.SJTUTIS` takes as a key.

    Args:
        length: Number of samples.
        seed: Of the order.
        rank: This process.
        world_size: Number of processes.
        repeats: Whether every epoch has the order of the first one.
        together: A name for each sample; those of one name follow each other, and the names are shuffled. Each process
            then deals a piece of the order, so that few neighbours are parted. None: the samples are shuffled.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        together: Sequence[str] | None = None,
        repeats: bool = False,
    ) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.together = together
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
        if self.together is None:
            mine = order[: len(self) * self.world_size][self.rank :: self.world_size]
        else:
            mine = _side_by_side(order, self.together)[self.rank * len(self) :][: len(self)]
        return iter([(epoch, index) for index in mine])


def _side_by_side(order: Sequence[int], names: Sequence[str]) -> list[int]:
    """Each sample moved up to the first of its name."""
    by_name: dict[str, list[int]] = {}
    for sample in order:
        by_name.setdefault(names[sample], []).append(sample)
    return [sample for samples in by_name.values() for sample in samples]


class EvaluationBatches(Sampler[list[int]]):
    """Batches that hold every sample exactly once over all processes.

    Processes deal whole batches, and a batch is the same whoever gets it: in float32 a prediction differs in its last
    digits between batches of other samples, and a pixel at a metric's threshold shows that. Only where there are fewer
    batches than processes, smaller ones are dealt, so that nobody is idle.

    Args:
        sizes: Native (height, width) of each sample, at least as many as processes. Equal sizes are served together,
            so that the predictions of a batch are brought to few distinct sizes.
        batch_size: Samples of a batch; the last one may have fewer.
        rank: This process.
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
