import numpy as np
import pandas as pd
import pytest

from saltext.reporting import score_grids
from saltext.reporting.compare import Difference
from saltext.reporting.tables import tables


def scores(cc: list[float], model: str, task: str = "pure") -> pd.DataFrame:
    ids = [f"{place:03}" for place in range(len(cc))]
    return pd.DataFrame({"image_id": ids, "task": task, "model": model, "protocol": "standard", "cc": cc})


def test_the_best_measured_mean_stands_out_and_ceilings_and_published_rows_do_not_compete() -> None:
    table = pd.concat([scores([0.5, 0.7], "net"), scores([0.4, 0.4], "uniform map"),
                       scores([0.9, 0.9], "split-half fixations")])  # fmt: skip
    (found,) = tables(table, {"standard": {"Theirs": {"pure": {"cc": 0.99}}}})
    grid = score_grids.results(found)
    assert list(grid.headings) == ["task", "model", "pairs", "CC ↑"]
    assert [row[1] for row in grid.rows] == ["net", "uniform map", "split-half fixations", "Theirs"]
    assert grid.rows[0][3] == "0.600 ± 0.100"
    assert grid.rows[3][2:] == ["published", "0.990"]
    assert grid.strong == {(0, 3)}
    assert grid.grouped


def test_intervals_hold_the_mean_and_leave_out_what_is_undefined() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 0.1, 40).tolist()
    one = scores([*values, np.nan], "a")
    grid = score_grids.intervals({"a": one, "b": scores([0.3], "b", "salient")})
    assert [row[:3] for row in grid.rows] == [["pure", "a", "41"], ["salient", "b", "1"]]
    mean, low, _, high = grid.rows[0][3].replace("(", "").replace(")", "").split()
    assert float(mean) == pytest.approx(np.mean(values), abs=5e-4)
    assert float(high) - float(low) == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(40), rel=0.25)
    assert grid.rows[1][3] == "0.300 (0.300 to 0.300)"
    assert score_grids.intervals({"a": one.assign(cc=np.nan)}).rows[0][3] == "–"


def test_differences_whose_interval_excludes_zero_stand_out() -> None:
    clear, unclear = Difference("pure", "cc", 0.1, 0.05, 0.15, 9), Difference("pure", "nss", -0.1, -0.3, 0.1, 9)
    other = Difference("salient", "cc", 0.2, 0.1, 0.3, 7)
    grid = score_grids.differences({"no text": [clear, unclear, other]}, "own text minus")
    assert list(grid.headings) == ["own text minus", "task", "images", "CC", "NSS"]
    assert grid.rows == [
        ["no text", "pure", "9", "+0.100 (+0.050 to +0.150)", "-0.100 (-0.300 to +0.100)"],
        ["no text", "salient", "7", "+0.200 (+0.100 to +0.300)", "–"],
    ]
    assert grid.strong == {(0, 3), (1, 3)}
