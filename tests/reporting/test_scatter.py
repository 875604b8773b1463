import numpy as np
import pandas as pd
import pytest

from saltext.reporting.compare import compare
from saltext.reporting.scatter import NAMED, chart, scatters, table


def scores(cc: list[float], task: str = "pure") -> pd.DataFrame:
    ids = [f"{place:03}" for place in range(len(cc))]
    return pd.DataFrame({"image_id": ids, "task": task, "text": [f"text {i}" for i in ids], "cc": cc})


ONE = scores([0.9, 0.5, 0.4, 0.7, 0.2, 0.6, 0.8, 0.3])
OTHER = scores([0.1, 0.6, 0.4, 0.5, 0.5, 0.5, 0.75, 0.35])


def test_pairs_are_matched_and_ranked_by_their_gap() -> None:
    (found,) = scatters(ONE, OTHER.sample(frac=1, random_state=0), ("a", "b"))
    assert [point.image_id for point in found.points] == ["000", "003", "005", "006", "002", "007", "001", "004"]
    assert found.points[0].gap == pytest.approx(0.8)
    assert len(found.numbered) == 2 * NAMED
    assert found.numbered["1"].image_id == "000"
    assert found.numbered[str(2 * NAMED)].image_id == "004"


def test_the_interval_is_that_of_the_comparison_of_two_runs() -> None:
    (found,) = scatters(ONE, OTHER, ("a", "b"))
    (expected,) = compare(ONE[["image_id", "task", "cc"]], OTHER[["image_id", "task", "cc"]])
    assert found.difference == expected
    assert found.difference.mean == pytest.approx(np.mean(ONE["cc"] - OTHER["cc"]))
    assert f"({expected.low:+.3f} to {expected.high:+.3f})" in chart(found).title


def test_undefined_scores_and_strangers_are_left_out() -> None:
    gappy = ONE.assign(cc=ONE["cc"].where(ONE.index != 1))
    (found,) = scatters(pd.concat([gappy, scores([0.5], "salient")]), OTHER[2:], ("a", "b"))
    assert sorted(point.image_id for point in found.points) == [f"{place:03}" for place in range(2, 8)]
    assert scatters(ONE, scores([0.1], "whole"), ("a", "b")) == []
    assert scatters(ONE, OTHER.rename(columns={"cc": "nss"}), ("a", "b")) == []


def test_a_point_says_which_pair_it_is_and_the_first_model_lies_upwards() -> None:
    (found,) = scatters(ONE, OTHER, ("a", "b"))
    drawn = chart(found)
    first = drawn.dots[0]
    assert (first.x, first.y, first.number) == (0.1, 0.9, "1")
    assert first.name == "000 text 000: 0.900 against 0.100"
    assert (drawn.xlabel, drawn.ylabel) == ("CC of b", "CC of a")
    assert sum(bool(dot.number) for dot in drawn.dots) == 2 * NAMED
    assert drawn.square


def test_the_table_has_the_numbered_points() -> None:
    grid = table(scatters(ONE, OTHER, ("a", "b")))
    assert grid.rows[0] == ["pure", "1", "000", "text 000", "0.900", "0.100", "+0.800"]
    assert [row[1] for row in grid.rows] == [str(n) for n in range(1, 2 * NAMED + 1)]
    assert list(grid.headings)[4:] == ["a", "b", "difference"]


def test_few_pairs_have_a_number_each_once() -> None:
    (found,) = scatters(ONE[:2], OTHER[:2], ("a", "b"))
    assert [point.image_id for point in found.numbered.values()] == ["000", "001"]
