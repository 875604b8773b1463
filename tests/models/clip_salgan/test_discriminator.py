from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from saltext.errors import ConfigError
from saltext.models.clip_salgan.discriminator import Discriminator
from tests.reference import formula

ATOL = 1e-5
NO_IMAGE = torch.empty(1, 0)


@pytest.fixture(scope="module")
def published() -> Discriminator:
    net = Discriminator(sees_image=False)
    formula.fill(net)
    return net


@pytest.mark.golden
def test_state_dict_has_the_published_names_and_shapes_in_order(golden: Path, published: Discriminator) -> None:
    wanted = formula.published_shapes(golden / "keys_clipsalgan.json", "modules", "Discriminator")
    assert [(name, tuple(value.shape)) for name, value in published.state_dict().items()] == list(wanted.items())


@pytest.mark.golden
def test_probabilities_equal_the_authors(golden: Path, published: Discriminator) -> None:
    def logit_of(map_: Tensor) -> Tensor:
        with torch.no_grad():
            return published(map_, NO_IMAGE)

    with np.load(golden / "clipsalgan.npz") as wanted:
        uniform = logit_of(formula.uniform(7, (1, 1, 256, 256)))
        np.testing.assert_allclose(uniform.numpy().ravel(), wanted["disc_on_uniform_logit"].ravel(), rtol=0, atol=ATOL)
        for row in (0, 1):
            probability = logit_of(torch.from_numpy(wanted[f"gen_text{row}"])[None, None]).sigmoid()
            np.testing.assert_allclose(probability.numpy(), wanted[f"disc_on_gen_text{row}"], rtol=0, atol=ATOL)


def test_the_image_changes_the_logit_exactly_where_it_is_an_input() -> None:
    maps, one, other = torch.rand(2, 1, 16, 24), torch.randn(2, 3, 64, 96), torch.randn(2, 3, 64, 96)
    for sees in (True, False):
        net = Discriminator((16, 24), sees_image=sees)
        assert torch.equal(net(maps, one), net(maps, other)) is not sees


def test_a_logit_does_not_depend_on_batch_mates() -> None:
    net = Discriminator((16, 24)).train()
    maps, images = torch.rand(3, 1, 16, 24), torch.randn(3, 3, 16, 24)
    together = net(maps, images)
    for row in range(3):
        torch.testing.assert_close(net(maps[row : row + 1], images[row : row + 1])[0], together[row])


@pytest.mark.parametrize("size", [(16, 24), (15, 23), (40, 60)])
def test_maps_of_any_size_have_a_logit(size: tuple[int, int]) -> None:
    logits = Discriminator((16, 24))(torch.rand(2, 1, *size), torch.randn(2, 3, 50, 70))
    assert tuple(logits.shape) == (2, 1)


def test_a_map_of_another_size_has_the_logit_of_the_same_map_resized() -> None:
    net = Discriminator((16, 24), sees_image=False)
    flat = torch.full((1, 1, 16, 24), 0.3)
    torch.testing.assert_close(net(flat, NO_IMAGE), net(torch.full((1, 1, 70, 90), 0.3), NO_IMAGE))


def test_every_wrong_input_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 3, 16, 24\); expected one image per map.*got \(3, 3, 16, 24\)"):
        Discriminator((16, 24))(torch.rand(2, 3, 16, 24), torch.rand(3, 3, 16, 24))


@pytest.mark.parametrize("sizes", [{"size": (1, 8)}, {"size": (8, 8, 8)}, {"channels": (64,)}])
def test_impossible_sizes_are_refused(sizes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="expected two numbers"):
        Discriminator(**sizes)  # type: ignore[arg-type]
