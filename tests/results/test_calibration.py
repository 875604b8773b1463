from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saltext.results import calibration
from saltext.results.calibration import COLUMNS, LEVELS, calibrations
from saltext.system.run_folder import RunFolder

AT = np.array(LEVELS)


def coverages(shares: list[np.ndarray], task: str = "pure", images: list[str] | None = None) -> pd.DataFrame:
    """One row a pair."""
    names = images or [f"{place:03}" for place in range(len(shares))]
    rows = [[image, task, "model", 50, *share] for image, share in zip(names, shares, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_perfect_shares_have_no_error_of_either_kind() -> None:
    (found,) = calibrations(coverages([AT, AT]))
    assert (found.task, found.pairs, found.signed_error.images) == ("pure", 2, 2)
    assert found.error == pytest.approx(0)
    assert found.signed_error.mean == pytest.approx(0)


def test_the_error_is_the_mean_distance_of_the_mean_curve_by_hand() -> None:
    # The pairs' curves lie .10 above and .06 below the diagonal: their mean .02 above it, at each level.
    (found,) = calibrations(coverages([AT + 0.1, AT - 0.06]))
    np.testing.assert_allclose(found.covered, AT + 0.02)
    assert found.error == pytest.approx(0.02)
    assert found.signed_error.mean == pytest.approx(0.02)
    # Of a curve that crosses, distances do not cancel: half of the levels .1 above, half below, one on it.
    crossing = AT + 0.1 * np.sign(0.5 - AT)
    (found,) = calibrations(coverages([crossing]))
    assert found.error == pytest.approx(0.1 * 18 / 19)
    assert found.signed_error.mean == pytest.approx(0)


def test_all_or_nothing_are_the_worst_there_is() -> None:
    for share in (0.0, 1.0):
        (found,) = calibrations(coverages([np.full(19, share)]))
        assert found.error == pytest.approx(0.5)
        assert found.signed_error.mean == pytest.approx(share - 0.5)


def test_undefined_pairs_are_left_out_and_tasks_stand_in_their_order() -> None:
    table = pd.concat(
        [
            coverages([AT], "salient"),
            coverages([AT, np.full(19, np.nan)], "pure"),
            coverages([np.full(19, np.nan)], "whole"),
        ]
    )
    found = calibrations(table)
    assert [(one.task, one.pairs) for one in found] == [("pure", 1), ("salient", 1)]
    assert calibrations(table[:0]) == []


def test_intervals_hold_the_curve_and_count_images_not_pairs() -> None:
    rng = np.random.default_rng(0)
    alone = [np.clip(AT + rng.normal(0, 0.1), 0, 1) for _ in range(60)]
    (once,) = calibrations(coverages(alone))
    assert (once.low <= once.covered).all()
    assert (once.covered <= once.high).all()
    assert once.signed_error.low < once.signed_error.mean < once.signed_error.high
    ids = [f"{place:03}" for place in range(60)]
    (thrice,) = calibrations(coverages([*alone, *alone, *alone], images=ids * 3))
    assert (thrice.pairs, thrice.signed_error.images) == (180, 60)
    np.testing.assert_allclose(thrice.high - thrice.low, once.high - once.low, rtol=0.15)


def test_human_maps_are_looked_at_by_themselves() -> None:
    table = pd.concat([coverages([AT]), coverages([AT + 0.04]).assign(maps="human")])
    assert [one.signed_error.mean for one in calibrations(table)] == pytest.approx([0.0])
    assert [one.signed_error.mean for one in calibrations(table, "human")] == pytest.approx([0.04])


def test_what_was_kept_is_read_back_to_the_last_digit_unless_the_maps_are_others(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert calibration.read(folder, "abc") is None
    table = coverages([AT / 3, np.full(19, np.nan)], images=["007", "0008"])
    calibration.write(folder, table, "abc")
    kept = calibration.read(folder, "abc")
    assert kept is not None
    pd.testing.assert_frame_equal(kept, table)
    assert calibration.read(folder, "xyz") is None
    folder.coverage.write_text("something,else\n1,2\n")
    assert calibration.read(folder, "abc") is None
