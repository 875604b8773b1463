import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from saltext.reporting.charts import Chart, Curve, Dot, style, svg

NAN = math.nan


def drawn(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(svg(chart))


def texts(chart: Chart) -> list[str]:
    return [element.text or "" for element in drawn(chart).iter("text")]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def curves_of(chart: Chart) -> list[str]:
    return [e.attrib["d"] for e in drawn(chart).iter("path") if "curve" in e.attrib["class"]]


def test_higher_values_lie_higher_and_later_ones_to_the_right() -> None:
    (path,) = curves_of(Chart("t", "x", "y", [Curve("a", [0, 1, 2], [1, 5, 3])]))
    (x0, y0), (x1, y1), (x2, y2) = points(path)
    assert x0 < x1 < x2
    assert y1 < y2 < y0  # pixels count downwards
    assert x2 - x1 == pytest.approx(x1 - x0)
    assert (y0 - y2) / (y0 - y1) == pytest.approx(0.5, abs=0.01)


def test_a_gap_interrupts_a_curve_and_a_single_value_is_a_point() -> None:
    (path,) = curves_of(Chart("t", "x", "y", [Curve("a", [0, 1, 2, 3, 4], [1, 2, NAN, 3, 4])]))
    assert path.count("M") == 2
    assert path.count("L") == 2
    single = Chart("t", "x", "y", [Curve("a", [0, 1], [NAN, 2])])
    assert not curves_of(single)
    assert len(list(drawn(single).iter("circle"))) == 1
    assert svg(Chart("t", "x", "y", [Curve("a", [0], [NAN])]))  # nothing to show is no error


def test_the_axes_are_named_and_whole_numbers_stay_whole() -> None:
    chart = Chart("t", "epoch", "loss", [Curve("a", [0, 1, 2], [0.25, 0.5, 0.75])], whole=True)
    found = texts(chart)
    assert "epoch" in found
    assert "loss" in found
    assert {"0", "1", "2"} <= set(found)
    assert "0.5" not in texts(Chart("t", "x", "y", [Curve("a", [0, 1, 2], [5, 6, 7])], whole=True))


def test_several_curves_have_numbers_that_do_not_touch() -> None:
    same = [Curve(str(n), [0, 1], [0, 1]) for n in range(4)]
    numbers = [e for e in drawn(Chart("t", "x", "y", same)).iter("text") if "number" in e.attrib.get("class", "")]
    assert [e.text for e in numbers] == ["1", "2", "3", "4"]
    heights = sorted(float(e.attrib["y"]) for e in numbers)
    assert all(b - a > 11 for a, b in pairwise(heights))
    assert not [e for e in drawn(Chart("t", "x", "y", same[:1])).iter("text") if "number" in e.attrib.get("class", "")]


def test_colours_come_again_dashed() -> None:
    assert style(0) == "s0"
    assert style(8) == "s1 dashed"
    assert len({style(n) for n in range(14)}) == 14


def test_square_charts_have_one_scale_and_the_line_of_equal_values() -> None:
    chart = Chart("t", "x", "y", dots=[Dot(0.2, 0.2, "on it"), Dot(0.8, 0.4, "below")], square=True)
    circles = {e[0].text: e.attrib for e in drawn(chart).iter("circle")}
    (line,) = (e.attrib["d"] for e in drawn(chart).iter("path") if e.attrib["class"] == "even")
    (x0, y0), (x1, y1) = points(line)
    assert x1 - x0 == pytest.approx(y0 - y1)

    def above(name: str) -> float:
        x, y = float(circles[name]["cx"]), float(circles[name]["cy"])
        return (y0 - (x - x0)) - y  # of the line's height there

    assert above("on it") == pytest.approx(0, abs=0.2)
    assert above("below") < -10


def test_points_say_what_they_are_and_numbered_ones_stand_out() -> None:
    chart = Chart("t", "x", "y", dots=[Dot(0, 0, "<one> & all", "1"), Dot(1, 1, "two"), Dot(NAN, 1, "nowhere")])
    titles = [e.text for e in drawn(chart).iter("title")]
    assert titles == ["<one> & all", "two"]
    first, second = (e.attrib["class"] for e in drawn(chart).iter("circle"))
    assert "marked" in first
    assert "marked" not in second


def test_those_who_cannot_see_it_are_told_what_it_shows() -> None:
    chart = Chart('"CC" <by> epoch', "epoch", "CC", [Curve("a", [0], [1])], [Dot(0, 0, "x")])
    root = drawn(chart)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == '"CC" <by> epoch: CC against epoch, 1 curves and 1 points'


def test_a_band_lies_around_its_curve() -> None:
    chart = Chart("t", "x", "y", [Curve("a", [0, 1], [1, 2], [0.5, 1.5], [1.5, 2.5])])
    (band,) = (e.attrib["d"] for e in drawn(chart).iter("path") if "band" in e.attrib["class"])
    assert len(points(band)) == 4
    assert band.endswith("Z")


def test_a_constant_can_be_drawn_and_lengths_have_to_agree() -> None:
    assert curves_of(Chart("t", "x", "y", [Curve("a", [0, 1], [3, 3])]))
    with pytest.raises(ValueError, match="each of 2 places"):
        Curve("a", [0, 1], [1])
    with pytest.raises(ValueError, match="each of 2 places"):
        Curve("a", [0, 1], [1, 2], [0], [3])
