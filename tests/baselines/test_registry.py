import subprocess
import sys

import pytest
import torch

from saltext.baselines import BASELINES, Uniform
from saltext.baselines.base import Baseline
from tests.data.in_memory import random_pair, truth_of

TASKS = ["pure", "general", "salient", "non_salient"]
PAIRS = [random_pair(image, task, number) for number, (image, task) in enumerate((i, t) for i in "abc" for t in TASKS)]


def test_the_registry_knows_the_baselines_of_every_table_in_order() -> None:
    assert list(BASELINES) == [
        "uniform",
        "centre_prior",
        "centre_prior_others",
        "human_pure",
        "human_others",
        "split_half",
    ]
    assert len({baseline.title for baseline in BASELINES.values()}) == len(BASELINES)


def test_a_uniform_map_knows_nothing() -> None:
    assert torch.equal(Uniform(truth_of(PAIRS)).maps([1, 2], (3, 4)), torch.ones(2, 1, 3, 4))


@pytest.fixture(params=BASELINES)
def baseline(request: pytest.FixtureRequest) -> Baseline:
    return BASELINES[request.param](truth_of(PAIRS), [0, 1, 2, 3])


@pytest.mark.parametrize("size", [(30, 40), (15, 20), (47, 51)])
def test_maps_have_the_size_asked_for_and_are_densities_up_to_scale(baseline: Baseline, size: tuple[int, int]) -> None:
    covered = [place for place in range(12) if baseline.covers(place)]
    assert covered
    maps = baseline.maps(covered, size)
    assert maps.shape == (len(covered), 1, *size)
    assert maps.dtype == torch.float32
    assert bool(torch.isfinite(maps).all())
    assert float(maps.min()) >= 0
    assert bool((maps.sum((1, 2, 3)) > 0).all())


def test_a_map_does_not_depend_on_its_batch_mates(baseline: Baseline) -> None:
    covered = [place for place in range(12) if baseline.covers(place)]
    alone = torch.cat([baseline.maps([place], (30, 40)) for place in covered])
    torch.testing.assert_close(baseline.maps(covered, (30, 40)), alone)


def test_only_split_half_is_scored_against_a_part_of_the_truth(baseline: Baseline) -> None:
    assert (baseline.ground_truth([1], (30, 40)) is not None) == (baseline.name == "split_half")


def test_baselines_load_neither_lightning_nor_hydra() -> None:
    code = "import sys, saltext.baselines; print({'lightning', 'hydra'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
