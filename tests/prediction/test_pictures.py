from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltext.prediction.pictures import (
    TILE_SIDE,
    ImageRecord,
    TextMaps,
    change_overlay,
    how_much_moves,
    moved_fraction,
    normalize_density,
    overlay,
    shrink_density,
    shrink_image,
    tiles,
    write_density,
    write_picture,
)


def density(height: int, width: int, column: int) -> np.ndarray:
    values = np.zeros((height, width), np.float32)
    values[:, column] = 1 / height
    return values


def test_an_overlay_is_brightest_where_the_density_is_highest_and_keeps_the_size() -> None:
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


def test_a_change_is_red_for_a_rise_blue_for_a_fall_and_else_the_image_in_dark_grey() -> None:
    image = np.full((1, 3, 3), (200, 100, 0), np.uint8)
    rise, fall, none = change_overlay(image, np.array([[0.2, -0.2, 0]], np.float32), highest=0.2)[0].astype(int)
    assert rise[0] > rise[2] + 150
    assert fall[2] > fall[0] + 150
    assert none[0] == none[1] == none[2] < 128


def test_a_change_is_seen_on_white_and_on_black_and_is_the_stronger_the_larger_it_is() -> None:
    change = np.array([[0, 0.05, 0.3, 1]], np.float32)
    for grey in (0, 128, 255):
        shown = change_overlay(np.full((1, 4, 3), grey, np.uint8), change, highest=1)[0].astype(int)
        redness = shown[:, 0] - shown[:, 1]
        assert redness[0] == 0
        assert (np.diff(redness) > 20).all()


def test_what_moves_is_half_the_sum_of_differences() -> None:
    one, other = (np.array([row], np.float32) for row in ([0.5, 0.5, 0.0], [0.5, 0.25, 0.25]))
    assert moved_fraction(one, other) == pytest.approx(0.25)
    assert moved_fraction(one, one) == 0
    assert moved_fraction(density(4, 4, 0), density(4, 4, 3)) == pytest.approx(1)


def test_a_reduced_density_still_sums_to_one_and_keeps_its_place() -> None:
    image = shrink_image(np.zeros((1500, 3000, 3), np.uint8))
    assert image.shape == (TILE_SIDE // 2, TILE_SIDE, 3)
    shrunk = shrink_density(density(1500, 3000, 2999), image)
    assert shrunk.shape == image.shape[:2]
    assert shrunk.sum() == pytest.approx(1, abs=1e-5)
    assert shrunk[:, -1].sum() > 0.99


def test_a_small_image_stays_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(shrink_image(pixels), pixels)
    assert shrink_image(pixels, 15).shape == (10, 15, 3)


def record(*texts: str, size: tuple[int, int] = (30, 40), human: bool = False, title: str = "") -> ImageRecord:
    """An image in one colour, which nothing else has, whose map moves to the right with each text."""
    spots = [density(*size, place) for place in range(len(texts))]
    maps = [TextMaps(text, spot, spot if human else None) for text, spot in zip(texts, spots, strict=True)]
    return ImageRecord("007", np.full((*size, 3), COLOUR, np.uint8), maps, title)


COLOUR = (0, 200, 99)


def captions(shown: ImageRecord) -> list[list[str]]:
    return [[tile.caption for tile in row] for row in tiles(shown)]


def test_each_text_has_its_human_map_beside_its_prediction_and_the_change_from_the_first() -> None:
    shown = record("a lamp", "a dog", human=True)
    named = replace(shown, texts=[replace(of, name=name) for of, name in zip(shown.texts, "st", strict=True)])
    assert captions(named) == [
        ["image", "human map, s", "prediction, s"],
        ["change from s to t: 100 % of the predicted attention moves", "human map, t", "prediction, t"],
    ]
    assert captions(record("a lamp")) == [["image", "prediction"]]


def test_scores_stand_beside_the_prediction() -> None:
    shown = record("a lamp")
    scored = replace(shown, texts=[replace(shown.texts[0], scores={"CC": 0.714, "NSS": -0.001})])
    assert captions(scored) == [["image", "prediction: CC 0.71, NSS 0.00"]]


def test_a_human_map_that_two_predictions_share_is_shown_once() -> None:
    of = record("a lamp", human=True).texts[0]
    shown = ImageRecord("007", np.zeros((30, 40, 3), np.uint8), [replace(of, name=name) for name in ("ours", "theirs")])
    assert captions(shown) == [
        ["image", "human map", "prediction, ours"],
        ["change from ours to theirs: nothing moves", "prediction, theirs"],
    ]


def test_texts_with_equal_names_are_numbered() -> None:
    of = record("a lamp").texts[0]
    pixels = np.zeros((30, 40, 3), np.uint8)
    assert ImageRecord("007", pixels, [of, of]).names == ["text 1", "text 2"]
    alike = [replace(of, name="whole")] * 2
    assert ImageRecord("007", pixels, alike).names == ["text 1 (whole)", "text 2 (whole)"]


def test_a_tile_says_what_it_shows_to_those_who_cannot_see_it() -> None:
    (image, human, prediction), (change, *_) = tiles(replace(record("a <lamp>", "", human=True), image_id="IMG_007"))
    assert image.alt == "Image IMG_007"
    assert human.alt == "Density of human fixations on image IMG_007 after reading “a <lamp>”"
    assert prediction.alt == "Predicted density of fixations on image IMG_007 after reading “a <lamp>”"
    assert change.alt == (
        "Predicted density on image IMG_007: change from text 1 to text 2: 100 % of the predicted attention moves; "
        "red where it rises, blue where it falls"
    )


def test_tiles_of_one_image_are_of_one_width_and_a_small_image_is_enlarged() -> None:
    (image, human, prediction), (change, *_) = tiles(record("a", "b", human=True), side=200)
    assert image.pixels.shape == (150, 200, 3)
    assert {tile.pixels.shape for tile in (human, prediction, change)} == {(human.pixels.shape[0], 200, 3)}
    assert human.pixels.dtype == np.uint8


def test_the_legend_stands_below_the_picture_and_covers_nothing_of_it() -> None:
    image, prediction = tiles(record("a lamp"), side=200)[0]
    assert prediction.pixels.shape[0] > image.pixels.shape[0]
    blank = overlay(np.full((30, 40, 3), COLOUR, np.uint8), np.zeros((30, 40), np.float32))[0, 0]
    np.testing.assert_array_equal(
        prediction.pixels[: image.pixels.shape[0], 40:], np.broadcast_to(blank, (150, 160, 3))
    )
    legend = prediction.pixels[image.pixels.shape[0] :]
    assert legend.max() > 200  # the numbers


def test_predictions_of_one_image_share_a_colour_scale_and_so_do_the_changes() -> None:
    flat = np.full((30, 40), 1 / 1200, np.float32)
    spot = density(30, 40, 3)
    texts = [TextMaps("none", flat), TextMaps("little", 0.98 * flat + 0.02 * spot), TextMaps("much", spot)]
    shown = ImageRecord("007", np.full((30, 40, 3), COLOUR, np.uint8), texts)
    (_, none), (little, _), (much, lit) = tiles(shown, side=200)
    assert none.pixels[:150].astype(int).sum(axis=2).max() + 200 < lit.pixels[:150].astype(int).sum(axis=2).max()
    redness = [(tile.pixels[:150, 16:18, 0].astype(int) - tile.pixels[:150, 16:18, 1]).min() for tile in (little, much)]
    assert redness[0] + 100 < redness[1] > 150
    assert "2 % of" in little.caption


def test_what_rounding_changes_is_not_shown() -> None:
    of = record("a lamp").texts[0]
    other = replace(of, prediction=of.prediction * np.float32(1 + 1e-6))
    _, (change, _) = tiles(ImageRecord("007", np.full((30, 40, 3), COLOUR, np.uint8), [of, other]))
    assert change.caption == "change from text 1 to text 2: nothing moves"
    picture = change.pixels[:270].astype(int)
    assert (picture.max(axis=2) - picture.min(axis=2)).max() < 12


def test_a_density_is_written_to_the_last_bit_and_as_levels_of_sixteen(tmp_path: Path) -> None:
    values = normalize_density(np.random.default_rng(0).random((30, 40)))
    write_density(tmp_path / "map.npy", values)
    write_density(tmp_path / "map.png", values)
    assert np.load(tmp_path / "map.npy").tobytes() == values.tobytes()
    with Image.open(tmp_path / "map.png") as levels:
        expected = (values.astype(np.float64) * (65535 / float(values.max()))).round()
        assert (np.asarray(levels) == expected).all()


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "nothing moves"), (0.004, "less than 1 % of the predicted attention moves"),
     (0.24, "24 % of the predicted attention moves")],
)  # fmt: skip
def test_how_much_moves_is_said_in_words(share: float, words: str) -> None:
    assert how_much_moves(share) == words


def test_a_tile_is_a_small_file_for_a_page() -> None:
    tile = tiles(record("a lamp"))[0][1]
    with Image.open(BytesIO(tile.jpeg())) as picture:
        assert (picture.format, picture.size) == ("JPEG", tile.pixels.shape[1::-1])


def test_a_map_of_any_scale_becomes_a_density_and_an_empty_one_is_uniform() -> None:
    assert normalize_density(np.array([[1, 3]], np.float32)).tolist() == [[0.25, 0.75]]
    assert normalize_density(np.zeros((1, 4), np.float32)).tolist() == [[0.25] * 4]
    assert normalize_density(np.ones((2, 2))).dtype == np.float32


def test_a_map_of_another_size_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected maps of shape \(30, 40\), got \(40, 30\)"):
        ImageRecord("007", np.zeros((30, 40, 3), np.uint8), [TextMaps("a", density(40, 30, 1))])
    with pytest.raises(ValueError, match="got none"):
        ImageRecord("007", np.zeros((30, 40, 3), np.uint8), [])


def written(records: Sequence[ImageRecord], path: Path, note: str = "") -> np.ndarray:
    write_picture(records, path / "picture.png", note, side=200)
    with Image.open(path / "picture.png") as picture:
        return np.asarray(picture)


def test_a_picture_has_a_row_for_each_text_of_each_image(tmp_path: Path) -> None:
    one, two, both = (
        written(records, tmp_path)
        for records in ([record("a")], [record("a", "b")], [record("a", "b"), record("a", "b")])
    )
    assert one.shape[1] == two.shape[1] == both.shape[1]
    assert two.shape[0] > 1.8 * one.shape[0]
    assert both.shape[0] == pytest.approx(2 * two.shape[0], abs=20)


LONG = {"words": "what lies beside it " * 100, "one word": "x" * 10_000}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("texts", [1, 3])
def test_long_texts_cover_no_picture_and_make_none_smaller(tmp_path: Path, text: str, texts: int) -> None:
    def pixels_of_the_image(said: str) -> int:
        shown = written([record(*[said] * texts, title=said)] * 2, tmp_path, note=said)
        assert shown.shape[0] < 2 * texts * 600
        return int((shown == COLOUR).all(axis=2).sum())

    assert pixels_of_the_image(text) == pixels_of_the_image("a lamp") == 2 * 150 * 200


@pytest.mark.parametrize(
    "text", ["", "🐈 on a mat", "白いランプ", "costs $5 or $6 {x}_^", "a\nb\tc\0", "z\u0300\u0301\u0302" * 50], ids=len
)
def test_any_text_can_stand_above_a_picture(tmp_path: Path, text: str) -> None:
    shown = written([record(text, "b", human=True)], tmp_path)
    assert (shown == COLOUR).all(axis=2).sum() == 150 * 200


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1)])
def test_an_image_of_any_shape_can_be_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    flat = np.full(size, 1 / (size[0] * size[1]), np.float32)
    shown = ImageRecord("007", np.zeros((*size, 3), np.uint8), [TextMaps("a", flat, flat), TextMaps("b", flat)])
    assert max(written([shown], tmp_path).shape) < 1300
