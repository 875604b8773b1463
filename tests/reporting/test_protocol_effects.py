"""The part of a study's page that says what the published protocol adds."""

from pathlib import Path

import pandas as pd
import pytest

from saltext.reporting.protocol_effects import FIGURE_FILE, blocks, side_by_side
from saltext.reporting.study_page import write_again, write_study
from saltext.results.protocol_effects import AUTHORS, EPOCHS_FILE, STAND_IN, TESTED_FILE
from saltext.runs.records import read_records
from tests.results.test_protocol_effects import WANTED, arm, by_epoch, epochs

PNG = b"\x89PNG\r\n\x1a\n"
TABLE = epochs(leaky=by_epoch([0.5, 0.8, 0.7], [0.1, 0.2, 0.4]), clean=by_epoch([0.5, 0.5, 0.6], []))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folders = [arm(tmp_path / "runs", name) for name in ("published", "leaky", "clean")]
    write_study(WANTED, read_records(folders), tmp_path / "out")
    return tmp_path / "out"


def test_a_study_of_arms_has_a_conclusion_a_figure_and_a_table_of_every_case(written: Path) -> None:
    text = (written / "results.md").read_text()
    assert "Training on test images under other texts adds to CC in 0 of 1 cases" in text
    assert "of our networks, not of the published ones" in text
    assert "| best test epoch instead of the last | net | whole | +0.000 (" in text
    assert (written / FIGURE_FILE).read_bytes().startswith(PNG)
    assert len(pd.read_csv(written / "effects.csv")) == 4
    assert "one: net, leaky" in (written / "runs.csv").read_text()


def test_the_same_comes_from_the_kept_files(written: Path, tmp_path: Path) -> None:
    assert {EPOCHS_FILE, TESTED_FILE} <= {path.name for path in written.iterdir()}
    write_again(WANTED, written / "scores.csv.gz", tmp_path / "again")
    for name in ("effects.csv", "results.md"):
        assert (tmp_path / "again" / name).read_text() == (written / name).read_text()


def test_row_orders_are_never_in_one_table(tmp_path: Path) -> None:
    both = pd.concat([TABLE, TABLE.assign(rows=AUTHORS)])
    tested = pd.DataFrame({"rows": [STAND_IN, AUTHORS], "network": "net", "protocol": "standard", "task": "pure",
                           "image_id": "1", "cc": [0.1, 0.9]})  # fmt: skip
    points, shown = blocks(both, tested, ["net"], tmp_path)
    assert len(points) == 2
    assert shown.count(f"Test rows by {AUTHORS}.") == 1
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [FIGURE_FILE, f"stand-in_{FIGURE_FILE}"]


def test_the_figure_of_the_authors_rows_is_the_one_without_an_addition_to_its_name(tmp_path: Path) -> None:
    theirs = TABLE.assign(rows=AUTHORS, cc=TABLE["cc"] ** 2)
    for folder, scores in (("both", pd.concat([TABLE, theirs])), ("alone", theirs)):
        (tmp_path / folder).mkdir()
        blocks(scores, pd.DataFrame(), ["net"], tmp_path / folder)
    drawn = {path.parent.name: path.read_bytes() for path in tmp_path.rglob(FIGURE_FILE)}
    assert drawn["both"] == drawn["alone"] != (tmp_path / "both" / f"stand-in_{FIGURE_FILE}").read_bytes()


def test_scripts_and_standard_metrics_stand_side_by_side_and_say_that_they_are_not_to_be_summed() -> None:
    rows = [
        {"network": "net", "protocol": protocol, "task": "pure", "image_id": image, name: value}
        for image in ("1", "2")
        for protocol, name, value in (("tranblend", "cc", 0.4), ("standard", "cc", 0.5), ("standard", "auc_judd", 0.8))
    ]
    grid = side_by_side(pd.DataFrame(rows))
    shown = dict(zip(grid.headings, grid.rows[0], strict=True))
    assert (shown["CC, script"], shown["CC, standard"], shown["AUC, standard"]) == ("0.400", "0.500", "0.800")
    assert shown["AUC, script"] == "–"
    assert "added to none" in grid.note
