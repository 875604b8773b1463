from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.density import density_from_points
from saltext.data.ground_truth import GroundTruth, fitted_blur
from saltext.metrics import FixationPool
from tests.data.in_memory import FixationsInMemory, PairInMemory, random_pair, truth_of

PAIRS = [
    random_pair("a", "pure", 0),
    random_pair("a", "whole", 1),
    random_pair("b", "pure", 2, size=(20, 24)),
    random_pair("c", "whole", 3),
]


def test_siblings_are_the_other_pairs_of_the_image() -> None:
    truth = truth_of(PAIRS)
    assert truth.siblings(0) == {"whole": 1}
    assert truth.siblings(1) == {"pure": 0}
    assert truth.siblings(2) == {}


def test_free_viewing_is_another_viewing_of_the_image_without_a_text() -> None:
    free = [replace(random_pair(image_id, "free", seed), text="") for seed, image_id in enumerate("ab")]
    pairs = [free[0], random_pair("a", "guided", 2), free[1]]
    truth = truth_of(pairs)
    assert [truth.free_viewing(place) for place in range(3)] == [None, 0, None]


def test_a_blur_is_fitted_to_the_maps_of_a_data_set() -> None:
    size = (60, 80)
    pairs = []
    for number in range(7):
        rng = np.random.default_rng(number)
        points = [(int(rng.integers(0, 60)), int(rng.integers(0, 80))) for _ in range(20)]
        density = density_from_points([torch.tensor(points)], size, 4.0)[0, 0].numpy()
        pairs.append(PairInMemory(str(number), "pure", density, points))
    assert fitted_blur(FixationsInMemory(pairs))((30, 40)) == pytest.approx(2.0, rel=0.03)


def test_tasks_list_their_pairs() -> None:
    assert truth_of(PAIRS).tasks == {"pure": [0, 2], "whole": [1, 3]}


def test_eight_bit_maps_become_fractions_and_floats_stay() -> None:
    floats = PairInMemory("f", "pure", np.full((30, 40), 7.5, np.float32), [(0, 0)])
    density = truth_of([PAIRS[0], floats]).density([0, 1])
    np.testing.assert_allclose(density[0, 0], PAIRS[0].density / 255, rtol=1e-6)
    assert bool((density[1] == 7.5).all())


def test_maps_of_two_sizes_do_not_stack() -> None:
    with pytest.raises(ValueError, match=r"\(20, 24\), \(30, 40\).*one size at a time"):
        truth_of(PAIRS).density([0, 2])


def test_fixations_move_as_the_pool_of_other_images_moves_them() -> None:
    truth = truth_of(PAIRS)
    pool = FixationPool([torch.from_numpy(truth.points(0)).long()], torch.tensor([[30, 40]]), ["a"], ["pure"])
    expected = pool.others(["elsewhere"], ["pure"], (17, 90))
    assert sorted(truth.fixations([0], (17, 90)).each.index[0].tolist()) == sorted(expected.each.index[0].tolist())


def test_fixations_at_native_size_are_the_recorded_ones() -> None:
    points = truth_of(PAIRS).fixations([2], (20, 24)).each.index[0]
    assert points.tolist() == [y * 24 + x for y, x in PAIRS[2].points]


def test_other_fixations_are_blurred_as_the_data_sets_maps_were() -> None:
    mask = np.zeros((30, 40))
    mask[11, 13] = 1
    expected = gaussian_filter(mask, 3.0, mode="constant", truncate=30)
    blurred = truth_of(PAIRS).blurred([torch.tensor([[11, 13]])], (30, 40))
    np.testing.assert_allclose(blurred[0, 0], expected / expected.max(), atol=1e-6)


def test_recordings_of_other_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="4 pairs and 3 recordings"):
        GroundTruth(PAIRS, FixationsInMemory(PAIRS[:3]))


def test_a_decoded_cache_holds_recordings(data: SaliencyDataModule) -> None:
    truth = GroundTruth(data.pairs, data.cache)
    assert len(truth) == len(data.pairs)
    assert truth.density([3]).shape == (1, 1, *data.cache.native_size(3))
    assert {data.pairs[place].image_id for place in truth.siblings(3).values()} == {data.pairs[3].image_id}
