import pytest
import torch

from saltext.errors import DataError
from saltext.models.baselines import CentrePrior


def test_every_map_counts_the_same_whatever_its_scale() -> None:
    maps = torch.tensor([[1.0, 1.0], [0.0, 300.0]]).view(2, 1, 1, 2)
    prior = CentrePrior().fit([(maps, ["pure", "pure"])])
    # Mean of (1/2, 1/2) and (0, 1).
    torch.testing.assert_close(prior.predict(["pure"]), torch.tensor([0.25, 0.75]).view(1, 1, 1, 2))


def test_each_task_has_its_own_prior() -> None:
    maps = torch.eye(2).view(2, 1, 1, 2)
    prior = CentrePrior().fit([(maps, ["pure", "salient"])])
    assert torch.equal(prior.predict(["salient", "pure", "salient"]), maps[[1, 0, 1]])
    assert prior.tasks == ["pure", "salient"]


def test_batches_do_not_matter() -> None:
    maps = torch.rand(6, 1, 3, 4)
    tasks = ["a", "b", "a", "a", "b", "b"]
    whole = CentrePrior().fit([(maps, tasks)])
    parts = CentrePrior().fit([(maps[:2], tasks[:2]), (maps[2:], tasks[2:])])
    torch.testing.assert_close(whole.predict(["a", "b"]), parts.predict(["a", "b"]))


def test_fitting_again_forgets() -> None:
    prior = CentrePrior().fit([(torch.ones(1, 1, 2, 2), ["old"])])
    assert prior.fit([(torch.ones(1, 1, 3, 3), ["new"])]).tasks == ["new"]


def test_an_unseen_task_is_named_with_the_known_ones() -> None:
    prior = CentrePrior().fit([(torch.ones(1, 1, 2, 2), ["pure"])])
    with pytest.raises(DataError, match=r"\['salient'\].*\['pure'\]"):
        prior.predict(["pure", "salient"])


def test_an_empty_map_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 training maps sum to zero"):
        CentrePrior().update(torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)]), ["a", "a"])


def test_shapes_that_do_not_fit_are_refused() -> None:
    prior = CentrePrior().fit([(torch.ones(1, 1, 2, 2), ["pure"])])
    with pytest.raises(ValueError, match=r"density of shape \(2, 1, height, width\)"):
        prior.update(torch.ones(1, 1, 2, 2), ["a", "b"])
    with pytest.raises(ValueError, match="maps of one size expected"):
        prior.update(torch.ones(1, 1, 3, 3), ["pure"])
