import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from saltext.prediction.captions import MAX_LINES, caption


@pytest.mark.parametrize(
    "text", ["word " * 1000, "W" * 5000, "数据集" * 500, "$x^{2" * 300, "a\nb\n" * 300, "i" * 5000]
)
def test_a_caption_is_no_wider_than_its_picture_and_a_few_lines_high(text: str) -> None:
    figure = Figure(dpi=360)  # where letters are not fitted to pixels
    FigureCanvasAgg(figure)
    said = caption(text, 200)
    drawn = figure.text(0, 0, said, fontsize=9, parse_math=False).get_window_extent()
    assert drawn.width * 72 / 360 <= 208
    assert len(said.split("\n")) == MAX_LINES
    assert said.endswith(" …")


def test_a_short_caption_is_left_as_it_is() -> None:
    assert caption("the white lamps", 200) == "the white lamps"
    assert caption("", 200) == ""
