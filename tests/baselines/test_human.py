from dataclasses import dataclass

import numpy as np
import torch

from saltext.baselines import HumanOthers, HumanPure, SplitHalf, SplitViewers
from saltext.baselines.human import FLOOR
from tests.data.in_memory import PairInMemory, random_pair, truth_of

SET_B = ["pure", "general", "salient", "non_salient"]
PAIRS = [
    random_pair("a", "pure", 0),
    random_pair("a", "whole", 1),
    *(random_pair("b", task, place) for place, task in enumerate(SET_B, start=2)),
    random_pair("c", "pure", 9),
]
SIZE = (30, 40)


def _one(place: int) -> np.ndarray:
    density = PAIRS[place].density.astype(np.float64)
    return density / density.max()


def test_free_viewing_predicts_the_images_other_conditions() -> None:
    baseline = HumanPure(truth_of(PAIRS))
    assert [baseline.covers(place) for place in range(7)] == [False, True, False, True, True, True, False]
    maps = baseline.maps([1, 4], SIZE)
    assert maps.shape == (2, 1, *SIZE)
    np.testing.assert_allclose(maps[:, 0], np.stack([_one(0), _one(2)]) + FLOOR, rtol=1e-5)


def test_other_conditions_predict_where_they_say_more_than_free_viewing_alone() -> None:
    baseline = HumanOthers(truth_of(PAIRS))
    assert [baseline.covers(place) for place in range(7)] == [True, False, True, True, True, True, False]
    maps = baseline.maps([0, 4], SIZE)
    np.testing.assert_allclose(maps[0, 0], _one(1) + FLOOR, rtol=1e-5)
    np.testing.assert_allclose(maps[1, 0], (_one(2) + _one(3) + _one(5) + FLOOR) / 3, rtol=1e-5)


def test_a_human_map_is_nowhere_zero_and_its_scale_does_not_matter() -> None:
    faint = PairInMemory("f", "pure", np.eye(30, 40, dtype=np.float32) * 1e-3, [(0, 0)])
    maps = HumanPure(truth_of([faint, random_pair("f", "whole", 1)])).maps([1], SIZE)
    assert float(maps.min()) == np.float32(FLOOR)
    assert float(maps.max()) == np.float32(1 + FLOOR)


def test_halves_divide_the_fixations() -> None:
    split = SplitHalf(truth_of(PAIRS))
    first, second = split._halves(1)
    assert (len(first), len(second)) == (5, 6)
    assert sorted(map(tuple, torch.cat([first, second]).tolist())) == sorted(PAIRS[1].points)


def test_the_first_half_predicts_and_the_second_is_the_truth() -> None:
    truth = truth_of(PAIRS)
    split = SplitHalf(truth)
    halves = [split._halves(place) for place in (1, 3)]
    density, fixations = split.ground_truth([1, 3], SIZE)
    assert torch.equal(split.maps([1, 3], SIZE), truth.blurred([first for first, _ in halves], SIZE))
    assert torch.equal(density, truth.blurred([second for _, second in halves], SIZE))
    assert fixations.each.index[0].tolist() == [40 * y + x for y, x in halves[0][1].tolist()]


def test_halves_do_not_depend_on_the_rest_of_the_data_set() -> None:
    alone = SplitHalf(truth_of(PAIRS[3:4]))._halves(0)
    among = SplitHalf(truth_of(PAIRS))._halves(3)
    assert all(torch.equal(one, other) for one, other in zip(alone, among, strict=True))


def test_pairs_are_halved_apart_from_each_other() -> None:
    points = [(place, place) for place in range(20)]
    same = [
        PairInMemory(image, task, np.ones(SIZE, np.uint8), points) for image, task in (("a", "pure"), ("a", "whole"))
    ]
    split = SplitHalf(truth_of(same))
    assert not torch.equal(split._halves(0)[0], split._halves(1)[0])


def test_one_fixation_cannot_be_halved() -> None:
    truth = truth_of(
        [PairInMemory("a", "pure", np.ones(SIZE, np.uint8), points) for points in ([(1, 1)], [(1, 1), (2, 2)])]
    )
    assert [SplitHalf(truth).covers(place) for place in (0, 1)] == [False, True]


def test_at_another_size_maps_are_resized_and_fixations_moved() -> None:
    split = SplitHalf(truth_of(PAIRS))
    density, fixations = split.ground_truth([1, 3], (15, 20))
    native, _ = split.ground_truth([1, 3], SIZE)
    assert density.shape == split.maps([1, 3], (15, 20)).shape == (2, 1, 15, 20)
    halved = torch.nn.functional.interpolate(native, (15, 20), mode="bilinear", antialias=True)
    torch.testing.assert_close(density, halved)
    expected = [20 * (y // 2) + x // 2 for y, x in split._halves(1)[1].tolist()]
    assert fixations.each.index[0].tolist() == expected


@dataclass(frozen=True)
class Listed:
    """Viewers by list."""

    of_viewers: list[np.ndarray]

    def points(self, size: tuple[int, int]) -> list[np.ndarray]:
        return self.of_viewers


def _viewers(place: int, count: int = 5) -> Listed:
    points = np.array(PAIRS[place].points, np.int32)
    return Listed([points[viewer::count] for viewer in range(count)])


def test_halves_of_viewers_have_no_viewer_in_common() -> None:
    split = SplitViewers(truth_of(PAIRS), {1: _viewers(1)})
    first, second = ({tuple(point) for point in half.tolist()} for half in split._halves(1))
    members = [{tuple(point) for point in points.tolist()} for points in _viewers(1).of_viewers]
    assert {bool(of_viewer & first) for of_viewer in members} == {True, False}
    assert all(of_viewer <= first or of_viewer <= second for of_viewer in members)
    assert sum(of_viewer <= first for of_viewer in members) == 2


def test_halves_of_viewers_predict_and_are_scored_like_halves_of_fixations() -> None:
    truth = truth_of(PAIRS)
    split = SplitViewers(truth, {1: _viewers(1), 3: _viewers(3)})
    density, _ = split.ground_truth([1, 3], SIZE)
    assert torch.equal(split.maps([1, 3], SIZE), truth.blurred([split._halves(place)[0] for place in (1, 3)], SIZE))
    assert torch.equal(density, truth.blurred([split._halves(place)[1] for place in (1, 3)], SIZE))


def test_pairs_without_viewers_or_with_an_empty_half_are_not_covered() -> None:
    alone = Listed([np.array([[1, 2]], np.int32), np.zeros((0, 2), np.int32)])
    split = SplitViewers(truth_of(PAIRS), {1: _viewers(1), 2: alone})
    assert [split.covers(place) for place in range(3)] == [False, True, False]
