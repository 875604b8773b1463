import math

import numpy as np
import pytest

from saltext.demo.comparison import Comparison


def spot(row: int, column: int, height: int = 9, width: int = 12) -> np.ndarray:
    """Half of the density at one pixel, the rest everywhere."""
    density = np.full((height, width), 0.5 / (height * width), np.float32)
    density[row, column] += 0.5
    return density


def test_two_texts_with_one_map_are_said_to_be_the_same() -> None:
    same = Comparison.of(spot(1, 1), spot(1, 1))
    assert same.cc == pytest.approx(1)
    assert same.moved == 0
    assert same.words("text 1", "text 2") == "Text 1 and text 2 give **the same map**."


def test_it_is_said_how_much_moves_from_where_to_where() -> None:
    found = Comparison.of(spot(0, 0), spot(8, 11))
    assert found.moved == pytest.approx(0.5, abs=1e-6)
    assert (found.lost, found.gained) == ("the upper left", "the lower right")
    # 108 pixels, one of them at 1/2 + c, the others at c: the correlation of two unit vectors is -1/107
    assert found.cc == pytest.approx(-1 / 107, abs=1e-4)
    assert found.gained_share == pytest.approx(1)
    assert found.words("text 1", "text 3") == (
        "**50 % of the predicted attention moves** from text 1 to text 3, mostly from the upper left to the lower "
        "right (correlation of the two maps: CC -0.01)."
    )


def test_mostly_is_more_than_half_of_what_moves() -> None:
    spread = sum(spot(row, column) for row, column in ((0, 11), (8, 0), (8, 11), (8, 10))) / 4
    found = Comparison.of(spot(0, 0), spread.astype(np.float32))
    assert found.gained_share == pytest.approx(0.5, abs=1e-6)
    found = Comparison.of(spot(0, 0), (spot(0, 11) + spot(8, 0) + spot(8, 11)) / 3)
    assert ", the largest part from the upper left to " in found.words("text 1", "text 2")
    near = Comparison.of(spot(0, 0), spot(1, 1))
    assert ", mostly within the upper left (" in near.words("text 1", "text 2")


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [(0, 5, "the top"), (8, 6, "the bottom"), (4, 0, "the left"), (4, 11, "the right"),
     (4, 6, "the middle"), (0, 11, "the upper right"), (8, 0, "the lower left")],
)  # fmt: skip
def test_places_are_ninths_of_the_image(row: int, column: int, place: str) -> None:
    flat = np.full((9, 12), 1 / 108, np.float32)
    assert Comparison.of(flat, spot(row, column)).gained == place


def test_little_is_not_said_to_be_nothing() -> None:
    other = spot(1, 1)
    other[1, 1] -= 0.002
    other[8, 8] += 0.002
    assert "less than 1 %" in Comparison.of(spot(1, 1), other).words("text 1", "text 2")


def test_a_flat_map_has_no_correlation() -> None:
    flat = np.full((9, 12), 1 / 108, np.float32)
    found = Comparison.of(spot(0, 0), flat)
    assert math.isnan(found.cc)
    assert "correlation" not in found.words("text 1", "text 2")
    assert "the same map" in Comparison.of(flat, flat).words("text 1", "text 2")
