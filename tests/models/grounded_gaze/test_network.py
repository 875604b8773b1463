from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.freezing import freeze, is_frozen
from saltext.models.grounded_gaze import GroundedGaze
from saltext.models.memory import FeatureStore, Memory
from saltext.models.text import TinyText
from saltext.models.tranblend.bridge import ClassNameBridge
from saltext.models.transalnet import TimmEncoder

CONDITIONS = ("pure", "salient")
NAMES = ("dog", "lamp", "boat")


def network(**changes: Any) -> GroundedGaze:
    torch.manual_seed(0)
    encoder = TimmEncoder("test_efficientnet", frozen=True)
    parts: dict[str, Any] = {
        "text_encoder": freeze(TinyText(dim=12)),
        "bridge": ClassNameBridge(nn.Conv2d(encoder.channels[2], len(NAMES), 1), NAMES),
        "conditions": CONDITIONS,
        "width": 16,
        "layers": 1,
        "heads": 2,
        "grid": (2, 3),
    }
    built = GroundedGaze(encoder, **{**parts, **changes})
    with torch.no_grad():
        for parameter in built.members.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return built


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))


TEXTS = ("a dog", "", "the lamp")
TOLD = ("salient", "pure", "salient")


def test_frozen_parts_rest_from_the_beginning() -> None:
    fresh = network()
    assert all(is_frozen(part) and not part.training for part in (fresh.views, fresh.bridge))


def test_the_condition_changes_the_map(images: Tensor) -> None:
    told = network().eval()
    one, other = (told(images, TEXTS, [name] * 3) for name in CONDITIONS)
    assert ((one - other).abs().amax(dim=(1, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize(("told", "said"), [((), "0 came for 3"), (("pure", "whole", "pure"), "'whole'")])
def test_a_condition_that_is_missing_or_unknown_is_refused(images: Tensor, told: Sequence[str], said: str) -> None:
    with pytest.raises(ValueError, match=f"of pure, salient;.*{said}"):
        network()(images, TEXTS, told)


def test_maps_are_the_density_over_its_largest_value(images: Tensor) -> None:
    some = network().eval()
    logits = some(images, TEXTS, TOLD)
    maps = some.maps(logits)
    torch.testing.assert_close(maps.amax((1, 2, 3)), torch.ones(3))
    density = logits.flatten(1).softmax(1)
    torch.testing.assert_close(maps.flatten(1) / maps.flatten(1).sum(1, keepdim=True), density)


def test_several_members_train_side_by_side_and_predict_the_mean_of_their_densities(images: Tensor) -> None:
    three = network(members=3)
    alone = three.train()(images, TEXTS, TOLD)
    assert alone.shape == (3, 3, 8, 12)
    three.eval()
    mean = torch.stack([one.flatten(2).softmax(2) for one in _each(three, images)]).mean(0)
    torch.testing.assert_close(three(images, TEXTS, TOLD).flatten(2).softmax(2), mean)


def _each(several: GroundedGaze, images: Tensor) -> list[Tensor]:
    members = list(several.members)
    found = []
    for member in members:
        several.members = nn.ModuleList([member])
        found.append(several(images, TEXTS, TOLD))
    several.members = nn.ModuleList(members)
    return found


def test_what_is_remembered_gives_the_very_numbers_that_are_computed(images: Tensor, tmp_path: Path) -> None:
    some = network().eval()
    computed = some(images, TEXTS, TOLD)
    some.remember(Memory(FeatureStore(tmp_path / "features.sqlite")))
    first, again = some(images, TEXTS, TOLD), some(images, TEXTS, TOLD)
    torch.testing.assert_close(first, computed)
    assert torch.equal(first, again)
    assert some.memory is not None
    assert len(some.memory.store) == 9  # of each image views and meanings, and evidence for its text


def test_an_image_is_looked_at_once_whatever_is_read_about_it(images: Tensor, tmp_path: Path) -> None:
    some, looks = network().train(), []
    some.remember(Memory(FeatureStore(tmp_path / "features.sqlite")))
    some.views.encoder.register_forward_hook(lambda module, given, made: looks.append(len(given[0])))
    for text in ("a dog", "the lamp", "a dog"):
        some(images, [text] * 3, TOLD)
    assert looks == [3, 3]  # the small view and the full one


def test_evidence_reaches_the_map(images: Tensor) -> None:
    some = network().eval()
    some(images, TEXTS, TOLD).square().sum().backward()
    gradient = some.members[0].places.by_evidence.affine.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_wrong_sizes_are_named(images: Tensor) -> None:
    with pytest.raises(ConfigError, match="width 15 and 2 heads"):
        network(width=15)
    with pytest.raises(ConfigError, match="at least one condition"):
        network(conditions=())
