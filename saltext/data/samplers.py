"""The order in which samples are served, the same for one process or many."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class TrainingOrder(Sampler[tuple[int, int]]):
    """A new order each epoch, decided by (seed, epoch) alone, so that a resumed run sees the same batches.

    The processes deal one common order among themselves. What does not divide evenly is left out, other samples in
    each epoch; none is repeated.

    Yields (epoch, place), which :class:`saltext.data.dataset.SJTUTIS` takes as a key.

    Args:
        length: Number of samples.
        seed: Of the order.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
        mine = order[: len(self) * self.world_size][self.rank :: self.world_size]
        return iter([(epoch, place) for place in mine.tolist()])


class EvaluationOrder(Sampler[int]):
    """Every sample exactly once over all processes, so the processes may get one more or less than each other.

    Args:
        sizes: Native (height, width) of each sample. Equal sizes are served together, so that the predictions of a
            batch are brought to few distinct sizes.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], rank: int = 0, world_size: int = 1) -> None:
        order = sorted(range(len(sizes)), key=lambda place: (sizes[place], place))
        self.places = order[rank::world_size]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[int]:
        return iter(self.places)
