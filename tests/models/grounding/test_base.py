"""Grounding maps as a network gets them, computed or read from the feature cache."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey, ImageSource
from saltext.models.feature_cache import FeatureCache, addressed
from saltext.models.freezing import freeze
from saltext.models.grounding.base import ClassWeights, Grounder, Grounding, cosines, ground
from saltext.models.text.base import TextEncoder
from saltext.models.text.tiny import TinyText
from tests.models.semantic_feature import SemanticFeature

TEXTS = ["a", "bb", "ccc"]


class Letters(SemanticFeature):
    """The feature times the length of the text; counts texts it has grounded, and images it has looked at."""

    num_maps = 2

    def __init__(self, has_semantic: bool = True) -> None:
        super().__init__(has_semantic)
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)
        self.grounded = 0
        self.looked_at = 0

    def activations(self, features: Tensor) -> Tensor:
        self.looked_at += len(features)
        return features

    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        self.grounded += len(texts)
        lengths = torch.tensor([float(len(text)) for text in texts])
        return self.weight * activations[:, :2] * lengths[:, None, None, None]


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 4, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoder() -> TextEncoder:
    return freeze(TinyText(dim=4))


def cached(
    cache: FeatureCache, grounder: Grounder, images: Tensor, encoder: TextEncoder, texts: list[str]
) -> Grounding:
    source = ImageSource("three", 3)
    with addressed(cache, images, [ImageKey(source, row) for row in range(3)], nn.Identity()):
        return ground(grounder, lambda: images, images, texts, encoder)


def test_maps_have_the_precision_of_the_cache_and_the_dtype_of_the_network(
    images: Tensor, encoder: TextEncoder
) -> None:
    found = ground(Letters(), lambda: images, images, TEXTS, encoder)
    lengths = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None]
    assert torch.equal(found.maps, (images[:, :2] * lengths).half().float())
    assert found.semantic is not None
    assert torch.equal(found.semantic, images.half().float())
    assert found.maps.dtype == found.semantic.dtype == torch.float32


def test_a_grounder_without_a_semantic_map_is_not_asked_for_one(images: Tensor, encoder: TextEncoder) -> None:
    assert ground(Letters(has_semantic=False), lambda: images, images, TEXTS, encoder).semantic is None


def test_a_text_is_grounded_once_in_an_image(images: Tensor, encoder: TextEncoder, tmp_path: Path) -> None:
    grounder, cache = Letters().eval(), FeatureCache(tmp_path)
    first = cached(cache, grounder, images, encoder, TEXTS)
    again = cached(cache, grounder, images, encoder, TEXTS)
    assert grounder.grounded == 3
    assert torch.equal(first.maps, again.maps)
    other = cached(cache, grounder, images, encoder, ["a", "cc", "ccc"])
    assert grounder.grounded == 3 + 1
    assert torch.equal(other.maps, ground(grounder, lambda: images, images, ["a", "cc", "ccc"], encoder).maps)


def test_what_texts_share_is_computed_once_in_an_image(images: Tensor, encoder: TextEncoder, tmp_path: Path) -> None:
    grounder, source = Letters().eval(), ImageSource("three", 3)
    pictures, texts = images[[0, 1, 0, 0]], ["a", "bb", "ccc", "a"]
    keys = [ImageKey(source, row) for row in (0, 1, 0, 0)]
    cache = FeatureCache(tmp_path)
    cache.expect_texts({keys[1]: ["bb", "dddd"]})
    with addressed(cache, pictures, keys, nn.Identity()):
        found = ground(grounder, lambda: pictures, pictures, texts, encoder)
    assert grounder.grounded == 4  # image 0: a, ccc; image 1: bb, dddd
    assert grounder.looked_at == 2
    expected = ground(Letters(), lambda: pictures, pictures, texts, encoder)
    assert torch.equal(found.maps, expected.maps)


@pytest.mark.parametrize("part", ["grounder", "encoder"])
def test_maps_of_modules_that_train_are_computed_every_time(
    images: Tensor, encoder: TextEncoder, tmp_path: Path, part: str
) -> None:
    grounder, cache = Letters().eval(), FeatureCache(tmp_path)
    (grounder if part == "grounder" else encoder).requires_grad_(True)
    for _ in range(2):
        cached(cache, grounder, images, encoder, TEXTS)
    assert grounder.grounded == 6
    assert len(cache) == 0


def test_a_base_grounder_has_no_semantic_map_and_no_maps(images: Tensor, encoder: TextEncoder) -> None:
    assert Grounder().semantic_dim(encoder) == 0
    with pytest.raises(NotImplementedError):
        Grounder()(images, TEXTS, encoder)


def test_features_are_asked_for_only_where_maps_are_not_cached(images: Tensor, encoder: TextEncoder) -> None:
    grounder, cache, asked = Letters().eval(), FeatureCache(), []
    keys = [ImageKey(ImageSource("three", 3), row) for row in range(3)]

    def features() -> Tensor:
        asked.append(1)
        return images

    def grounded(*texts: str) -> Grounding:
        with addressed(cache, images, keys, nn.Identity()):
            return ground(grounder, features, images, texts, encoder)

    first = grounded("a", "bb", "ccc")
    assert len(asked) == 1  # for both kinds of maps
    again = grounded("a", "bb", "ccc")
    assert len(asked) == 1
    assert torch.equal(again.maps, first.maps)
    grounded("a", "bb", "cccc")
    assert len(asked) == 2


def test_cosines_are_those_of_directions() -> None:
    encoder = TinyText(dim=8)
    table = cosines(encoder, ["a dog", "a cup", ""], ["a cup", "a dog"])
    assert table.shape == (3, 2)
    torch.testing.assert_close(table[[0, 1], [1, 0]], torch.ones(2))
    assert (table.abs() <= 1 + 1e-6).all()


def test_class_weights_are_computed_once_for_a_text_while_the_encoder_stays_as_it_is() -> None:
    asked: list[list[str]] = []

    def weigh(texts: list[str]) -> dict[str, Tensor]:
        asked.append(texts)
        return {text: torch.full((2, 5), float(len(text))) for text in texts}

    kept, encoder = ClassWeights(), freeze(TinyText(dim=4))
    assert kept.of(["a", "bb", "a"], encoder, weigh)[:, 0, 0].tolist() == [1, 2, 1]
    kept.of(["bb"], encoder, weigh)
    assert asked == [["a", "bb"]]
    encoder.load_state_dict({name: value + 1 for name, value in encoder.state_dict().items()})
    kept.of(["bb"], encoder, weigh)
    kept.of(["bb"], freeze(TinyText(dim=4)), weigh)
    assert asked == [["a", "bb"], ["bb"], ["bb"]]


def test_class_weights_of_so_many_texts_are_kept_and_no_more() -> None:
    asked: list[str] = []

    def weigh(texts: list[str]) -> dict[str, Tensor]:
        asked.extend(texts)
        return dict.fromkeys(texts, torch.zeros(1))

    kept, encoder = ClassWeights(), freeze(TinyText(dim=4))
    texts = [str(number) for number in range(5000)]
    for start in range(0, 5000, 100):
        kept.of(texts[start : start + 100], encoder, weigh)
    kept.of(texts[-100:], encoder, weigh)
    assert len(asked) == 5000
    kept.of(texts[:100], encoder, weigh)
    assert len(asked) == 5100
