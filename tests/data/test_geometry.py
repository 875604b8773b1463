import numpy as np
import pytest

from saltext.data.geometry import Box, content_box, count_fixations


def test_stretch_fills_the_input() -> None:
    assert content_box((480, 640), (288, 384), "stretch") == Box(0, 0, 288, 384)


def test_letterbox_keeps_the_aspect_ratio_and_centres() -> None:
    # 640x427 into 384x288: scale 0.6, height round(256.2) = 256, margins (288 - 256) / 2 = 16
    assert content_box((427, 640), (288, 384), "letterbox") == Box(16, 0, 256, 384)
    # portrait 427 wide, 640 high: scale 0.45, width round(192.15) = 192
    assert content_box((640, 427), (288, 384), "letterbox") == Box(0, 96, 288, 192)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_every_fixation_falls_into_the_cell_that_holds_its_pixel_centre(resize: str) -> None:
    rng = np.random.default_rng(0)
    native, target = (427, 640), (36, 48)
    points = np.stack([rng.integers(0, native[0], 300), rng.integers(0, native[1], 300)], axis=1).astype(np.int32)
    box = content_box(native, target, resize)  # type: ignore[arg-type]
    expected = np.zeros(target)
    for y, x in points.tolist():
        row = box.top + int(np.floor((y + 0.5) * box.height / native[0]))
        column = box.left + int(np.floor((x + 0.5) * box.width / native[1]))
        expected[row, column] += 1
    counts = count_fixations(points, native, target, box)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.float32
    assert counts.sum() == 300


def test_no_fixations_give_a_map_of_zeros() -> None:
    counts = count_fixations(np.zeros((0, 2), np.int32), (10, 10), (5, 5), Box(0, 0, 5, 5))
    assert counts.shape == (5, 5)
    assert not counts.any()


def test_corner_pixels_stay_inside_when_the_grid_is_larger_than_the_image() -> None:
    counts = count_fixations(np.array([[0, 0], [9, 9]]), (10, 10), (25, 25), Box(0, 0, 25, 25))
    assert counts.sum() == 2
