import numpy as np
import pytest
import torch
from torch.nn import functional as F

from saltext.baselines import CentrePrior, CentrePriorOfOthers
from saltext.baselines.centre_prior import GRID, LeaveOneImageOut
from saltext.errors import DataError
from tests.data.in_memory import FixationsInMemory, PairInMemory, random_pair, truth_of

PAIRS = [
    *(random_pair(name, "pure", place) for place, name in enumerate("abcd")),
    *(random_pair(name, "salient", place + 10, size=(40, 30)) for place, name in enumerate("abc")),
]


def _mean(places: list[int], size: tuple[int, int]) -> torch.Tensor:
    maps = [torch.from_numpy(PAIRS[place].density.astype(np.float64))[None, None] for place in places]
    small = [F.interpolate(m, GRID, mode="bilinear", antialias=True) for m in maps]
    mean = torch.stack([m / m.sum() for m in small]).mean(0)
    return F.interpolate(mean, size, mode="bilinear", antialias=True)


def test_the_prior_is_the_mean_of_the_training_maps_of_the_task() -> None:
    prior = CentrePrior(truth_of(PAIRS), [0, 1, 4, 6])
    maps = prior.maps([3, 5], (30, 40))
    assert maps.shape == (2, 1, 30, 40)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.double(), torch.cat([_mean([0, 1], (30, 40)), _mean([4, 6], (30, 40))]))


def test_every_training_map_counts_the_same_whatever_its_scale() -> None:
    loud = PairInMemory("loud", "pure", PAIRS[0].density.astype(np.float32) * 1000, [(0, 0)])
    prior = CentrePrior(truth_of([*PAIRS, loud]), [1, 7])
    torch.testing.assert_close(prior.maps([0], (30, 40)).double(), _mean([0, 1], (30, 40)), atol=1e-9, rtol=1e-4)


def test_tasks_without_a_training_pair_are_not_covered() -> None:
    prior = CentrePrior(truth_of(PAIRS), [0, 1])
    assert [prior.covers(place) for place in (2, 4)] == [True, False]
    with pytest.raises(DataError, match="no training pair of salient"):
        prior.maps([4], (30, 40))


def test_a_map_without_content_is_named() -> None:
    empty = PairInMemory("empty", "pure", np.zeros((30, 40), np.uint8), [(0, 0)])
    with pytest.raises(DataError, match="the map of empty-pure is zero everywhere"):
        CentrePrior(truth_of([empty]), [0]).maps([0], (30, 40))


def test_leaving_an_image_out_equals_the_mean_of_the_others() -> None:
    prior = CentrePriorOfOthers(truth_of(PAIRS))
    maps = prior.maps([1, 5], (40, 30))
    torch.testing.assert_close(maps.double(), torch.cat([_mean([0, 2, 3], (40, 30)), _mean([4, 6], (40, 30))]))


def test_every_pair_of_the_image_in_the_group_is_left_out() -> None:
    prior = LeaveOneImageOut(truth_of(PAIRS), ["all"] * len(PAIRS))
    torch.testing.assert_close(prior.maps([0], (30, 40)).double(), _mean([1, 2, 3, 5, 6], (30, 40)))


def test_rounding_leaves_no_negative_density_where_no_other_map_reaches() -> None:
    corner = np.zeros((30, 40), np.uint8)
    corner[29, 39] = 3
    own = [random_pair("a", task, place) for place, task in enumerate(("pure", "general", "salient"))]
    truth = truth_of([*own, PairInMemory("b", "pure", corner, [(0, 0)])])
    # Three maps are summed in one order and taken off in another.
    prior = LeaveOneImageOut(truth, ["all"] * 4).maps([2], GRID)
    assert float(prior[0, 0, 0, 0]) == pytest.approx(0, abs=1e-12)
    assert float(prior.min()) >= 0


def test_an_image_alone_has_no_prior() -> None:
    prior = CentrePriorOfOthers(truth_of(PAIRS[:1]))
    assert not prior.covers(0)
    assert not prior.maps([0], (30, 40)).any()


def test_a_prediction_reads_no_map_but_its_own_once_the_sums_are_there() -> None:
    truth = truth_of(PAIRS)
    prior = CentrePriorOfOthers(truth)
    prior.maps([0], (30, 40))
    recordings: FixationsInMemory = truth._fixation_data  # type: ignore[assignment]
    recordings.read.clear()
    prior.maps([1, 2], (30, 40))
    assert recordings.read == [1, 2]
