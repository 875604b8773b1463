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
from saltext.models.grounded_gaze.backbone import Backbone
from saltext.models.grounded_gaze.network import GroundedGaze
from saltext.models.grounded_gaze.readout import Readouts
from saltext.models.grounding.base import ImageGrounder
from saltext.models.grounding.class_names import ClassNameGrounder
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.normalize import Normalize, Renormalize
from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.text.tiny import TinyText

CONDITIONS = ("pure", "salient")
NAMES = ("dog", "lamp", "boat")


def backbone() -> Backbone:
    encoder = TimmEncoder("test_efficientnet", frozen=True)
    return Backbone(encoder, ClassNameGrounder(nn.Conv2d(encoder.channels[2], len(NAMES), 1), NAMES))


def network(**changes: Any) -> GroundedGaze:
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "backbones": {"one": backbone()},
        "text_encoder": freeze(TinyText(dim=12)),
        "conditions": CONDITIONS,
        "width": 16,
        "layers": 1,
        "heads": 2,
        "grid": (2, 3),
    }
    built = GroundedGaze(**{**parts, **changes})
    with torch.no_grad():
        for parameter in built.readouts.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return built


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))


TEXTS = ("a dog", "", "the lamp")
CONDITIONED_ON = ("salient", "pure", "salient")


def test_frozen_modules_are_in_evaluation_mode_from_the_beginning() -> None:
    one = sole_backbone(network())
    assert one.grounder is not None
    assert all(is_frozen(part) and not part.training for part in (one.two_scale, one.grounder))


def test_a_network_gains_nothing_in_its_first_pass(images: Tensor) -> None:
    some = network()
    before = [name for name, _ in some.named_buffers()]
    some(images, TEXTS, CONDITIONED_ON)
    assert [name for name, _ in some.named_buffers()] == before


def test_the_condition_changes_the_map(images: Tensor) -> None:
    some = network().eval()
    one, other = (some(images, TEXTS, [name] * 3) for name in CONDITIONS)
    assert ((one - other).abs().amax(dim=(1, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize(("conditions", "said"), [((), "got 0 for 3"), (("pure", "whole", "pure"), "'whole'")])
def test_a_condition_that_is_missing_or_unknown_is_refused(
    images: Tensor, conditions: Sequence[str], said: str
) -> None:
    with pytest.raises(ValueError, match=f"of pure, salient;.*{said}"):
        network()(images, TEXTS, conditions)


def test_maps_are_the_density_over_its_largest_value(images: Tensor) -> None:
    some = network().eval()
    logits = some(images, TEXTS, CONDITIONED_ON)
    maps = some.maps(logits)
    torch.testing.assert_close(maps.amax((1, 2, 3)), torch.ones(3))
    density = logits.flatten(1).softmax(1)
    torch.testing.assert_close(maps.flatten(1) / maps.flatten(1).sum(1, keepdim=True), density)


@pytest.mark.parametrize(("backbones", "readouts"), [(1, 3), (2, 1), (2, 2)])
def test_all_readouts_train_side_by_side_and_predict_the_mean_of_their_densities(
    images: Tensor, backbones: int, readouts: int
) -> None:
    several = network(
        backbones={f"backbone {number}": backbone() for number in range(backbones)}, readouts_per_backbone=readouts
    )
    alone = several.train()(images, TEXTS, CONDITIONED_ON)
    assert alone.shape == (3, backbones * readouts, 8, 12)
    several.eval()
    mean = torch.stack([one.flatten(2).softmax(2) for one in _each(several, images)]).mean(0)
    torch.testing.assert_close(several(images, TEXTS, CONDITIONED_ON).flatten(2).softmax(2), mean)


def _each(several: GroundedGaze, images: Tensor) -> list[Tensor]:
    backbones, groups = several.backbones, several.readouts
    found = []
    for name, group in groups.items():
        assert isinstance(group, Readouts)
        readouts = group.each
        several.backbones, several.readouts = nn.ModuleDict({name: backbones[name]}), nn.ModuleDict({name: group})
        for readout in readouts:
            group.each = nn.ModuleList([readout])
            found.append(several(images, TEXTS, CONDITIONED_ON))
        group.each = readouts
    several.backbones, several.readouts = backbones, groups
    return found


def sole_backbone(network: GroundedGaze) -> Backbone:
    (one,) = network.backbones.values()
    assert isinstance(one, Backbone)
    return one


def test_each_cell_of_a_prediction_is_the_mean_around_it(images: Tensor) -> None:
    sharp, smooth = network().eval(), network(smoothing=0.1).eval()
    one, other = (net(images, TEXTS, CONDITIONED_ON)[:, 0].exp().detach().numpy() for net in (sharp, smooth))
    sigma = 0.1 * 12  # cells
    around = np.exp(-((np.arange(12)[:, None] - np.arange(12)) ** 2) / (2 * sigma**2))
    weights = around[4][:, None][:8] * around[5][None]  # in the mean of the cell in row 4, column 5
    for image in range(3):
        np.testing.assert_allclose(other[image, 4, 5], np.average(one[image], weights=weights), rtol=1e-4)


def test_smoothing_by_condition_is_that_of_each_image_s_own_condition(images: Tensor) -> None:
    sharp, smooth = network().eval(), network(smoothing=0.1).eval()
    some = network(smoothing={"salient": 0.1}).eval()
    one, other, mixed = (net(images, TEXTS, CONDITIONED_ON) for net in (sharp, smooth, some))
    assert CONDITIONED_ON == ("salient", "pure", "salient")
    assert torch.equal(mixed[[0, 2]], other[[0, 2]])
    assert torch.equal(mixed[1], one[1])


def test_smoothing_of_a_condition_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="conditions among pure, salient; got whole"):
        network(smoothing={"whole": 0.1})


def test_what_is_trained_is_not_smoothed(images: Tensor) -> None:
    sharp, smooth = network().train(), network(smoothing=0.2).train()
    assert torch.equal(sharp(images, TEXTS, CONDITIONED_ON), smooth(images, TEXTS, CONDITIONED_ON))


def test_without_text_there_is_no_grounder(images: Tensor) -> None:
    blind = network(text_encoder=None).eval()
    assert sole_backbone(blind).grounder is None
    assert torch.equal(blind(images, TEXTS, CONDITIONED_ON), blind(images, TEXTS[::-1], CONDITIONED_ON))


def read_with(some: GroundedGaze, cache: FeatureCache, images: Tensor, texts: Sequence[str] = TEXTS) -> Tensor:
    """A pass over images that the cache can address."""
    source = ImageSource("three", 3)
    with addressed(cache, images, [ImageKey(source, row) for row in range(3)], nn.Identity()):
        logits: Tensor = some(images, texts, CONDITIONED_ON)
    return logits


def test_cached_features_give_the_very_numbers_that_are_computed(images: Tensor, tmp_path: Path) -> None:
    some, cache = network().eval(), FeatureCache(tmp_path)
    computed = some(images, TEXTS, CONDITIONED_ON)
    assert torch.equal(read_with(some, cache, images), computed)
    assert torch.equal(read_with(some, cache, images), computed)
    assert torch.equal(read_with(some, FeatureCache(tmp_path), images), computed)
    assert len(cache) == 9  # per image: features of two scales, semantic map, grounding maps of its text


def test_another_text_about_a_cached_image_has_grounding_maps_of_its_own(images: Tensor, tmp_path: Path) -> None:
    some, cache = network().eval(), FeatureCache(tmp_path)
    read_with(some, cache, images)
    for texts in (TEXTS[::-1], TEXTS):
        assert torch.equal(read_with(some, cache, images, texts), some(images, texts, CONDITIONED_ON))


def test_features_computed_in_inference_mode_are_cached_as_well(images: Tensor, tmp_path: Path) -> None:
    some, cache = network().eval(), FeatureCache(tmp_path)
    with torch.inference_mode():
        first = read_with(some, cache, images)
    assert torch.equal(read_with(some, cache, images), first)


def test_an_image_is_encoded_once_whatever_its_texts(images: Tensor, tmp_path: Path) -> None:
    some, looks, cache = network().train(), [], FeatureCache(tmp_path)
    sole_backbone(some).two_scale.encoder.register_forward_hook(lambda module, given, made: looks.append(len(given[0])))
    for text in ("a dog", "the lamp", "a dog"):
        read_with(some, cache, images, [text] * 3)
    assert looks == [1, 1] * 3  # at half size and at full size, image by image


def test_a_backbone_that_trains_is_run_every_time_and_reached_by_the_gradient(images: Tensor, tmp_path: Path) -> None:
    learning, cache = backbone(), FeatureCache(tmp_path)
    learning.two_scale.requires_grad_(True)
    some = network(backbones={"one": learning}).train()
    statistics = {name: value.clone() for name, value in learning.two_scale.named_buffers()}
    read_with(some, cache, images).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning.two_scale.parameters())
    assert all(torch.equal(value, statistics[name]) for name, value in learning.two_scale.named_buffers())
    assert len(cache) == 0


def test_grounding_maps_reaches_the_map(images: Tensor) -> None:
    some = network().eval()
    some(images, TEXTS, CONDITIONED_ON).square().sum().backward()
    (group,) = some.readouts.values()
    gradient = group.each[0].token_embed.film.affine.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_wrong_sizes_are_named(images: Tensor) -> None:
    with pytest.raises(ConfigError, match="width 15 and 2 heads"):
        network(width=15)
    with pytest.raises(ConfigError, match="at least one condition"):
        network(conditions=())
    with pytest.raises(ConfigError, match="0 backbones"):
        network(backbones={})


def expecting(mean: Sequence[float], std: Sequence[float]) -> Backbone:
    """A backbone, the same each time, whose encoder expects images of this mean and standard deviation."""
    torch.manual_seed(2)
    other = backbone()
    other.mean, other.std = (tuple(values) for values in (mean, std))
    return other


OWN = ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


def test_each_backbone_gets_images_normalised_for_itself(images: Tensor) -> None:
    torch.manual_seed(3)
    pixels = torch.randint(0, 256, images.shape, dtype=torch.uint8)
    alone = network(backbones={"other": expecting(*OWN)})
    both = network(backbones={"one": backbone(), "other": expecting(*OWN)})
    assert (both.mean, both.std) == (backbone().mean, backbone().std)
    given = [Normalize(each.mean, each.std)(pixels) for each in (alone, both)]
    features = [each.backbones["other"](x, TEXTS, None).coarse for each, x in zip((alone, both), given, strict=True)]
    torch.testing.assert_close(*features, rtol=1e-2, atol=1e-2)  # kept in half precision


def test_backbones_that_agree_get_the_very_images_of_the_network(images: Tensor) -> None:
    assert all(
        each.renormalize is None for each in network(backbones={"a": backbone(), "b": backbone()}).backbones.values()
    )


def test_converted_images_follow_the_normalisation_of_a_configuration(images: Tensor) -> None:
    pixels = torch.randint(0, 256, images.shape, dtype=torch.uint8)
    both = network(backbones={"one": backbone(), "other": expecting(*OWN)})
    usual = both.backbones["other"](Normalize(both.mean, both.std)(pixels), TEXTS, None).coarse
    unit = Normalize((0, 0, 0), (1, 1, 1), "bgr")
    both.set_input_normalization(unit)
    torch.testing.assert_close(both.backbones["other"](unit(pixels), TEXTS, None).coarse, usual, rtol=1e-2, atol=1e-2)


def test_a_backbone_s_own_normalisation_decides_its_cached_features(images: Tensor, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for std in ((0.5, 0.6, 0.7), (0.2, 0.2, 0.2)):
        some = network(backbones={"one": backbone(), "other": expecting(OWN[0], std)}).eval()
        assert torch.equal(read_with(some, cache, images), some(images, TEXTS, CONDITIONED_ON))


class Brightness(nn.Module):
    """An image encoder: RGB in [0, 1] at stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.renormalize = Renormalize((0, 0, 0), (1, 1, 1))
        self.scale = nn.Conv2d(1, 1, 1)  # something frozen, as an encoder's weights are
        self.calls = 0
        freeze(self)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        self.calls += len(images)
        return (nn.functional.avg_pool2d(self.renormalize(images), 16),)


class Colour(ImageGrounder):
    """Where the image has the colour that a text names."""

    num_maps = 2

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = Brightness()

    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        named = torch.tensor([[float(name in text) for name in ("red", "blue")] for text in texts])
        return activations[:, [0, 2]] * named[:, :, None, None]

    def semantic_dim(self, encoder: TextEncoder) -> int:
        return 3

    def semantic_map(self, activations: Tensor, encoder: TextEncoder) -> Tensor:
        return activations


def test_a_grounder_of_the_network_adds_its_maps_to_those_of_every_backbone(images: Tensor) -> None:
    several = network(
        backbones={"named": backbone(), "plain": Backbone(TimmEncoder("test_efficientnet", frozen=True))},
        grounders={"colour": Colour()},
    )
    channels = {
        name: (group.norm.grounding.num_features, group.norm.semantic.num_features)
        for name, group in several.readouts.items()
    }
    assert channels == {"named": (4 + 2, 12 + 3), "plain": (2, 3)}
    assert several.train()(images, TEXTS, CONDITIONED_ON).shape == (3, 2, 8, 12)
    assert {key.split(".")[0] for key in several.state_dict()} == {"backbones", "grounders", "readouts", "text_encoder"}


def test_texts_that_differ_only_in_what_a_grounder_reads_have_other_maps(images: Tensor) -> None:
    some = network(backbones={"plain": Backbone(TimmEncoder("test_efficientnet", frozen=True))}, text_encoder=Deaf())
    grounded = network(
        backbones={"plain": Backbone(TimmEncoder("test_efficientnet", frozen=True))},
        text_encoder=Deaf(),
        grounders={"colour": Colour()},
    )
    for net, differs in ((some.eval(), False), (grounded.eval(), True)):
        one, other = (net(images, [text] * 3, CONDITIONED_ON) for text in ("red", "blue"))
        assert torch.equal(one, other) != differs


class Deaf(TextEncoder):
    """Gives every text the same features."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.ones(1, 4), requires_grad=False)

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        pooled = self.features.expand(len(texts), -1)
        return TextFeatures(pooled, pooled[:, None], torch.ones(len(texts), 1, dtype=torch.bool))


def test_a_grounder_encodes_an_image_once_whatever_its_texts_and_backbones(images: Tensor, tmp_path: Path) -> None:
    colour, cache = Colour(), FeatureCache(tmp_path)
    some = network(backbones={"one": backbone(), "two": backbone()}, grounders={"colour": colour}).eval()
    computed = some(images, ["red", "blue", ""], CONDITIONED_ON)
    assert colour.image_encoder.calls == 3
    assert torch.equal(read_with(some, cache, images, ["red", "blue", ""]), computed)
    for texts in (["blue", "red", ""], ["red", "blue", ""]):
        assert torch.equal(read_with(some, cache, images, texts), some(images, texts, CONDITIONED_ON))
    assert colour.image_encoder.calls == 3 + 3 + 3 * 2  # computed, first read, computed twice
    assert torch.equal(read_with(some, FeatureCache(tmp_path), images, ["red", "blue", ""]), computed)


def test_a_grounder_sees_the_pixels_however_images_are_normalised(images: Tensor) -> None:
    some = network(grounders={"colour": Colour()})
    pixels = torch.randint(0, 256, images.shape, dtype=torch.uint8)
    wanted = nn.functional.avg_pool2d(pixels / 255, 16)
    for normalize in (Normalize(some.mean, some.std), Normalize((0, 0, 0), (1, 1, 1), "bgr")):
        some.set_input_normalization(normalize)
        torch.testing.assert_close(some.grounders["colour"].image_encoder(normalize(pixels))[0], wanted)


def test_a_grounder_in_the_wrong_group_is_refused_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"Colour, which encodes the images itself; .* model\.grounders"):
        Backbone(TimmEncoder("test_efficientnet", frozen=True), Colour())
    with pytest.raises(ConfigError, match=r"got names, which read the features of a classifier; .* model\.backbones"):
        network(grounders={"names": ClassNameGrounder(nn.Identity(), NAMES)})


def test_without_text_the_network_s_own_grounders_are_gone() -> None:
    assert not network(text_encoder=None, grounders={"colour": Colour()}).grounders


def test_faster_inference_has_cached_features_of_its_own_and_nearly_the_same_maps(
    images: Tensor, tmp_path: Path
) -> None:
    some, cache = network().eval(), FeatureCache(tmp_path)
    reference = read_with(some, cache, images)
    entries = len(cache)
    some.set_inference("fp32")
    fast = read_with(some, cache, images)
    assert len(cache) == 2 * entries
    assert torch.equal(fast, read_with(some, FeatureCache(tmp_path), images))
    torch.testing.assert_close(fast, reference, rtol=1e-3, atol=1e-3)


def test_the_prior_and_spread_of_a_condition_change_nothing_at_first_and_then_its_predictions_alone(
    images: Tensor,
) -> None:
    plain, own = network().eval(), network(condition_prior=True).eval()
    before = plain(images, TEXTS, CONDITIONED_ON)
    torch.testing.assert_close(own(images, TEXTS, CONDITIONED_ON), before)
    assert own.condition_prior is not None
    with torch.no_grad():
        own.condition_prior.log_density[0, 0, 0, 0] = 9.0  # of pure, at the upper left
        own.condition_prior.log_scale[1] = 1.0  # of salient
    after = own(images, TEXTS, CONDITIONED_ON)
    for row, condition in enumerate(CONDITIONED_ON):
        if condition == "pure":
            assert after[row].flatten().argmax() == 0
        else:
            spread = before[row].flatten() * torch.e
            torch.testing.assert_close(after[row].flatten().softmax(0), spread.softmax(0))
