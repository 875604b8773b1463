import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from saltext.errors import ConfigError
from saltext.models.normalize import Normalize
from saltext.models.text.images import CLIP_MEAN, CLIP_STD, ImageInput


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("mean", "std", "order"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "rgb"),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "rgb"),
        ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bgr"),
        ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3), "bgr"),
    ],
)
def test_the_tower_s_own_normalisation_comes_out_whichever_went_in(
    pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], order: str
) -> None:
    image_input = ImageInput(32)
    image_input.set_input_normalization(mean, std, order)  # type: ignore[arg-type]
    came = image_input(Normalize(mean, std, order)(pixels))  # type: ignore[arg-type]
    expected = (pixels / 255 - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    torch.testing.assert_close(came, expected, rtol=0, atol=1e-5)


def test_by_default_images_have_imagenet_s_normalisation(pixels: Tensor) -> None:
    renormalized = ImageInput(32)
    renormalized.set_input_normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images = Normalize()(pixels)
    assert torch.equal(renormalized(images), ImageInput(32)(images))


def test_images_are_resized_as_pillow_does_it() -> None:
    # A black-and-white pattern, on which bicubic weights overshoot, so that the cut to [0, 1] shows.
    pattern = (torch.rand(6, 9) > 0.5).to(torch.uint8).repeat_interleave(10, 0).repeat_interleave(10, 1) * 255
    image_input = ImageInput(24, mean=(0, 0, 0), std=(1, 1, 1))
    came = image_input(Normalize()(pattern.expand(1, 3, -1, -1)))
    # As floats: bytes would be cut after each of the two directions.
    pillow = np.asarray(Image.fromarray(pattern.numpy()).convert("F").resize((24, 24), Image.Resampling.BICUBIC)) / 255
    assert pillow.min() < 0
    for channel in came[0]:
        np.testing.assert_allclose(channel, pillow.clip(0, 1), rtol=0, atol=1e-4)


def test_a_tower_may_be_normalised_by_other_numbers(pixels: Tensor) -> None:
    image_input = ImageInput(32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    images = Normalize()(pixels)
    torch.testing.assert_close(image_input(images), images, rtol=0, atol=1e-5)


def test_it_adds_nothing_to_the_state_dict_and_no_gradient() -> None:
    assert ImageInput(8).state_dict() == {}
    assert not ImageInput(8)(torch.randn(1, 3, 16, 16, requires_grad=True)).requires_grad


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="mean: expected three numbers"):
        ImageInput(8, mean=(0.5,))
