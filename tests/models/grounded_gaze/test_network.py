from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey, ImageSource
from saltext.errors import ConfigError
from saltext.models.feature_cache import FeatureCache, addressed
from saltext.models.freezing import freeze, is_frozen
from saltext.models.grounded_gaze.eye import Eye
from saltext.models.grounded_gaze.member import Members
from saltext.models.grounded_gaze.network import GroundedGaze
from saltext.models.grounding.class_names import ClassNameBridge
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.text.tiny import TinyText

CONDITIONS = ("pure", "salient")
NAMES = ("dog", "lamp", "boat")


def eye() -> Eye:
    encoder = TimmEncoder("test_efficientnet", frozen=True)
    return Eye(encoder, ClassNameBridge(nn.Conv2d(encoder.channels[2], len(NAMES), 1), NAMES))


def network(**changes: Any) -> GroundedGaze:
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "eyes": {"one": eye()},
        "text_encoder": freeze(TinyText(dim=12)),
        "conditions": CONDITIONS,
        "width": 16,
        "layers": 1,
        "heads": 2,
        "grid": (2, 3),
    }
    built = GroundedGaze(**{**parts, **changes})
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
    one = sole_eye(network())
    assert one.bridge is not None
    assert all(is_frozen(part) and not part.training for part in (one.views, one.bridge))


def test_a_network_gains_nothing_in_its_first_pass(images: Tensor) -> None:
    some = network()
    before = [name for name, _ in some.named_buffers()]
    some(images, TEXTS, TOLD)
    assert [name for name, _ in some.named_buffers()] == before


def test_the_condition_changes_the_map(images: Tensor) -> None:
    told = network().eval()
    one, other = (told(images, TEXTS, [name] * 3) for name in CONDITIONS)
    assert ((one - other).abs().amax(dim=(1, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize(("told", "said"), [((), "got 0 for 3"), (("pure", "whole", "pure"), "'whole'")])
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


@pytest.mark.parametrize(("eyes", "members"), [(1, 3), (2, 1), (2, 2)])
def test_all_members_train_side_by_side_and_predict_the_mean_of_their_densities(
    images: Tensor, eyes: int, members: int
) -> None:
    several = network(eyes={f"eye {number}": eye() for number in range(eyes)}, members=members)
    alone = several.train()(images, TEXTS, TOLD)
    assert alone.shape == (3, eyes * members, 8, 12)
    several.eval()
    mean = torch.stack([one.flatten(2).softmax(2) for one in _each(several, images)]).mean(0)
    torch.testing.assert_close(several(images, TEXTS, TOLD).flatten(2).softmax(2), mean)


def _each(several: GroundedGaze, images: Tensor) -> list[Tensor]:
    eyes, groups = several.eyes, several.members
    found = []
    for name, group in groups.items():
        assert isinstance(group, Members)
        members = group.each
        several.eyes, several.members = nn.ModuleDict({name: eyes[name]}), nn.ModuleDict({name: group})
        for member in members:
            group.each = nn.ModuleList([member])
            found.append(several(images, TEXTS, TOLD))
        group.each = members
    several.eyes, several.members = eyes, groups
    return found


def sole_eye(network: GroundedGaze) -> Eye:
    (one,) = network.eyes.values()
    assert isinstance(one, Eye)
    return one


def test_each_cell_of_a_prediction_is_the_mean_around_it(images: Tensor) -> None:
    sharp, smooth = network().eval(), network(smoothing=0.1).eval()
    one, other = (net(images, TEXTS, TOLD)[:, 0].exp().detach().numpy() for net in (sharp, smooth))
    sigma = 0.1 * 12  # cells
    around = np.exp(-((np.arange(12)[:, None] - np.arange(12)) ** 2) / (2 * sigma**2))
    weights = around[4][:, None][:8] * around[5][None]  # in the mean of the cell in row 4, column 5
    for image in range(3):
        np.testing.assert_allclose(other[image, 4, 5], np.average(one[image], weights=weights), rtol=1e-4)


def test_what_is_trained_is_not_smoothed(images: Tensor) -> None:
    sharp, smooth = network().train(), network(smoothing=0.2).train()
    assert torch.equal(sharp(images, TEXTS, TOLD), smooth(images, TEXTS, TOLD))


def test_without_text_nothing_is_asked_of_the_class_names(images: Tensor) -> None:
    blind = network(text_encoder=None).eval()
    assert sole_eye(blind).bridge is None
    assert torch.equal(blind(images, TEXTS, TOLD), blind(images, TEXTS[::-1], TOLD))


def read_with(some: GroundedGaze, cache: FeatureCache, images: Tensor, texts: Sequence[str] = TEXTS) -> Tensor:
    """A pass over images that the cache can address."""
    source = ImageSource("three", 3)
    with addressed(cache, images, [ImageKey(source, row) for row in range(3)], nn.Identity()):
        logits: Tensor = some(images, texts, TOLD)
    return logits


def test_cached_features_give_the_very_numbers_that_are_computed(images: Tensor, tmp_path: Path) -> None:
    some, cache = network().eval(), FeatureCache(tmp_path)
    computed = some(images, TEXTS, TOLD)
    assert torch.equal(read_with(some, cache, images), computed)
    assert torch.equal(read_with(some, cache, images), computed)
    assert torch.equal(read_with(some, FeatureCache(tmp_path), images), computed)
    assert len(cache) == 9  # of each image views and meanings, and evidence for its text


def test_another_text_about_a_cached_image_has_evidence_of_its_own(images: Tensor, tmp_path: Path) -> None:
    some, cache = network().eval(), FeatureCache(tmp_path)
    read_with(some, cache, images)
    for texts in (TEXTS[::-1], TEXTS):
        assert torch.equal(read_with(some, cache, images, texts), some(images, texts, TOLD))


def test_what_is_first_seen_in_inference_is_cached_as_well(images: Tensor, tmp_path: Path) -> None:
    some, cache = network().eval(), FeatureCache(tmp_path)
    with torch.inference_mode():
        first = read_with(some, cache, images)
    assert torch.equal(read_with(some, cache, images), first)


def test_an_image_is_looked_at_once_whatever_is_read_about_it(images: Tensor, tmp_path: Path) -> None:
    some, looks, cache = network().train(), [], FeatureCache(tmp_path)
    sole_eye(some).views.encoder.register_forward_hook(lambda module, given, made: looks.append(len(given[0])))
    for text in ("a dog", "the lamp", "a dog"):
        read_with(some, cache, images, [text] * 3)
    assert looks == [1, 1] * 3  # the small view and the full one, image by image


def test_an_eye_that_trains_is_run_every_time_and_reached_by_the_gradient(images: Tensor, tmp_path: Path) -> None:
    learning, cache = eye(), FeatureCache(tmp_path)
    learning.views.requires_grad_(True)
    some = network(eyes={"one": learning}).train()
    statistics = {name: value.clone() for name, value in learning.views.named_buffers()}
    read_with(some, cache, images).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning.views.parameters())
    assert all(torch.equal(value, statistics[name]) for name, value in learning.views.named_buffers())
    assert len(cache) == 0


def test_evidence_reaches_the_map(images: Tensor) -> None:
    some = network().eval()
    some(images, TEXTS, TOLD).square().sum().backward()
    (group,) = some.members.values()
    gradient = group.each[0].places.by_evidence.affine.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_wrong_sizes_are_named(images: Tensor) -> None:
    with pytest.raises(ConfigError, match="width 15 and 2 heads"):
        network(width=15)
    with pytest.raises(ConfigError, match="at least one condition"):
        network(conditions=())
    with pytest.raises(ConfigError, match="0 eyes"):
        network(eyes={})


def test_eyes_that_want_images_normalised_in_different_ways_are_refused() -> None:
    other = eye()
    other.mean = (0.1, 0.2, 0.3)
    with pytest.raises(ConfigError, match=r"normalised alike.*\(0\.1, 0\.2, 0\.3\)"):
        network(eyes={"one": eye(), "other": other})
