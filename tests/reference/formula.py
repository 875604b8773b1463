"""Weights and inputs of the golden files: a number's name alone decides its value.

The rules are those of the golden files' README, sections 1 and 2. Nothing here uses the package.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

SEED = 20240
TEXT, MIDDLE_FEATURE, MAP, FIXATIONS = 2, 3, 8, 10


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Value of the parameter or buffer of that name, float32."""
    rng = np.random.default_rng(zlib.crc32(name.encode()) + SEED)
    last = name.rpartition(".")[2]
    if last == "position_embeddings":
        value = 0.02 * rng.standard_normal(shape)
    elif len(shape) >= 2:
        value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif last == "weight":
        value = 1 + 0.1 * rng.standard_normal(shape)
    elif last == "running_var":
        value = 1 + 0.2 * rng.uniform(0, 1, shape)
    else:
        value = 0.1 * rng.standard_normal(shape)
    return value.astype(np.float32)


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """State dict for names and shapes; counters (``num_batches_tracked``) are 0."""
    return {
        name: torch.tensor(0) if name.endswith("num_batches_tracked") else torch.from_numpy(weight(name, shape))
        for name, shape in shapes.items()
    }


def fill(module: nn.Module) -> nn.Module:
    """Load the formula's weights into a module whose own names are the published ones, and put it in eval mode."""
    module.load_state_dict(weights({name: tuple(value.shape) for name, value in module.state_dict().items()}))
    return module.eval()


def normal(offset: int, shape: tuple[int, ...]) -> Tensor:
    """Input drawn with the seed ``SEED + offset``."""
    return torch.from_numpy(np.random.default_rng(SEED + offset).standard_normal(shape).astype(np.float32))


def image(count: int = 1) -> Tensor:
    """The golden image, already normalised."""
    return normal(1, (count, 3, 288, 384))


def uniform(offset: int, shape: tuple[int, ...]) -> Tensor:
    """Like :func:`normal`, uniform in [0, 1)."""
    return torch.from_numpy(np.random.default_rng(SEED + offset).uniform(0, 1, shape).astype(np.float32))


def published_shapes(file: Path, *within: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a ``keys_*.json`` file, in the order of the state dict."""
    content = json.loads(file.read_text(encoding="utf-8"))
    for key in within:
        content = content[key]
    return {name: tuple(shape) for name, shape, _, _ in content}
