"""Cells from made-up scores: what is averaged, compared and left out."""

import math
from pathlib import Path

import pytest

from saltext.reporting.study_cells import Cell, Verdict, by_circumstances, cells, frame, read_jobs, scores
from saltext.reporting.study_expected import Line, Study
from tests.reporting.made_up import curves, run, spread, study

LINE = Line("ours", "one", rows=("pure",), curve="theirs")


def against(published: float, **more: object) -> Study:
    return study(LINE, curves=curves(theirs=[published]), **more)


def only(study: Study, folder: Path, values: list[float]) -> Cell:
    (cell,) = cells(study, read_jobs([run(folder / "a", {"pure": values})]))
    return cell


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
    jobs = read_jobs([run(tmp_path / "a", {"pure": [0.5, 0.5]}, data="saltext.data.SyntheticDataModule")])
    (cell,) = cells(against(0.5), jobs)
    assert cell.verdict is Verdict.GENERATED


def test_a_published_cell_that_was_not_measured_stays_and_one_of_neither_goes(tmp_path: Path) -> None:
    lines = (LINE, Line("other", "one", where={"label": "nobody"}))
    jobs = read_jobs([run(tmp_path / "a", {"salient": [0.5]})])
    (cell,) = cells(study(*lines, curves=curves(theirs=[0.5])), jobs)
    assert (cell.line, cell.row, cell.verdict, cell.pairs) == ("ours", "pure", Verdict.MISSING, 0)
    assert math.isnan(cell.mean)


def test_what_nobody_published_has_no_verdict(tmp_path: Path) -> None:
    (cell,) = cells(study(Line("ours", "one", rows=("pure",))), read_jobs([run(tmp_path / "a", {"pure": [0.5]})]))
    assert cell.verdict is Verdict.UNPUBLISHED
    assert math.isnan(cell.published)


def test_only_the_study_s_protocol_is_read(tmp_path: Path) -> None:
    job = [run(tmp_path / "a", {"pure": [0.2, 0.4]})]  # the standard rows are 1 higher
    assert cells(against(0.5), read_jobs(job))[0].mean == pytest.approx(0.3)
    assert cells(study(LINE, curves=curves(theirs=[0.5]), protocol="standard"), read_jobs(job))[0].mean == (
        pytest.approx(1.3)
    )


def test_seeds_of_a_pair_are_averaged_and_count_as_one_pair(tmp_path: Path) -> None:
    jobs = read_jobs(run(tmp_path / str(seed), {"pure": [0.1 * seed, 0.5]}, seed=seed) for seed in (1, 3))
    table = scores(against(0.5), LINE, jobs)
    assert sorted(table["cc"]) == pytest.approx([0.2, 0.5])


def test_lines_tell_jobs_apart_by_values_of_their_configuration(tmp_path: Path) -> None:
    jobs = read_jobs([run(tmp_path / "a", {"pure": [0.1]}, label="a"), run(tmp_path / "b", {"pure": [0.9]}, label="b"),
                      run(tmp_path / "c", {"pure": [0.5]}, label="a", name="another")])  # fmt: skip
    lines = [Line(name, "one", where={"label": name}, rows=("pure",)) for name in ("a", "b")]
    assert [cell.mean for cell in cells(study(*lines), jobs)] == pytest.approx([0.1, 0.9])


def test_a_line_can_be_a_stage_or_a_baseline(tmp_path: Path) -> None:
    stages = {"warmup": {"test": False}, "pure": {}}
    folder = run(tmp_path / "a", {"pure": [0.7]}, stages=stages, stage="pure", baseline={"pure": [0.3]})
    lines = [Line("stage", "one", stage="pure"), Line("prior", "one", stage="pure", model="centre prior"),
             Line("whole run", "one")]  # fmt: skip
    assert {cell.line: cell.mean for cell in cells(study(*lines), read_jobs([folder]))} == {"stage": 0.7, "prior": 0.3}


def test_tasks_pooled_in_a_row_are_averaged_over_pairs_and_must_all_be_there(tmp_path: Path) -> None:
    rows = {"both": ["pure", "salient"]}
    folder = run(tmp_path / "a", {"pure": [0.0, 0.0, 0.3], "salient": [0.9]}, baseline={"pure": [0.5]})
    lines = (Line("ours", "one"), Line("prior", "one", model="centre prior"))
    (cell,) = cells(study(*lines, rows=rows), read_jobs([folder]))
    assert (cell.line, cell.pairs) == ("ours", 4)
    assert cell.mean == pytest.approx(0.3)


def test_the_pairs_of_an_image_are_drawn_together(tmp_path: Path) -> None:
    # Each image is 0 on one task and 1 on the other: resampling images never changes the mean, resampling pairs would.
    folder = run(tmp_path / "a", {"pure": [0.0] * 9, "salient": [1.0] * 9})
    (cell,) = cells(study(rows={"both": ["pure", "salient"]}), read_jobs([folder]))
    assert (cell.low, cell.high) == pytest.approx((0.5, 0.5))


def test_splits_and_choices_of_the_epoch_are_kept_apart(tmp_path: Path) -> None:
    jobs = read_jobs(run(tmp_path / on, {"pure": [0.5]}, choose_on=on) for on in ("test", "val"))
    found = by_circumstances(jobs, [LINE])
    assert len(found) == 2
    assert any("validation part" in how for how in found)
    assert any("optimistic" in how for how in found)


def test_a_run_without_a_split_has_nothing_to_show(tmp_path: Path) -> None:
    folder = run(tmp_path / "a")
    folder.split.unlink()
    assert read_jobs([folder]) == []


def test_a_job_that_has_not_finished_shows_what_is_published(tmp_path: Path) -> None:
    (cell,) = cells(against(0.5), read_jobs([run(tmp_path / "a")]))
    assert cell.verdict is Verdict.MISSING


def test_the_table_of_cells_says_split_tolerance_and_verdict(tmp_path: Path) -> None:
    wanted = against(0.5)
    found = {"how it was": cells(wanted, read_jobs([run(tmp_path / "a", {"pure": [0.7, 0.7]})]))}
    (row,) = frame(found, wanted).to_dict("records")
    assert (row["how"], row["tolerance"], row["verdict"], row["published"]) == ("how it was", 0.05, "above", 0.5)
    assert (row["ours"], row["low"], row["high"]) == pytest.approx((0.7, 0.7, 0.7))
