"""Small maps every definition can be checked on, and the golden pairs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as TF


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, which wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Case:
    """A batch of maps; ``others`` are other images' fixations, ``baseline`` a density."""

    pred: Tensor
    density: Tensor
    fixations: Tensor
    others: Tensor
    baseline: Tensor

    def truths(self, names: tuple[str, ...]) -> list[Tensor]:
        return [getattr(self, name) for name in names]


def _case(seed: int, size: tuple[int, int], batch: int, levels: int | None, fixations: int) -> Case:
    rng = np.random.default_rng(seed)
    shape = (batch, 1, *size)

    def counts(number: int) -> Tensor:
        maps = np.zeros(shape)
        for i in range(batch):
            np.add.at(maps[i, 0].reshape(-1), rng.integers(0, size[0] * size[1], number), 1)
        return torch.from_numpy(maps)

    pred, density = rng.random(shape), rng.random(shape) ** 3
    if levels is not None:  # plateaus, many ties
        pred, density = np.floor(pred * levels) / levels, np.floor(density * levels) / levels
    return Case(
        pred=torch.from_numpy(pred),
        density=torch.from_numpy(density),
        fixations=counts(fixations),
        others=counts(4 * fixations),
        baseline=torch.from_numpy(rng.random(shape) + 0.1),
    )


CASES = {
    "smooth values": _case(0, (9, 13), 3, None, 11),
    "plateaus and ties": _case(1, (10, 8), 3, 3, 12),
    "one fixation": _case(2, (6, 7), 2, None, 1),
    "portrait, repeated fixations": _case(3, (12, 5), 2, 6, 80),
    "one row of pixels": _case(4, (1, 9), 2, None, 3),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def batch() -> Case:
    """Five images, for tests about batches."""
    return _case(5, (8, 9), 5, None, 6)


@pytest.fixture
def seven() -> Case:
    """Seven images, which two processes cannot share evenly."""
    return _case(6, (5, 6), 7, None, 4)


@dataclass(frozen=True)
class GoldenPair:
    """A prediction and its ground truth at the size of a golden protocol, each (1,1,h,w), and the recorded values."""

    pred: Tensor
    density: Tensor
    resized_fixations: Tensor  # bilinear, values in 0..1, as the papers' scripts have them
    points: Tensor  # (y, x) at the map's size, duplicates merged
    values: dict[str, dict[str, float]]


def _resized(path: Path, size: tuple[int, int]) -> Tensor:
    return TF.to_tensor(TF.resize(Image.open(path).convert("L"), list(size)))[None]


def _points(path: Path, size: tuple[int, int]) -> Tensor:
    native = np.asarray(Image.open(path).convert("L"))
    y, x = np.nonzero(native)
    y, x = ((2 * v + 1) * new // (2 * old) for v, new, old in zip((y, x), size, native.shape, strict=True))
    return torch.from_numpy(np.unique(np.stack([y, x], 1), axis=0))


def _golden_pairs(golden: Path, root: Path, size: tuple[int, int]) -> list[GoldenPair]:
    pairs = json.loads((golden / "metrics.json").read_text())["pairs"]
    return [
        GoldenPair(
            pred=_resized(root / "map_1800" / pair["prediction"], size),
            density=_resized(root / "map_1800" / pair["gt"], size),
            resized_fixations=_resized(root / "fixation_1800" / pair["gt"], size),
            points=_points(root / "fixation_1800" / pair["gt"], size),
            values={name: value for name, value in pair.items() if isinstance(value, dict)},
        )
        for pair in pairs
    ]


@pytest.fixture(scope="session")
def tranblend_pairs(golden: Path, sjtu_root: Path) -> list[GoldenPair]:
    return _golden_pairs(golden, sjtu_root, (288, 384))


@pytest.fixture(scope="session")
def clipsalgan_pairs(golden: Path, sjtu_root: Path) -> list[GoldenPair]:
    return _golden_pairs(golden, sjtu_root, (256, 256))
