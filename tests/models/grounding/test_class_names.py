from collections.abc import Callable, Sequence
from importlib.util import find_spec

import pytest
import timm
import torch
from torch import Tensor, nn

from saltext.models.feature_cache import _digest_module
from saltext.models.grounding.class_names import ClassNameGrounder, lite0_grounder, lite2_grounder
from saltext.models.image.efficientnet_lite import LITE0, LITE2, Lite, lite_weights
from saltext.models.packaged_weights import EFFICIENTNET_LITE0, EFFICIENTNET_LITE2
from saltext.models.text.base import TextEncoder, TextFeatures

NAMES = ("dog", "lamp", "boat")


class Words(TextEncoder):
    """Unit vectors that say which of the names a text has."""

    dim = 3

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        pooled = torch.tensor([[float(name in text) for name in NAMES] for text in texts])
        pooled = nn.functional.normalize(pooled, dim=1)
        return TextFeatures(pooled, pooled[:, None], torch.ones(len(texts), 1, dtype=torch.bool))


def grounder(head_and_context: bool = False) -> ClassNameGrounder:
    # The feature is the logits.
    return ClassNameGrounder(nn.Identity(), NAMES, head_and_context=head_and_context)


def logits_of_two_classes() -> Tensor:
    """A dog at the top left, a lamp at the bottom right."""
    logits = torch.zeros(1, 3, 4, 5)
    logits[0, 0, 0, 0] = logits[0, 1, 3, 4] = 8.0
    return logits


@pytest.mark.parametrize(("text", "position"), [("the dog", (0, 0)), ("a lamp here", (3, 4))])
def test_every_map_peaks_where_the_named_class_is(text: str, position: tuple[int, int]) -> None:
    maps = grounder()(logits_of_two_classes(), [text], Words())
    assert maps.shape == (1, 4, 4, 5)
    for each in maps[0]:
        assert divmod(int(each.argmax()), 5) == position


def test_the_closest_word_counts_where_the_whole_text_is_about_more() -> None:
    whole, word, *_ = grounder()(logits_of_two_classes(), ["a dog and a boat and a lamp"], Words())[0]
    torch.testing.assert_close(whole, word, rtol=0, atol=1e-5)  # the three names weigh the same in both
    _, word, *_ = grounder()(logits_of_two_classes(), ["lamp"], Words())[0]
    assert divmod(int(word.argmax()), 5) == (3, 4)


def test_head_phrase_and_context_are_grounded_apart() -> None:
    apart = grounder(head_and_context=True)
    maps = apart(logits_of_two_classes(), ["There is a dog beside the lamp"], Words())
    assert maps.shape == (1, apart.num_maps, 4, 5)
    places = [divmod(int(each.argmax()), 5) for each in maps[0]]
    for head, context in (places[2:4], places[6:8]):  # relative, absolute
        assert (head, context) == ((0, 0), (3, 4))
    torch.testing.assert_close(maps[:, [0, 1, 4, 5]], grounder()(logits_of_two_classes(), ["dog lamp"], Words()))


def test_a_text_without_context_has_empty_maps_for_it() -> None:
    maps = grounder(head_and_context=True)(logits_of_two_classes(), ["the dog"], Words())[0]
    assert not maps[[3, 7]].any()
    assert maps[[2, 6]].any()


def test_cached_maps_of_both_kinds_have_different_keys() -> None:
    assert repr(grounder()) != repr(grounder(head_and_context=True))


def test_the_semantic_map_has_the_class_that_is_there() -> None:
    grounding = grounder()
    semantic = grounding.semantic_map(grounding.activations(logits_of_two_classes()), Words())
    assert semantic.shape == (1, 3, 4, 5)
    torch.testing.assert_close(semantic[0, :, 0, 0], torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=1e-3)
    torch.testing.assert_close(semantic[0, :, 1, 1], torch.full((3,), 1 / 3))


def test_words_of_the_texts_to_come_are_encoded_with_the_first_text_and_not_before() -> None:
    class Recording(Words):
        def __init__(self) -> None:
            super().__init__()
            self.ahead: list[list[str]] = []

        def encode_ahead(self, texts: Sequence[str]) -> None:
            self.ahead.append(list(texts))

    grounding, encoder = grounder(), Recording()
    grounding.texts_ahead = ["the lamp", "a boat"]
    expected = grounder()(logits_of_two_classes(), ["the dog"], Words())
    assert encoder.ahead == []
    for _ in range(2):
        assert torch.equal(grounding(logits_of_two_classes(), ["the dog"], encoder), expected)
    assert encoder.ahead == [["a boat", "a", "boat", "the dog", "the", "dog", "the lamp", "the", "lamp"]]


def test_texts_to_come_do_not_change_what_cached_maps_are_valid_for() -> None:
    grounding = grounder()
    digests = {_digest_module(grounding, mode_counts=True)}
    grounding.texts_ahead = ["the lamp"]
    digests.add(_digest_module(grounding, mode_counts=True))
    grounding(logits_of_two_classes(), ["the dog"], Words())
    assert digests == {_digest_module(grounding, mode_counts=True)}


def test_a_map_does_not_depend_on_its_batch_mates() -> None:
    both = grounder()(logits_of_two_classes().repeat(2, 1, 1, 1), ["the dog", "the lamp"], Words())
    torch.testing.assert_close(both[:1], grounder()(logits_of_two_classes(), ["the dog"], Words()))


def test_the_empty_text_gives_finite_maps() -> None:
    assert grounder()(logits_of_two_classes(), [""], Words()).isfinite().all()


@pytest.mark.skipif(
    any(find_spec(package.module) is None for package in (EFFICIENTNET_LITE0, EFFICIENTNET_LITE2)),
    reason="the extra `embedded` is not installed",
)
@pytest.mark.parametrize(("grounder", "lite", "channels"), [(lite0_grounder, LITE0, 320), (lite2_grounder, LITE2, 352)])
def test_the_packaged_head_is_the_classifier_at_every_position(
    grounder: Callable[[], ClassNameGrounder], lite: Lite, channels: int
) -> None:
    grounding = grounder()
    model = timm.create_model(lite.architecture, pretrained=False).eval()
    model.load_state_dict(lite_weights(lite))
    x32 = torch.randn(2, channels, 1, 1)
    with torch.no_grad():
        wanted = model.forward_head(model.bn2(model.conv_head(x32)))
        torch.testing.assert_close(grounding.head(x32)[:, :, 0, 0], wanted)
    assert grounding.names[0].startswith("tench")
    assert len(grounding.names) == 1000
    assert grounding.state_dict() == {}


class Long(Words):
    """The same directions, ten times as long, as a CLIP gives them."""

    sharpness = 100.0

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        features = super().forward(texts)
        return TextFeatures(10 * features.pooled, features.tokens, features.mask)


def test_the_length_of_sentence_features_does_not_count() -> None:
    logits = logits_of_two_classes()
    expected = grounder()(logits, ["the dog"], Words())
    torch.testing.assert_close(grounder()(logits, ["the dog"], Long()), expected)


def test_without_a_sharpness_the_text_encoder_s_own_counts() -> None:
    logits = logits_of_two_classes()
    for encoder in (Long(), Words()):
        own = ClassNameGrounder(nn.Identity(), NAMES, sharpness=None)
        given = ClassNameGrounder(nn.Identity(), NAMES, sharpness=encoder.sharpness)
        assert torch.equal(own(logits, ["the dog"], encoder), given(logits, ["the dog"], encoder))
        assert own.extra_repr() != given.extra_repr()  # which decides what is read from the feature cache
