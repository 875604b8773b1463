import torch

from saltext.baselines import CentrePriorOfOthers
from saltext.evaluation.reference import Reference
from tests.data.in_memory import FixationsInMemory, random_pair, truth_of

PAIRS = [
    *(random_pair(name, "pure", place) for place, name in enumerate("abc")),
    *(random_pair(name, "salient", place + 10) for place, name in enumerate("ab")),
]
SIZE = (30, 40)


def _pixels(places: list[int]) -> list[int]:
    return sorted(40 * y + x for place in places for y, x in PAIRS[place].points)


def _others(reference: Reference, place: int) -> list[int]:
    points = reference.others([place], SIZE).each
    return sorted(points.index[0][points.valid[0]].tolist())


def test_others_are_the_fixations_of_other_images_of_the_same_task() -> None:
    reference = Reference(truth_of(PAIRS))
    assert _others(reference, 0) == _pixels([1, 2])
    assert _others(reference, 4) == _pixels([3])


def test_other_groups_than_tasks_leave_out_the_image_not_the_pair() -> None:
    reference = Reference(truth_of(PAIRS), ["all"] * 5)
    assert _others(reference, 0) == _pixels([1, 2, 4])


def test_of_conditions_that_are_not_scored_nothing_is_read() -> None:
    truth = truth_of(PAIRS)
    recordings: FixationsInMemory = truth._fixation_data  # type: ignore[assignment]
    recordings.points = lambda pair: FixationsInMemory.points(recordings, {3: 3, 4: 4}[pair])  # type: ignore[method-assign]
    assert _others(Reference(truth, scored=[4]), 4) == _pixels([3])


def test_the_baseline_is_the_centre_prior_of_the_other_images() -> None:
    truth = truth_of(PAIRS)
    expected = CentrePriorOfOthers(truth).maps([2, 3], SIZE)
    assert torch.equal(Reference(truth).baseline([2, 3], SIZE), expected)


def test_nothing_is_read_before_it_is_asked_for() -> None:
    truth = truth_of(PAIRS)
    reference = Reference(truth)
    recordings: FixationsInMemory = truth._fixation_data  # type: ignore[assignment]
    reference.others([0], SIZE)
    assert recordings.read == []
    reference.baseline([0], SIZE)
    assert sorted(recordings.read) == [0, 0, 1, 2]  # its own group's maps, and its own once more
