from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.grounding.clip_dense import ClipDenseGrounder
from saltext.models.normalize import Normalize
from saltext.models.text.tiny import TinyText
from tests.models import tiny_pretrained
from tests.models.grounding.test_pretrained import picture

CLIP = tiny_pretrained.CLIP


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_pretrained.clip(tmp_path / "clip.pt")


@pytest.mark.parametrize("size", [(32, 32), (50, 70)])
def test_images_are_those_of_open_clip_s_own_transform(size: tuple[int, int], weights: Path) -> None:
    grounder, pixels = ClipDenseGrounder(CLIP, weights, image_size=32), picture(*size)
    transform = open_clip.image_transform(
        32, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD, resize_mode="squash"
    )
    theirs = transform(Image.fromarray(pixels[0].movedim(0, -1).numpy()))
    ours = grounder.image_encoder.image_input(Normalize()(pixels))[0]
    # Pillow resizes whole grey levels, in two rounded steps.
    tolerance = 1e-5 if size == (32, 32) else 1.5 / 255 / min(open_clip.OPENAI_DATASET_STD)
    assert (ours - theirs).abs().max() <= tolerance


def test_the_text_s_feature_is_clip_s(weights: Path) -> None:
    model = open_clip.CLIP(**CLIP).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    grounder = ClipDenseGrounder(CLIP, weights, image_size=None)
    (features,) = grounder.image_encoder(torch.randn(1, 3, 32, 32))
    maps = grounder(features, ["the white pot"], TinyText())
    with torch.no_grad():
        query = model.encode_text(open_clip.SimpleTokenizer(context_length=24)(["the white pot"]), normalize=True)[0]
    torch.testing.assert_close(maps[0, 0], torch.einsum("d,dhw->hw", query, features[0].float()))


def test_with_one_patch_values_are_what_attention_gives(weights: Path) -> None:
    """An image of one patch and a class token that looks like it: attention over equals is the value itself."""
    grounder = ClipDenseGrounder(CLIP, weights, image_size=None)
    visual, seen = grounder.image_encoder.visual, []
    last = visual.transformer.resblocks[-1]
    last.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    images = torch.randn(2, 3, 32, 32)
    visual(grounder.image_encoder.image_input(images))
    (x,) = seen
    alone = x[:, 1:].reshape(-1, 1, x.shape[2])  # each patch as a sequence of its own
    expected = F.normalize(visual.ln_post(last(alone)) @ visual.proj, dim=2).view(2, 4, 4, -1).movedim(3, 1)
    (features,) = grounder.image_encoder(images)
    torch.testing.assert_close(features.float(), expected, rtol=0, atol=1e-3)  # half precision


def test_positions_are_interpolated_for_larger_images(weights: Path) -> None:
    (features,) = ClipDenseGrounder(CLIP, weights, image_size=48).image_encoder(torch.randn(1, 3, 40, 60))
    assert features.shape == (1, 12, 6, 6)


def test_maps_of_an_empty_text_are_0_and_the_semantic_map_is_of_half_the_patches(weights: Path) -> None:
    grounder = ClipDenseGrounder(CLIP, weights, image_size=40)
    (features,) = grounder.image_encoder(torch.randn(2, 3, 40, 60))
    maps = grounder(features, ["", "there is a dog on the table"], TinyText())
    assert maps.shape == (2, 4, 5, 5)
    assert not maps[0].any()
    torch.testing.assert_close(maps[1, 2:].mean((1, 2)), torch.zeros(2), rtol=0, atol=1e-5)
    assert (maps[1, 0] - maps[1, 1]).abs().max() > 1e-4  # the sentence, and "a dog"
    semantic: Tensor = grounder.semantic_map(features, TinyText())
    assert semantic.shape == (2, grounder.semantic_dim(TinyText()), 3, 3)


def test_weights_are_left_out_of_state_dicts_and_random_ones_are_not(weights: Path) -> None:
    assert ClipDenseGrounder(CLIP, weights).state_dict() == {}
    assert len(ClipDenseGrounder(CLIP).state_dict()) > 20


def test_a_convolutional_clip_is_refused() -> None:
    convolutional = {**CLIP, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "image_size": 32}}
    with pytest.raises(ConfigError, match="expected a CLIP with a plain vision transformer"):
        ClipDenseGrounder(convolutional, image_size=None)
