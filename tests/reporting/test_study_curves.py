"""A study's figure from made-up logs."""

from pathlib import Path

import pandas as pd
import pytest

from saltext.reporting.study_cells import by_circumstances, read_jobs
from saltext.reporting.study_curves import best_and_last, panels, values
from saltext.reporting.study_expected import Line, Study
from saltext.system.run_folder import RunFolder
from tests.reporting.made_up import curves, run, study

LINE = Line("ours", "one", curve="theirs")
WANTED = study(LINE, curves=curves(theirs=[0.3, 0.5, 0.4]), panels={"cc": "CC", "train/loss": "Loss"})


def points(wanted: Study, *folders: RunFolder) -> pd.DataFrame:
    return values(wanted, by_circumstances(read_jobs(folders), wanted.lines))


def test_ours_stand_beside_the_published_curve(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", curve={"test/cc": [0.1, 0.2], "train/loss": [9.0, 8.0]})
    found = points(WANTED, folder)
    drawn = {panel.title: panel.lines for panel in panels(WANTED, found)}
    assert [(line.label, list(line.values), line.published) for line in drawn["CC"]] == [
        ("ours, paper", [0.3, 0.5, 0.4], True),
        ("ours", [0.1, 0.2], False),
    ]
    assert [(line.label, list(line.epochs)) for line in drawn["Loss"]] == [("ours", [0, 1])]


def test_a_metric_is_read_from_the_part_that_chose_the_epoch(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", choose_on="val", curve={"val/cc": [0.7], "test/cc": [0.1]})
    found = points(WANTED, folder)
    assert found.query("by == 'ours' and logged == 'cc'")["value"].tolist() == [0.7]


def test_the_curves_of_a_stage_are_the_stage_s(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", stages={"pure": {}}, stage="pure", curve={"test/cc": [0.6]})
    staged = study(Line("ours", "one", stage="pure"), panels={"cc": "CC"})
    assert points(staged, folder)["value"].tolist() == [0.6]
    assert points(study(Line("ours", "one"), panels={"cc": "CC"}), folder).empty


def test_seeds_are_averaged_by_epoch(tmp_path: Path) -> None:
    folders = [run(tmp_path / str(s), seed=s, curve={"test/cc": [0.1 * s, 0.2 * s]}) for s in (1, 3)]
    found = points(WANTED, *folders).query("by == 'ours'")
    assert found["value"].tolist() == pytest.approx([0.2, 0.4])


def test_runs_of_two_kinds_of_split_are_two_numbered_curves(tmp_path: Path) -> None:
    folders = [run(tmp_path / on, choose_on=on, curve={f"{on}/cc": [0.1]}) for on in ("test", "val")]
    (panel,) = panels(WANTED, points(WANTED, *folders))
    assert [line.label for line in panel.lines] == ["ours, paper", "ours (1)", "ours (2)"]


def test_without_a_log_the_published_curve_is_drawn_alone(tmp_path: Path) -> None:
    (panel,) = panels(WANTED, points(WANTED, run(tmp_path / "a")))
    assert [line.published for line in panel.lines] == [True]


def test_what_a_curve_loses_after_its_best_epoch_is_measured_in_the_metric_s_direction(tmp_path: Path) -> None:
    wanted = study(Line("ours", "one"), panels={"cc": "CC", "kl": "KL", "train/loss": "Loss"})
    curve = {"test/cc": [0.1, 0.4, 0.3], "test/kl": [0.9, 0.2, 0.5], "train/loss": [3.0, 2.0, 1.0]}
    table = best_and_last(points(wanted, run(tmp_path / "a", curve=curve))).set_index("logged")
    assert list(table.index) == ["cc", "kl"]  # a loss that falls says nothing of new images
    assert table.loc["cc", ["best", "epoch", "last", "lost"]].tolist() == pytest.approx([0.4, 1, 0.3, 0.1])
    assert table.loc["kl", ["best", "epoch", "last", "lost"]].tolist() == pytest.approx([0.2, 1, 0.5, 0.3])
