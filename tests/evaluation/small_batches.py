"""Evaluation batches of four small pairs, and a predictor that knows their ground truth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saltext.data.pairs import Pair

PAIRS = [
    Pair(str(i), task, "", Path("i"), Path("d"), Path("f"), f"{i} {task}") for i in (1, 2) for task in ("pure", "whole")
]
SIZE = (6, 8)


def density() -> Tensor:
    """The published maps, uint8 (4, 6, 8)."""
    return torch.randint(1, 255, (4, *SIZE), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def batch(numbers: Sequence[int]) -> dict[str, object]:
    return {
        "image": torch.zeros(len(numbers), 3, *SIZE, dtype=torch.uint8),
        "index": torch.tensor(numbers),
        "size": torch.tensor([SIZE] * len(numbers)),
        "box": torch.tensor([(0, 0, *SIZE)] * len(numbers)),
        "text": ["some words"] * len(numbers),
        "task": ["whole"] * len(numbers),
        "native_density": [density()[n] for n in numbers],
        "native_points": [torch.tensor([[n, n]]) for n in numbers],
    }


class Oracle:
    """The truth itself, of all pairs but one; notes which pairs it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def covers(self, index: int) -> bool:
        return index != 2

    def maps(self, indices: Sequence[int], size: tuple[int, int]) -> Tensor:
        self.asked.append(list(indices))
        images = [Image.fromarray(density()[index].numpy()) for index in indices]
        resized = [np.array(image.resize(size[::-1], Image.Resampling.BILINEAR)) for image in images]
        return torch.from_numpy(np.stack(resized))[:, None].float()

    def ground_truth(self, indices: Sequence[int], size: tuple[int, int]) -> None:
        return None
