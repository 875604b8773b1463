from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltext.reporting.pictures import Panel, Reading, Swap, draw, draw_swaps
from saltext.reporting.text_swap import RULE
from tests.drawn import images, overlaps, written_figure

LONG = {"words": "what lies beside it " * 100, "one word": "x" * 2000}


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


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_long_text_of_a_pair_covers_no_picture(text: str, rows: int, tmp_path: Path) -> None:
    of = panel(text)
    named = Panel(of.image, of.truth, of.prediction, text, text, of.note)
    figure = written_figure(lambda: draw([named] * rows, tmp_path / "pairs.png"))
    short = written_figure(lambda: draw([panel("a lamp")] * rows, tmp_path / "pairs.png"))
    assert overlaps(figure) == overlaps(short) == []
    assert len(images(figure)) == 3 * rows
    assert min(place.width for place in images(figure)) > 0.5 * min(place.width for place in images(short))


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_long_text_of_a_swap_covers_no_picture(text: str, rows: int, tmp_path: Path) -> None:
    figures = []
    for shown in (text, "a lamp"):
        of = swap((shown, shown))
        one = Swap(of.image, shown, of.salient, of.non_salient)
        figures.append(written_figure(lambda one=one: draw_swaps([one] * rows, tmp_path / "x.png", RULE)))  # type: ignore[misc]
    assert [overlaps(figure) for figure in figures] == [[], []]
    smallest = [min(place.width for place in images(figure)) for figure in figures]
    assert smallest[0] > 0.5 * smallest[1]


TEXTS = ("the red circle", "what lies beside it, in so many words that they do not fit into one line")


def swap(texts: tuple[str, str] = TEXTS) -> Swap:
    of = panel("")
    readings = (Reading(text, of.truth, of.prediction, 0.7, 0.2) for text in texts)
    return Swap(of.image, "0001", *readings)


def test_a_picture_of_exchanged_texts_has_one_row_an_image(tmp_path: Path) -> None:
    draw_swaps([swap()], tmp_path / "one.png", "by rule")
    draw_swaps([swap()] * 3, tmp_path / "three.png", "by rule")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "three.png") as three:
        assert three.width == one.width
        assert three.height - one.height == 2 * 3.2 * 90
        assert np.asarray(one.convert("L")).std() > 10
