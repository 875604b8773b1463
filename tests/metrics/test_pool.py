import pytest
import torch

from saltext.metrics import FixationPool, auc_shuffled

POINTS = {
    # image, group: points (y, x) of an image of 4 x 6 pixels, except b
    ("a", "salient"): [[0, 0], [3, 5], [3, 5]],
    ("b", "salient"): [[1, 1]],  # of 2 x 3 pixels
    ("c", "salient"): [[2, 2], [0, 5]],
    ("a", "pure"): [[1, 4]],
    ("b", "pure"): [[0, 2]],
}
SIZES = {"a": (4, 6), "b": (2, 3), "c": (4, 6)}


@pytest.fixture
def pool() -> FixationPool:
    return FixationPool(
        [torch.tensor(p) for p in POINTS.values()],
        torch.tensor([SIZES[image] for image, _ in POINTS]),
        [image for image, _ in POINTS],
        [group for _, group in POINTS],
    )


def _listed(fixations, row):
    width = fixations.shape[3]
    index = fixations.each.index[row][fixations.each.valid[row]]
    return sorted((int(i) // width, int(i) % width) for i in index)


def test_negatives_are_all_fixations_of_other_images_of_the_group(pool) -> None:
    others = pool.others(["a", "c"], ["salient", "salient"], (4, 6))
    assert others.shape == (2, 1, 4, 6)
    # b's (1, 1) of 2 x 3 lies at floor(1.5 * 2) = 3, floor(1.5 * 2) = 3 of 4 x 6
    assert _listed(others, 0) == [(0, 5), (2, 2), (3, 3)]
    assert _listed(others, 1) == [(0, 0), (3, 3), (3, 5), (3, 5)]


def test_negatives_do_not_include_the_image_itself_under_another_text() -> None:
    points = [torch.tensor([[0, 0]]), torch.tensor([[1, 1]]), torch.tensor([[0, 1]])]
    pool = FixationPool(points, torch.tensor([[2, 2]] * 3), ["a", "a", "b"], ["all"] * 3)
    assert _listed(pool.others(["a"], ["all"], (2, 2)), 0) == [(0, 1)]


def test_samples_of_several_groups_are_served_together(pool) -> None:
    others = pool.others(["a", "a"], ["salient", "pure"], (4, 6))
    assert others.each.number.tolist() == [3, 1]
    assert _listed(others, 1) == [(1, 5)]  # floor(0.5 * 2), floor(2.5 * 2)


def test_an_image_outside_the_pool_has_nothing_to_leave_out(pool) -> None:
    assert pool.others(["new"], ["salient"], (4, 6)).each.number.tolist() == [6]


@pytest.mark.parametrize("native", [424, 427, 480, 500, 640])
def test_moving_to_the_same_size_moves_nothing_and_scaling_stays_inside(native) -> None:
    rows = torch.arange(native)
    pool = FixationPool([torch.stack([rows, rows], 1)], torch.tensor([[native, native]]), ["a"], ["g"])
    assert _listed(pool.others(["b"], ["g"], (native, native)), 0) == [(int(i), int(i)) for i in rows]
    for size in (1, 288, 384, 641):
        found = [y for y, _ in _listed(pool.others(["b"], ["g"], (size, size)), 0)]
        assert found == [(2 * int(i) + 1) * size // (2 * native) for i in rows]
        assert found[-1] == size - 1 or native < size


def test_a_prior_of_the_other_images_is_at_chance_against_them(pool) -> None:
    pred = torch.rand(1, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    others = pool.others(["a"], ["salient"], (4, 6))
    assert float(auc_shuffled(pred, others, others)) == pytest.approx(0.5)


def test_a_fixation_outside_its_image_is_refused() -> None:
    with pytest.raises(ValueError, match="a fixation of image a lies outside its 2 x 3 pixels"):
        FixationPool([torch.tensor([[2, 0]])], torch.tensor([[2, 3]]), ["a"], ["g"])


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got lengths \(1, 1, 2, 1\)"):
        FixationPool([torch.tensor([[0, 0]])], torch.tensor([[2, 3]]), ["a", "b"], ["g"])


def test_an_unknown_group_is_named(pool) -> None:
    with pytest.raises(ValueError, match=r"expected groups of the pool \(salient, pure\), got whole"):
        pool.others(["a"], ["whole"], (4, 6))
