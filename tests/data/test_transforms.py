import numpy as np
import pytest

from saltext.data.geometry import Box
from saltext.data.transforms import Augment, View, mirror_text
from saltext.errors import ConfigError


@pytest.fixture
def view() -> View:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
    density = rng.random((6, 8)).astype(np.float32)
    fixations = rng.integers(0, 3, (6, 8)).astype(np.float32)
    return View(image, density, fixations, "A cup on the left", Box(0, 0, 24, 32))


def _flip_only(probability: float) -> Augment:
    return Augment(flip=probability, brightness=0, contrast=0, hue=0, saturation=0)


def test_a_mirrored_sample_is_mirrored_in_all_its_parts(view: View) -> None:
    mirrored = _flip_only(1.0)(view, (0, 0, 0))
    np.testing.assert_array_equal(mirrored.image, view.image[:, ::-1])
    np.testing.assert_array_equal(mirrored.density, view.density[:, ::-1])
    np.testing.assert_array_equal(mirrored.fixations, view.fixations[:, ::-1])
    assert mirrored.text == "A cup on the right"
    assert mirrored.box == view.box


def test_without_changes_the_sample_stays_as_it_is(view: View) -> None:
    same = _flip_only(0.0)(view, (0, 0, 0))
    np.testing.assert_array_equal(same.image, view.image)
    np.testing.assert_array_equal(same.density, view.density)
    assert same.text == view.text


def test_colour_changes_touch_the_image_alone(view: View) -> None:
    changed = Augment(flip=0.0, noise=0.05, blur=1.0)(view, (0, 0, 1))
    assert (changed.image != view.image).any()
    np.testing.assert_array_equal(changed.density, view.density)
    np.testing.assert_array_equal(changed.fixations, view.fixations)
    assert changed.text == view.text


def test_the_margin_of_a_letterboxed_image_stays_black_and_its_box_moves_with_it(view: View) -> None:
    image = np.zeros_like(view.image)
    image[:, 5:16] = 100
    boxed = View(image, view.density, view.fixations, view.text, Box(0, 5, 24, 11))
    changed = Augment(flip=1.0, brightness=0.5)(boxed, (0, 0, 2))
    assert changed.box == Box(0, 16, 24, 11)
    inside = np.zeros(image.shape[:2], bool)
    inside[:, 16:27] = True
    assert changed.image[inside].all()
    assert not changed.image[~inside].any()


def test_the_input_is_not_changed(view: View) -> None:
    before = view.image.copy()
    Augment(flip=1.0)(view, (0, 0, 0))
    np.testing.assert_array_equal(view.image, before)


def test_equal_seeds_give_equal_samples_whatever_came_before(view: View) -> None:
    one, two = Augment(), Augment()
    one(view, (9, 9, 9))
    np.testing.assert_array_equal(one(view, (1, 2, 3)).image, two(view, (1, 2, 3)).image)


def test_seed_epoch_and_sample_all_matter(view: View) -> None:
    augment = Augment()
    images = {augment(view, seed).image.tobytes() for seed in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]}
    assert len(images) == 5


def test_each_step_draws_from_a_stream_of_its_own(view: View) -> None:
    # Compose.set_random_seed gives all steps one seed, so that exactly the mirrored images would turn brighter.
    augment = Augment(noise=0.1, blur=1.0)
    augment(view, (0, 0, 0))
    assert len({step.seed for step in augment._steps}) == len(augment._steps) == 5


def test_half_of_the_samples_are_mirrored(view: View) -> None:
    augment = _flip_only(0.5)
    mirrored = sum(augment(view, (0, 0, index)).text.endswith("right") for index in range(200))
    assert 75 <= mirrored <= 125


def test_all_values_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"flip=2 \(0 to 1\), noise=-0.1 \(0 to 1\)"):
        Augment(flip=2, noise=-0.1)


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("On the LEFT, the leftmost man", "On the RIGHT, the rightmost man"),
        ("Left-hand side, right next to it", "Right-hand side, left next to it"),
        ("a no smoking sign on the right and a vending machine on the left",
         "a no smoking sign on the left and a vending machine on the right"),
        ("A bright light, leftover cake, an upright piano", "A bright light, leftover cake, an upright piano"),
        ("", ""),
    ],
)  # fmt: skip
def test_sides_change_places_as_whole_words_with_their_case(text: str, mirrored: str) -> None:
    assert mirror_text(text) == mirrored
    assert mirror_text(mirrored) == text
