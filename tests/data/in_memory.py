"""Ground truth in memory, for tests of what reads it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saltext.data.ground_truth import GroundTruth


@dataclass(frozen=True)
class PairInMemory:
    """An image-text pair and its recordings."""

    image_id: str
    task: str
    density: np.ndarray
    points: Sequence[tuple[int, int]]
    text: str = ""

    @property
    def name(self) -> str:
        return f"{self.image_id}-{self.task}"


class FixationsInMemory:
    """Recordings of image-text pairs; counts how often a map is read."""

    def __init__(self, pairs: Sequence[PairInMemory]) -> None:
        self.pairs = pairs
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.pairs)

    def native_size(self, pair: int) -> tuple[int, int]:
        height, width = self.pairs[pair].density.shape
        return height, width

    def native_density(self, pair: int) -> np.ndarray:
        self.read.append(pair)
        return self.pairs[pair].density

    def points(self, pair: int) -> np.ndarray:
        return np.array(self.pairs[pair].points, dtype=np.int32).reshape(-1, 2)


def random_pair(
    image_id: str, task: str, seed: int, size: tuple[int, int] = (30, 40), fixations: int = 11
) -> PairInMemory:
    """A random pair: an 8-bit map, fixations, and a text unless the task is ``pure``."""
    rng = np.random.default_rng(seed)
    places = np.stack([rng.integers(0, size[0], fixations), rng.integers(0, size[1], fixations)], axis=1)
    density, text = rng.integers(0, 256, size, dtype=np.uint8), "" if task == "pure" else f"{task} of {image_id}"
    return PairInMemory(image_id, task, density, [(int(y), int(x)) for y, x in places], text)


def truth_of(pairs: Sequence[PairInMemory], sigma: float = 3.0) -> GroundTruth:
    """Ground truth whose maps are blurred by ``sigma`` pixels at every size."""
    return GroundTruth(pairs, FixationsInMemory(pairs), lambda size: sigma)
