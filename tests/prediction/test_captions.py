import pytest

from saltext.prediction.captions import MAX_LINES, caption, font


@pytest.mark.parametrize(
    "text", ["word " * 1000, "W" * 5000, "数据集" * 500, "$x^{2" * 300, "a\nb\n" * 300, "i" * 5000]
)
@pytest.mark.parametrize("size", [9, 18])
def test_a_caption_is_no_wider_than_its_picture_and_a_few_lines_high(text: str, size: int) -> None:
    lines = caption(text, 300, size).split("\n")
    assert max(font(size).getlength(line) for line in lines) <= 300
    assert len(lines) == MAX_LINES
    assert lines[-1].endswith(" …")


def test_a_short_caption_is_left_as_it_is() -> None:
    assert caption("the white lamps", 200, 9) == "the white lamps"
    assert caption("", 200, 9) == ""


def test_a_percent_sign_stays_with_its_number() -> None:
    assert caption("far more than 22 % of it", font(9).getlength("far more than 22"), 9).split("\n")[1].startswith("22")
