import multiprocessing
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from saltext.models.freezing import freeze
from saltext.models.memory import Features, FeatureStore, Memory, RecentFeatures

RESULT = 4 * (4 * 6 * 6 + 1)
"""Bytes of what :class:`Two` makes of one of :func:`images`."""


class Two(nn.Module):
    """Two results a sample; counts the samples it was run on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.seen = 0

    def forward(self, x: Tensor) -> Features:
        self.seen += len(x)
        return self.conv(x), x.mean((1, 2, 3))


@pytest.fixture
def module() -> Two:
    torch.manual_seed(0)
    return freeze(Two())


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "deep" / "features.sqlite")


def images(n: int, seed: int = 1) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_remembered_results_equal_computed_ones(module: Two, store: FeatureStore) -> None:
    memory, x = Memory(store), images(5)
    for _ in range(2):
        convolved, mean = memory.recall(module, x, module)
        torch.testing.assert_close(convolved, module.conv(x))
        torch.testing.assert_close(mean, x.mean((1, 2, 3)))


def test_each_sample_is_computed_once_whatever_the_batches(module: Two, store: FeatureStore) -> None:
    memory, x = Memory(store), images(6)
    memory.recall(module, x[:4], module)
    again = memory.recall(module, x[[5, 0, 3, 5, 4]], module)
    assert module.seen == 6
    torch.testing.assert_close(again[0], module.conv(x[[5, 0, 3, 5, 4]]))
    assert len(store) == 6


def test_another_run_finds_what_the_first_one_computed(module: Two, store: FeatureStore) -> None:
    Memory(store).recall(module, images(3), module)
    other = freeze(Two())
    other.load_state_dict(module.state_dict())
    Memory(FeatureStore(store.path)).recall(other, images(3), other)
    assert other.seen == 0


def test_other_weights_have_other_results(module: Two, store: FeatureStore) -> None:
    memory, x = Memory(store), images(3)
    memory.recall(module, x, module)
    state = {key: value + 1 for key, value in module.state_dict().items()}
    module.load_state_dict(state)
    torch.testing.assert_close(memory.recall(module, x, module)[0], module.conv(x))
    assert module.seen == 6


def test_what_else_matters_is_part_of_the_key(module: Two, store: FeatureStore) -> None:
    Memory(store, salt="stretch").recall(module, images(2), module)
    Memory(store, salt="letterbox").recall(module, images(2), module)
    assert module.seen == 4


def test_training_inputs_are_remembered_only_where_they_come_back(module: Two, store: FeatureStore) -> None:
    network = nn.Sequential(module).train()
    assert Memory(store, in_training=True).serves(network)
    assert not Memory(store, in_training=False).serves(network)
    assert Memory(store, in_training=False).serves(network.eval())


def test_results_carry_no_gradient(module: Two, store: FeatureStore) -> None:
    module.requires_grad_(True)
    assert not any(t.requires_grad for t in Memory(store).recall(module, images(2), module))


def test_a_store_travels_to_another_process_as_its_path(module: Two, store: FeatureStore) -> None:
    store.put({b"a": (torch.ones(2),)})
    copy = pickle.loads(pickle.dumps(store))
    assert copy.get([b"a"])[b"a"][0].tolist() == [1.0, 1.0]


def _write(path: Path, first: int) -> None:
    store = FeatureStore(path)
    for number in range(first, first + 20):
        store.put({str(number).encode(): (torch.full((100,), float(number)),)})


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "features.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, first)) for first in (0, 10)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    store = FeatureStore(path)
    assert len(store) == 30
    assert store.get([b"17"])[b"17"][0][0] == 17
    assert store.disk_bytes > 30 * 400


def test_results_that_depend_on_a_text_are_told_apart_by_it(module: Two, store: FeatureStore) -> None:
    memory, x = Memory(store), images(1)

    def counted(inputs: Tensor, texts: list[str]) -> Features:
        return (torch.tensor([[float(len(text))] for text in texts]),)

    one = [float(memory.recall(module, x, counted, [text])[0]) for text in ("a", "abc", "", "a")]
    assert one == [1, 3, 0, 1]
    assert len(store) == 3
    assert len(memory.recall(module, x, module)) == 2  # no text is another thing than the empty one


def test_a_large_batch_is_computed_a_few_samples_at_a_time(module: Two, store: FeatureStore) -> None:
    sizes = []

    def watched(inputs: Tensor) -> Features:
        sizes.append(len(inputs))
        return module(inputs)

    x = images(11)
    convolved, _ = Memory(store).recall(module, x, watched)
    assert sum(sizes) == 11
    assert max(sizes) <= 4
    torch.testing.assert_close(convolved, module.conv(x))


def test_what_is_kept_in_the_process_equals_what_is_computed(module: Two) -> None:
    memory, x = Memory(RecentFeatures(4 * RESULT)), images(3)
    for _ in range(2):
        convolved, mean = memory.recall(module, x, module)
        torch.testing.assert_close(convolved, module.conv(x))
        torch.testing.assert_close(mean, x.mean((1, 2, 3)))
    assert module.seen == 3


def test_what_was_not_asked_for_the_longest_goes_first(module: Two) -> None:
    memory, x = Memory(RecentFeatures(2 * RESULT)), images(3)
    memory.recall(module, x[:2], module)
    memory.recall(module, x[:1], module)  # now the second one is the oldest
    memory.recall(module, x[2:], module)
    assert module.seen == 3
    memory.recall(module, x[[0, 2]], module)
    assert module.seen == 3
    memory.recall(module, x[1:2], module)
    assert module.seen == 4


def test_a_batch_larger_than_what_is_kept_is_computed_whole(module: Two) -> None:
    x = images(5)
    (convolved, _) = Memory(RecentFeatures(2 * RESULT)).recall(module, x, module)
    torch.testing.assert_close(convolved, module.conv(x))


def test_no_more_is_kept_than_the_bound_allows(module: Two) -> None:
    memory, x = Memory(RecentFeatures(2 * RESULT - 1)), images(2)
    memory.recall(module, x, module)
    memory.recall(module, x[1:], module)
    assert module.seen == 2
    memory.recall(module, x[:1], module)
    assert module.seen == 3
