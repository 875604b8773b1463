from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltext.prediction.pictures import (
    PANEL_SIDE,
    TextMap,
    change_overlay,
    draw_panel,
    heat,
    moved,
    overlay,
    reduced,
    small,
)
from tests.drawn import images, overlaps, written_figure


def density(height: int, width: int, column: int) -> np.ndarray:
    values = np.zeros((height, width), np.float32)
    values[:, column] = 1 / height
    return values


def test_an_overlay_is_brightest_where_people_look_and_keeps_the_size() -> None:
    shown = overlay(np.full((6, 9, 3), 100, np.uint8), density(6, 9, 4))
    assert shown.shape == (6, 9, 3)
    assert shown.dtype == np.uint8
    light = shown.astype(int).sum(axis=2)
    assert (light[:, 4] > light[:, 3] + 200).all()
    assert (light[:, :4] == light[0, 0]).all()


def test_the_image_shows_through_in_grey() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 255
    black, white = overlay(image, np.full((1, 2), 1e-9, np.float32), highest=1.0)[0].astype(int)
    assert (white - black == 102).all()  # 40 % of 255


def test_colours_of_one_scale_mean_the_same_density() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    half = np.full((2, 2), 0.5, np.float32)
    np.testing.assert_array_equal(overlay(image, half, 1.0), overlay(image, half / 2, 0.5))
    assert (overlay(image, half, 1.0) != overlay(image, half)).any()


def test_a_map_without_a_maximum_can_be_shown() -> None:
    assert overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32)).shape == (2, 2, 3)


def test_a_map_alone_goes_from_black_to_the_brightest_colour() -> None:
    shown = heat(density(4, 5, 2)).astype(int).sum(axis=2)
    assert shown.shape == (4, 5)
    assert (shown[:, 0] < 10).all()
    assert (shown[:, 2] > 600).all()


def test_a_change_is_red_for_a_gain_blue_for_a_loss_and_else_the_grey_image() -> None:
    image = np.full((1, 3, 3), (200, 100, 0), np.uint8)
    gain, loss, none = change_overlay(image, np.array([[0.2, -0.2, 0]], np.float32), highest=0.2)[0].astype(int)
    assert gain[0] > gain[2] + 60
    assert loss[2] > loss[0] + 60
    assert none[0] == none[1] == none[2]
    flat = np.zeros((1, 3), np.float32)
    assert (change_overlay(image, flat, highest=0.0) == none).all()


def test_what_moves_is_half_the_sum_of_differences() -> None:
    one, other = (np.array([row], np.float32) for row in ([0.5, 0.5, 0.0], [0.5, 0.25, 0.25]))
    assert moved(one, other) == pytest.approx(0.25)
    assert moved(one, one) == 0
    assert moved(density(4, 4, 0), density(4, 4, 3)) == pytest.approx(1)


def test_a_reduced_density_still_sums_to_one_and_keeps_its_place() -> None:
    image = small(np.zeros((1500, 3000, 3), np.uint8))
    assert image.shape == (PANEL_SIDE // 2, PANEL_SIDE, 3)
    shrunk = reduced(density(1500, 3000, 2999), image)
    assert shrunk.shape == image.shape[:2]
    assert shrunk.sum() == pytest.approx(1, abs=1e-5)
    assert shrunk[:, -1].sum() > 0.99


def test_a_small_image_stays_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(small(pixels), pixels)
    assert small(pixels, 15).shape == (10, 15, 3)


def test_a_panel_has_a_row_for_each_further_text_and_shows_the_change(tmp_path: Path) -> None:
    pixels = np.full((30, 40, 3), 128, np.uint8)
    first, second, third = (TextMap(f"text {place}", density(30, 40, place)) for place in (5, 20, 35))
    draw_panel(pixels, [first, second], tmp_path / "two.png")
    draw_panel(pixels, [first, second, third], tmp_path / "three.png")
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "three.png") as three:
        assert three.width == pytest.approx(two.width, rel=0.02)
        assert three.height == pytest.approx(2 * two.height, rel=0.1)
        change = np.asarray(two.convert("RGB")).astype(int)[:, -two.width // 4 :]
        assert (change[..., 0] > change[..., 2] + 60).any()  # red: more
        assert (change[..., 2] > change[..., 0] + 60).any()  # blue: less


@pytest.mark.parametrize(
    "text",
    ["", "🐈 on a mat", "白いランプ", "costs $5 or $6 {x}_^", "word " * 2000, "x" * 10_000, "a\nb\tc\0"],
    ids=len,
)
def test_any_text_can_stand_above_a_map(tmp_path: Path, text: str) -> None:
    pixels = np.full((30, 40, 3), 128, np.uint8)
    draw_panel(pixels, [TextMap(text, density(30, 40, 1)), TextMap("b", density(30, 40, 2))], tmp_path / "panel.png")
    with Image.open(tmp_path / "panel.png") as panel:
        assert panel.height < 800


@pytest.mark.parametrize("text", ["what lies beside it " * 100, "x" * 2000], ids=["words", "one word"])
@pytest.mark.parametrize("others", [1, 4])
def test_a_long_text_above_a_map_covers_no_picture(tmp_path: Path, text: str, others: int) -> None:
    pixels = np.full((30, 40, 3), 128, np.uint8)
    figures = []
    for shown in (text, "a lamp"):
        readings = [TextMap(shown, density(30, 40, place), "non_salient") for place in range(others + 1)]
        figures.append(written_figure(lambda of=readings: draw_panel(pixels, of, tmp_path / "x.png")))  # type: ignore[misc]
    assert [overlaps(figure) for figure in figures] == [[], []]
    smallest = [min(place.width for place in images(figure)) for figure in figures]
    assert smallest[0] > 0.5 * smallest[1]


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1)])
def test_a_panel_of_any_shape_can_be_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    flat = np.full(size, 1 / (size[0] * size[1]), np.float32)
    draw_panel(np.zeros((*size, 3), np.uint8), [TextMap("a", flat), TextMap("b", flat)], tmp_path / "panel.png")
    with Image.open(tmp_path / "panel.png") as panel:
        assert max(panel.size) < 1300
