from pathlib import Path

import numpy as np
from PIL import Image

from saltext.reporting.pictures import Panel, Reading, Swap, draw, draw_swaps


def panel(text: str) -> Panel:
    ramp = np.linspace(0, 1, 30 * 40, dtype=np.float32).reshape(30, 40)
    return Panel(np.full((30, 40, 3), 128, np.uint8), ramp, ramp[::-1].copy(), "0001, salient", text, "predicted")


def test_a_picture_has_one_row_a_pair(tmp_path: Path) -> None:
    draw([panel("the red circle")], tmp_path / "one.png")
    draw([panel("the red circle"), panel("")], tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width == one.width
        assert abs(two.height - 2 * one.height) <= 2
        assert np.asarray(one.convert("L")).std() > 10  # something is drawn


def test_an_all_zero_prediction_can_be_drawn(tmp_path: Path) -> None:
    empty = panel("x")
    draw([Panel(empty.image, empty.truth, np.zeros_like(empty.truth), "t", "x", "n")], tmp_path / "zero.png")
    assert (tmp_path / "zero.png").is_file()


def swap() -> Swap:
    of = panel("")
    texts = ("the red circle", "what lies beside it, in so many words that they do not fit into one line")
    readings = (Reading(text, of.truth, of.prediction, 0.7, 0.2) for text in texts)
    return Swap(of.image, "0001", *readings)


def test_a_picture_of_exchanged_texts_has_one_row_an_image(tmp_path: Path) -> None:
    draw_swaps([swap()], tmp_path / "one.png", "by rule")
    draw_swaps([swap()] * 3, tmp_path / "three.png", "by rule")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "three.png") as three:
        assert three.width == one.width
        assert three.height - one.height == 2 * 3.2 * 90
        assert np.asarray(one.convert("L")).std() > 10
