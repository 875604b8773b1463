from functools import partial
from typing import Any

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from torch.nn import functional as F

from saltext.evaluation.groups import Group, native_groups, resample, resized_groups
from tests import standin

CPU = torch.device("cpu")
WHOLE = (0, 0, 32, 64)


def batch(sizes: list[tuple[int, int]], points: list[list[list[int]]] | None = None) -> dict[str, object]:
    points = points or [[[0, i]] for i, _ in enumerate(sizes)]
    return {
        "image": torch.zeros(len(sizes), 3, 32, 64, dtype=torch.uint8),
        "index": torch.arange(len(sizes)) + 10,
        "size": torch.tensor(sizes),
        "box": torch.tensor([WHOLE] * len(sizes)),
        "native_density": [torch.full(size, 10 * i, dtype=torch.uint8) for i, size in enumerate(sizes)],
        "native_points": [torch.tensor(p) for p in points],
    }


def test_a_stretched_map_is_resampled_whole() -> None:
    maps = torch.rand(2, 1, 8, 16)
    out = resample(maps, WHOLE, (50, 40), (32, 64))
    torch.testing.assert_close(out, F.interpolate(maps, (50, 40), mode="bilinear"))


def test_padding_of_a_letterboxed_map_is_cut_off() -> None:
    maps = torch.zeros(1, 1, 32, 64)
    maps[..., 8:24, :] = 1.0  # the image fills the middle rows, padding above and below
    out = resample(maps, (8, 0, 16, 64), (20, 80), (32, 64))
    assert out.shape == (1, 1, 20, 80)
    torch.testing.assert_close(out, torch.ones_like(out))


def test_samples_of_one_size_are_scored_together_and_keep_their_own_truth() -> None:
    found = {g.size: g for g in native_groups(batch([(4, 6), (5, 3), (4, 6)]), CPU)}
    assert set(found) == {(4, 6), (5, 3)}
    pair = found[4, 6]
    assert pair.index == [10, 12]
    torch.testing.assert_close(pair.density[:, 0, 0, 0] * 255, torch.tensor([0.0, 20.0]))
    assert pair.fixations.each.index.tolist() == [[0], [2]]


def test_two_fixations_on_one_pixel_count_twice() -> None:
    (group,) = native_groups(batch([(3, 4)], [[[1, 2], [1, 2], [0, 0]]]), CPU)
    assert group.fixations.each.index[0].tolist() == [6, 6, 0]


def test_resized_truth_has_one_size_and_spreads_each_fixation() -> None:
    (group,) = resized_groups(batch([(8, 8), (10, 6)], [[[4, 4]], [[5, 3]]]), (16, 16), CPU)
    assert group.density.shape == (2, 1, 16, 16)
    assert group.index == [10, 11]
    assert (group.fixations.each.number > 1).all()
    assert group.fixations.distinct.number.tolist() == group.fixations.each.number.tolist()


def test_a_selection_keeps_everything_of_the_samples_that_stay() -> None:
    (group,) = native_groups(batch([(4, 6)] * 3), CPU)
    group = Group(group.index, group.size, group.density, group.fixations, group.fixations, group.density)
    part = group.select([2, 0])
    assert part.index == [12, 10]
    assert part.density[:, 0, 0, 0].tolist() == group.density[[2, 0], 0, 0, 0].tolist()
    assert part.fixations.each.index.tolist() == [[2], [0]]
    assert part.others is not None
    assert part.others.shape == (2, 1, 4, 6)
    assert part.baseline is not None
    assert len(part.baseline) == 2
    assert group.select([0, 1, 2]) is group


@pytest.mark.parametrize("groups", [native_groups, partial(resized_groups, size=(16, 16))])
@pytest.mark.parametrize("moved", [(), ("native_density", "native_points"), tuple(batch([(8, 8)]))])
def test_truth_is_the_same_wherever_the_batch_and_the_groups_lie(groups: Any, moved: tuple[str, ...]) -> None:
    sizes, points = [(8, 8), (10, 6), (8, 8)], [[[4, 4]], [[5, 3], [0, 0]], [[7, 1]]]
    expected = list(groups(batch(sizes, points), device=CPU))
    with standin.device("cuda") as gpu:
        given = {k: move_data_to_device(v, gpu) if k in moved else v for k, v in batch(sizes, points).items()}
        found = list(groups(given, device=gpu))
        assert [group.index for group in found] == [group.index for group in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.density.device == one.fixations.each.index.device == one.fixations.each.valid.device == gpu
            assert torch.equal(one.density.cpu(), other.density)
            assert torch.equal(one.fixations.each.index.cpu(), other.fixations.each.index)
            assert torch.equal(one.fixations.each.valid.cpu(), other.fixations.each.valid)
