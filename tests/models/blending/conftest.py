"""What the tests of the blending modules share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from saltext.models.text.base import TextFeatures


@pytest.fixture
def pooled() -> Callable[[Tensor], TextFeatures]:
    """Text features with the given vectors, shape ``(batch, dim)``, as pooled feature and as the one token."""
    return lambda vectors: TextFeatures(vectors, vectors[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))


@pytest.fixture
def equals_authors(golden: Path) -> Callable[[Tensor, str, float], None]:
    """Compare an output with the golden one of that name: every 8th channel, mean and deviation of all."""

    def check(out: Tensor, name: str, atol: float) -> None:
        flat = out.double().flatten(2)
        stats = torch.stack([flat.mean(2), flat.std(2, correction=0)]).numpy()
        with np.load(golden / "tranblend_modules.npz") as wanted:
            np.testing.assert_allclose(out[:, ::8].numpy(), wanted[name], rtol=0, atol=atol, err_msg=name)
            np.testing.assert_allclose(stats, wanted[f"{name}_channel_mean_std"], rtol=0, atol=atol, err_msg=name)

    return check
