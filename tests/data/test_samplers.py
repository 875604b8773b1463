from itertools import groupby, pairwise

import pytest

from saltext.data.samplers import EvaluationBatches, TrainingOrder


def _epoch(seed: int, epoch: int, rank: int = 0, world_size: int = 1, length: int = 23) -> list[tuple[int, int]]:
    order = TrainingOrder(length, seed, rank, world_size)
    order.set_epoch(epoch)
    assert len(list(order)) == len(order)
    return list(order)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    assert _epoch(0, 3) == _epoch(0, 3)
    places = [tuple(place for _, place in _epoch(seed, epoch)) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert len(set(places)) == 3
    assert all(sorted(order) == list(range(23)) for order in places)


def test_keys_carry_the_epoch() -> None:
    assert {epoch for epoch, _ in _epoch(0, 7)} == {7}


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_deal_the_order_of_one_process_without_repeats(world_size: int) -> None:
    alone = _epoch(5, 2)
    dealt = [_epoch(5, 2, rank, world_size) for rank in range(world_size)]
    assert len({len(part) for part in dealt}) == 1
    together = [key for step in zip(*dealt, strict=True) for key in step]
    assert together == alone[: 23 // world_size * world_size]


def test_what_does_not_divide_is_another_sample_in_each_epoch() -> None:
    left_out = {tuple(set(range(23)) - {p for r in (0, 1) for _, p in _epoch(0, e, r, 2)}) for e in range(10)}
    assert len(left_out) > 3


NAMES = [f"image {place // 3 % 7}" for place in range(23)]  # two or three neighbours each, and again further down


def _side_by_side(epoch: int, rank: int = 0, world_size: int = 1) -> list[int]:
    order = TrainingOrder(23, 5, rank, world_size, groups=NAMES)
    order.set_epoch(epoch)
    return [place for _, place in order]


def test_samples_of_one_name_can_be_kept_together_in_a_new_order_each_epoch() -> None:
    orders = [_side_by_side(epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(23)) for order in orders)
    assert all(len(list(groupby(NAMES[place] for place in order))) == 7 for order in orders)
    assert len({tuple(NAMES[place] for place in order) for order in orders}) == 3
    assert len({tuple(place for place in order if NAMES[place] == "image 0") for order in orders}) > 1


def test_processes_share_neighbours_without_repeats_and_part_few() -> None:
    dealt = [_side_by_side(2, rank, 2) for rank in range(2)]
    assert [len(part) for part in dealt] == [11, 11]
    assert dealt[0] + dealt[1] == _side_by_side(2)[:22]


SIZES = [(480, 640), (640, 480), (427, 640)] * 7


def _batches(rank: int = 0, world_size: int = 1, batch_size: int = 4) -> list[list[int]]:
    batches = EvaluationBatches(SIZES, batch_size, rank, world_size)
    assert len(list(batches)) == len(batches)
    return list(batches)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8, 21])
def test_evaluation_serves_every_sample_exactly_once_and_leaves_no_process_idle(world_size: int) -> None:
    parts = [_batches(rank, world_size) for rank in range(world_size)]
    assert sorted(place for part in parts for batch in part for place in batch) == list(range(21))
    assert all(parts)


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_processes_deal_the_very_batches_of_one_process(world_size: int) -> None:
    alone = _batches()
    dealt = [batch for rank in range(world_size) for batch in _batches(rank, world_size)]
    assert sorted(dealt) == sorted(alone)


def test_evaluation_serves_equal_sizes_together() -> None:
    served = [SIZES[place] for batch in _batches() for place in batch]
    assert sum(a != b for a, b in pairwise(served)) == 2
