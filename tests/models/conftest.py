"""Small parts that several tests of the models build on."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Random weights, but the same ones every time, and no trace left for other tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
