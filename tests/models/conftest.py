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


@pytest.fixture(autouse=True)
def _small_networks_run_on_one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Handing tiny tensors to threads costs more than computing them; the golden networks are not tiny."""
    threads = torch.get_num_threads()
    if request.node.get_closest_marker("golden") is None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
