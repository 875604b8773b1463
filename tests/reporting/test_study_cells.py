"""Cells from made-up scores: what is averaged, compared and left out."""

import math
from pathlib import Path

import pytest

from saltext.reporting.study_cells import Cell, Verdict, by_circumstances, cells, frame, read_jobs
from saltext.reporting.study_expected import Line, Study
from saltext.system.run_folder import RunFolder
from tests.reporting.made_up import curves, measured, run, spread, study

LINE = Line("ours", "one", rows=("pure",), curve="theirs")


def against(published: float, **more: object) -> Study:
    return study(LINE, curves=curves(theirs=[published]), **more)


def only(study: Study, folder: Path, values: list[float]) -> Cell:
    (cell,) = of(study, run(folder / "a", {"pure": values}))
    return cell


def of(study: Study, *folders: RunFolder) -> list[Cell]:
    return cells(study, measured(study, read_jobs(folders)))


@pytest.mark.parametrize(
    ("published", "mean", "half", "verdict"),
    [
        (0.50, 0.54, 0.001, Verdict.WITHIN),
        (0.50, 0.46, 0.001, Verdict.WITHIN),
        (0.50, 0.55, 0.001, Verdict.WITHIN),  # exactly the tolerance
        (0.50, 0.60, 0.001, Verdict.ABOVE),
        (0.50, 0.40, 0.001, Verdict.BELOW),
        (0.50, 0.60, 0.500, Verdict.COVERED),  # standard error .5 / sqrt(50) = .07: the interval is about .46 to .74
        (0.40, 0.60, 0.500, Verdict.ABOVE),
    ],
)
def test_the_verdict_follows_from_tolerance_and_interval(
    tmp_path: Path, published: float, mean: float, half: float, verdict: Verdict
) -> None:
    assert only(against(published), tmp_path, spread(mean, half)).verdict is verdict


def test_the_interval_is_that_of_a_mean_over_images(tmp_path: Path) -> None:
    cell = only(against(0.9), tmp_path, spread(0.6, 0.1, pairs=400))
    half = 1.96 * 0.1 / math.sqrt(400)
    assert (cell.low, cell.high) == pytest.approx((0.6 - half, 0.6 + half), abs=half / 10)
    assert cell.mean == pytest.approx(0.6)
    assert cell.difference == pytest.approx(-0.3)
    assert cell.pairs == 400


def test_generated_data_gets_no_verdict_on_published_values(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {"pure": [0.5, 0.5]}, data="saltext.data.SyntheticDataModule")
    (cell,) = of(against(0.5), folder)
    assert cell.verdict is Verdict.GENERATED
    assert cell.passed is None


def test_a_published_cell_that_was_not_measured_stays_and_one_of_neither_goes(tmp_path: Path) -> None:
    lines = (LINE, Line("other", "one", where={"label": "nobody"}))
    (cell,) = of(study(*lines, curves=curves(theirs=[0.5])), run(tmp_path / "a", {"salient": [0.5]}))
    assert (cell.line, cell.row, cell.verdict, cell.pairs) == ("ours", "pure", Verdict.MISSING, 0)
    assert math.isnan(cell.mean)


def test_what_nobody_published_has_no_verdict(tmp_path: Path) -> None:
    (cell,) = of(study(Line("ours", "one", rows=("pure",))), run(tmp_path / "a", {"pure": [0.5]}))
    assert cell.verdict is Verdict.UNPUBLISHED
    assert math.isnan(cell.published)


def test_only_the_study_s_protocol_is_read(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {"pure": [0.2, 0.4]})  # the standard rows are 1 higher
    assert of(against(0.5), folder)[0].mean == pytest.approx(0.3)
    assert of(against(0.5, protocol="standard"), folder)[0].mean == pytest.approx(1.3)


def test_lines_tell_jobs_apart_by_values_of_their_configuration(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a", {"pure": [0.1]}, label="a"), run(tmp_path / "b", {"pure": [0.9]}, label="b"),
               run(tmp_path / "c", {"pure": [0.5]}, label="a", name="another")]  # fmt: skip
    lines = [Line(name, "one", where={"label": name}, rows=("pure",)) for name in ("a", "b")]
    assert [cell.mean for cell in of(study(*lines), *folders)] == pytest.approx([0.1, 0.9])


def test_a_line_can_be_a_stage_or_a_baseline(tmp_path: Path) -> None:
    stages = {"warmup": {"test": False}, "pure": {}}
    folder = run(tmp_path / "a", {"pure": [0.7]}, stages=stages, stage="pure", baseline={"pure": [0.3]})
    lines = [Line("stage", "one", stage="pure"), Line("prior", "one", stage="pure", model="centre prior"),
             Line("whole run", "one")]  # fmt: skip
    assert {cell.line: cell.mean for cell in of(study(*lines), folder)} == {"stage": 0.7, "prior": 0.3}


def test_tasks_pooled_in_a_row_are_averaged_over_pairs_and_must_all_be_there(tmp_path: Path) -> None:
    rows = {"both": ["pure", "salient"]}
    folder = run(tmp_path / "a", {"pure": [0.0, 0.0, 0.3], "salient": [0.9]}, baseline={"pure": [0.5]})
    lines = (Line("ours", "one"), Line("prior", "one", model="centre prior"))
    (cell,) = of(study(*lines, rows=rows), folder)
    assert (cell.line, cell.pairs) == ("ours", 4)
    assert cell.mean == pytest.approx(0.3)


def test_the_pairs_of_an_image_are_drawn_together(tmp_path: Path) -> None:
    # Each image is 0 on one task and 1 on the other: resampling images never changes the mean, resampling pairs would.
    folder = run(tmp_path / "a", {"pure": [0.0] * 9, "salient": [1.0] * 9})
    (cell,) = of(study(rows={"both": ["pure", "salient"]}), folder)
    assert (cell.low, cell.high) == pytest.approx((0.5, 0.5))


def test_splits_and_choices_of_the_epoch_are_kept_apart(tmp_path: Path) -> None:
    jobs = read_jobs(run(tmp_path / on, {"pure": [0.5]}, choose_on=on) for on in ("test", "val"))
    found = by_circumstances(jobs, [LINE])
    assert len(found) == 2
    assert any("validation part" in how for how in found)
    assert any("optimistic" in how for how in found)


def test_folds_of_one_cross_validation_are_together_and_others_apart(tmp_path: Path) -> None:
    methods = {"a": "fold 0 of 5, validation 0", "b": "fold 3 of 5, validation 0", "c": "fold 0 of 4, validation 0",
               "d": "fold 1 of 5, validation 0.1"}  # fmt: skip
    jobs = read_jobs(run(tmp_path / name, {"pure": [0.5]}, method=method) for name, method in methods.items())
    found = by_circumstances(jobs, [LINE])
    together = {how.split(", seed")[0]: [job.folder.root.name for job in part] for how, part in found.items()}
    assert together == {
        "Split: 1 of 4 folds, validation 0": ["c"],
        "Split: 1 of 5 folds, validation 0.1": ["d"],
        "Split: 2 of 5 folds, validation 0": ["a", "b"],
    }


def test_a_fold_is_counted_once_it_was_scored_and_a_line_that_has_fewer_is_told(tmp_path: Path) -> None:
    lines = [Line(name, "one", where={"label": name}) for name in "ab"]
    folders = [run(tmp_path / f"a{fold}", {"pure": [0.5]}, label="a", method=f"fold {fold} of 2") for fold in (0, 1)]
    folders += [run(tmp_path / "b0", {"pure": [0.5]}, label="b", method="fold 0 of 2")]
    folders += [run(tmp_path / "b1", label="b", method="fold 1 of 2")]
    (how,) = by_circumstances(read_jobs(folders), lines)
    assert how.startswith("Split: 1 to 2 of 2 folds, seed 0")
    (how,) = by_circumstances(read_jobs(folders), lines[:1])
    assert how.startswith("Split: 2 folds, seed 0")


@pytest.mark.parametrize(("metric", "ours", "passed"), [("cc", 0.51, True), ("cc", 0.5, False), ("cc", 0.4, False),
                                                        ("kl", 0.4, True), ("kl", 0.51, False)])  # fmt: skip
def test_a_published_value_is_passed_by_however_little_in_the_metric_s_direction(
    metric: str, ours: float, passed: bool
) -> None:
    cell = Cell("pure", "ours", metric, 0.5, ours, ours - 0.1, ours + 0.1, 10, Verdict.WITHIN)
    assert cell.passed is passed


def test_what_was_not_measured_or_not_published_is_not_said_to_be_passed() -> None:
    for verdict in (Verdict.MISSING, Verdict.UNPUBLISHED, Verdict.GENERATED):
        assert Cell("pure", "ours", "cc", 0.5, 0.6, 0.5, 0.7, 10, verdict).passed is None


def test_a_run_without_a_split_has_nothing_to_show(tmp_path: Path) -> None:
    folder = run(tmp_path / "a")
    folder.split.unlink()
    assert read_jobs([folder]) == []


def test_a_job_that_has_not_finished_shows_what_is_published(tmp_path: Path) -> None:
    (cell,) = of(against(0.5), run(tmp_path / "a"))
    assert cell.verdict is Verdict.MISSING


def test_the_table_of_cells_says_split_tolerance_and_verdict(tmp_path: Path) -> None:
    wanted = against(0.5)
    found = {"how it was": of(wanted, run(tmp_path / "a", {"pure": [0.7, 0.7]}))}
    (row,) = frame(found, wanted).to_dict("records")
    assert (row["how"], row["tolerance"], row["verdict"], row["published"]) == ("how it was", 0.05, "above", 0.5)
    assert row["passed"]
    assert (row["ours"], row["low"], row["high"]) == pytest.approx((0.7, 0.7, 0.7))
