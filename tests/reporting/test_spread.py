import math

import pandas as pd
import pytest

from saltext.reporting import spread


def test_the_error_is_over_the_means_of_runs() -> None:
    scores = pd.DataFrame(
        {"task": "pure", "model": "m", "run": ["a", "a", "b", "b", "c", "c"], "cc": [0.1, 0.3, 0.3, 0.5, 0.4, 0.8]}
    )
    (row,) = spread.over_runs(scores).to_dict("records")
    assert row["mean"] == pytest.approx(0.4)  # run means 0.2, 0.4, 0.6
    assert row["error"] == pytest.approx(0.2 / math.sqrt(3))
    assert row["runs"] == 3


def test_a_single_run_has_no_spread(capsys: pytest.CaptureFixture[str]) -> None:
    found = spread.over_runs(pd.DataFrame({"task": "pure", "model": "m", "run": "a", "cc": [0.1, 0.3]}))
    assert found.empty
    spread.show(found)
    assert capsys.readouterr().out == ""
