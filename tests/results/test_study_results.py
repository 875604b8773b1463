"""Kept scores and cells from made-up scores, and curves from made-up logs: what is averaged, compared and left out."""

import dataclasses
import gzip
import math
import re
from pathlib import Path

import pandas as pd
import pytest

from saltext.errors import ConfigError
from saltext.results.comparison import Estimate
from saltext.results.study import Line, Study, known_study, studies_folder
from saltext.results.study_results import (
    Cell,
    StudyScores,
    Verdict,
    ablations,
    best_and_last,
    by_seed,
    by_setting,
    cells,
    compared_lines,
    frame,
    kept_file,
    numbered,
    pooled_scores,
    read_kept,
    values,
    write_kept,
)
from saltext.runs.records import read_records
from saltext.system.run_folder import RunFolder
from tests.made_up_scores import curves, measured, run, spread, study

LINE = Line("ours", "one", rows=("pure",), curve="theirs")


def against(published: float, **more: object) -> Study:
    return study(LINE, curves=curves(theirs=[published]), **more)


def only(study: Study, folder: Path, cc: list[float]) -> Cell:
    (cell,) = of(study, run(folder / "a", {"pure": cc}))
    return cell


def of(study: Study, *folders: RunFolder) -> list[Cell]:
    return cells(study, measured(study, read_records(folders)))


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
    assert (cell.ours.low, cell.ours.high) == pytest.approx((0.6 - half, 0.6 + half), abs=half / 10)
    assert cell.ours.mean == pytest.approx(0.6)
    assert cell.difference.mean == pytest.approx(-0.3)
    assert cell.pairs == 400


def test_generated_data_gets_no_verdict_on_published_values(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {"pure": [0.5, 0.5]}, data="saltext.data.sources.synthetic.Synthetic")
    (cell,) = of(against(0.5), folder)
    assert cell.verdict is Verdict.GENERATED
    assert cell.passed is None


def test_a_published_cell_that_was_not_measured_stays_and_one_of_neither_goes(tmp_path: Path) -> None:
    lines = (LINE, Line("other", "one", where={"label": "nobody"}))
    (cell,) = of(study(*lines, curves=curves(theirs=[0.5])), run(tmp_path / "a", {"salient": [0.5]}))
    assert (cell.line, cell.row, cell.verdict, cell.pairs) == ("ours", "pure", Verdict.MISSING, 0)
    assert math.isnan(cell.ours.mean)


def test_unpublished_values_have_no_verdict(tmp_path: Path) -> None:
    (cell,) = of(study(Line("ours", "one", rows=("pure",))), run(tmp_path / "a", {"pure": [0.5]}))
    assert cell.verdict is Verdict.UNPUBLISHED
    assert math.isnan(cell.published)


def test_only_the_study_s_protocol_is_read(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {"pure": [0.2, 0.4]})  # the standard rows are 1 higher
    assert of(against(0.5), folder)[0].ours.mean == pytest.approx(0.3)
    assert of(against(0.5, protocol="standard"), folder)[0].ours.mean == pytest.approx(1.3)


def test_lines_select_runs_by_values_of_their_configuration(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a", {"pure": [0.1]}, label="a"), run(tmp_path / "b", {"pure": [0.9]}, label="b"),
               run(tmp_path / "c", {"pure": [0.5]}, label="a", name="another")]  # fmt: skip
    lines = [Line(name, "one", where={"label": name}, rows=("pure",)) for name in ("a", "b")]
    assert [cell.ours.mean for cell in of(study(*lines), *folders)] == pytest.approx([0.1, 0.9])


def test_a_line_can_be_a_stage_or_a_baseline(tmp_path: Path) -> None:
    stages = {"warmup": {"test": False}, "pure": {}}
    folder = run(tmp_path / "a", {"pure": [0.7]}, stages=stages, stage="pure", baseline={"pure": [0.3]})
    lines = [Line("stage", "one", stage="pure"), Line("prior", "one", stage="pure", model="centre prior"),
             Line("whole run", "one")]  # fmt: skip
    assert {cell.line: cell.ours.mean for cell in of(study(*lines), folder)} == {"stage": 0.7, "prior": 0.3}


def test_tasks_pooled_in_a_row_are_averaged_over_pairs_and_must_all_be_there(tmp_path: Path) -> None:
    rows = {"both": ["pure", "salient"]}
    folder = run(tmp_path / "a", {"pure": [0.0, 0.0, 0.3], "salient": [0.9]}, baseline={"pure": [0.5]})
    lines = (Line("ours", "one"), Line("prior", "one", model="centre prior"))
    (cell,) = of(study(*lines, rows=rows), folder)
    assert (cell.line, cell.pairs) == ("ours", 4)
    assert cell.ours.mean == pytest.approx(0.3)


def test_the_pairs_of_an_image_are_drawn_together(tmp_path: Path) -> None:
    # Each image is 0 on one task and 1 on the other: resampling images never changes the mean, resampling pairs would.
    folder = run(tmp_path / "a", {"pure": [0.0] * 9, "salient": [1.0] * 9})
    (cell,) = of(study(rows={"both": ["pure", "salient"]}), folder)
    assert (cell.ours.low, cell.ours.high) == pytest.approx((0.5, 0.5))


def test_evaluation_settings_are_kept_apart(tmp_path: Path) -> None:
    records = read_records(run(tmp_path / on, {"pure": [0.5]}, selection_split=on) for on in ("test", "val"))
    found = by_setting(records, [LINE])
    assert len(found) == 2
    assert any("validation set" in setting for setting in found)
    assert any("optimistic" in setting for setting in found)


def test_folds_of_one_cross_validation_are_together_and_others_apart(tmp_path: Path) -> None:
    methods = {"a": "fold 0 of 5, validation 0", "b": "fold 3 of 5, validation 0", "c": "fold 0 of 4, validation 0",
               "d": "fold 1 of 5, validation 0.1"}  # fmt: skip
    records = read_records(run(tmp_path / name, {"pure": [0.5]}, method=method) for name, method in methods.items())
    found = by_setting(records, [LINE])
    together = {setting.split(", seed")[0]: [run.folder.root.name for run in part] for setting, part in found.items()}
    assert together == {
        "Split: 1 of 4 folds, validation 0": ["c"],
        "Split: 1 of 5 folds, validation 0.1": ["d"],
        "Split: 2 of 5 folds, validation 0": ["a", "b"],
    }


def test_a_fold_is_counted_once_it_was_scored_and_a_line_that_has_fewer_is_said(tmp_path: Path) -> None:
    lines = [Line(name, "one", where={"label": name}) for name in "ab"]
    folders = [run(tmp_path / f"a{fold}", {"pure": [0.5]}, label="a", method=f"fold {fold} of 2") for fold in (0, 1)]
    folders += [run(tmp_path / "b0", {"pure": [0.5]}, label="b", method="fold 0 of 2")]
    folders += [run(tmp_path / "b1", label="b", method="fold 1 of 2")]
    (setting,) = by_setting(read_records(folders), lines)
    assert setting.startswith("Split: 1 to 2 of 2 folds, seed 0")
    (setting,) = by_setting(read_records(folders), lines[:1])
    assert setting.startswith("Split: 2 folds, seed 0")


@pytest.mark.parametrize(("metric", "ours", "passed"), [("cc", 0.51, True), ("cc", 0.5, False), ("cc", 0.4, False),
                                                        ("kl", 0.4, True), ("kl", 0.51, False)])  # fmt: skip
def test_a_published_value_is_passed_by_however_little_in_the_metric_s_direction(
    metric: str, ours: float, passed: bool
) -> None:
    cell = Cell("pure", "ours", metric, 0.5, Estimate(ours, ours - 0.1, ours + 0.1), 10, Verdict.WITHIN)
    assert cell.passed is passed


def test_the_difference_from_a_published_value_has_the_interval_of_ours() -> None:
    cell = Cell("pure", "ours", "cc", 0.5, Estimate(0.6, 0.55, 0.65), 10, Verdict.ABOVE)
    assert (str(cell), cell.difference.signed()) == ("0.600 (0.550 to 0.650)", "+0.100 (+0.050 to +0.150)")
    unpublished = Cell("pure", "ours", "cc", math.nan, Estimate(0.6, 0.55, 0.65), 10, Verdict.UNPUBLISHED)
    unmeasured = Cell("pure", "ours", "cc", 0.5, Estimate(math.nan), 0, Verdict.MISSING)
    assert (unpublished.difference.signed(), unmeasured.difference.signed(), str(unmeasured)) == ("–", "–", "–")


def test_what_was_not_measured_or_not_published_is_not_said_to_be_passed() -> None:
    for verdict in (Verdict.MISSING, Verdict.UNPUBLISHED, Verdict.GENERATED):
        assert Cell("pure", "ours", "cc", 0.5, Estimate(0.6, 0.5, 0.7), 10, verdict).passed is None


def test_a_run_without_a_split_has_nothing_to_show(tmp_path: Path) -> None:
    folder = run(tmp_path / "a")
    folder.split.unlink()
    assert read_records([folder]) == []


def test_a_run_that_has_not_finished_shows_what_is_published(tmp_path: Path) -> None:
    (cell,) = of(against(0.5), run(tmp_path / "a"))
    assert cell.verdict is Verdict.MISSING


def test_the_table_of_cells_says_split_tolerance_and_verdict(tmp_path: Path) -> None:
    wanted = against(0.5)
    found = {"how it was": of(wanted, run(tmp_path / "a", {"pure": [0.7, 0.7]}))}
    (row,) = frame(found, wanted).to_dict("records")
    assert (row["setting"], row["tolerance"], row["verdict"], row["published"]) == ("how it was", 0.05, "above", 0.5)
    assert row["passed"]
    assert (row["ours"], row["low"], row["high"]) == pytest.approx((0.7, 0.7, 0.7))


CURVE = Line("ours", "one", curve="theirs")
WANTED = study(CURVE, curves=curves(theirs=[0.3, 0.5, 0.4]), panels={"cc": "CC", "train/loss": "Loss"})


def points(wanted: Study, *folders: RunFolder) -> pd.DataFrame:
    return values(wanted, by_setting(read_records(folders), wanted.lines))


def test_our_curves_stand_beside_the_published_ones_from_epoch_0(tmp_path: Path) -> None:
    found = points(WANTED, run(tmp_path / "a", curve={"test/cc": [0.1, 0.2], "train/loss": [9.0, 8.0]}))
    by_curve = {key: part["value"].tolist() for key, part in found.groupby(["by", "logged"])}
    assert by_curve == {
        ("published", "cc"): [0.3, 0.5, 0.4], ("ours", "cc"): [0.1, 0.2], ("ours", "train/loss"): [9.0, 8.0]
    }  # fmt: skip
    assert found.query("by == 'ours' and logged == 'cc'")["epoch"].tolist() == [0, 1]
    assert set(found["line"]) == {"ours"}


def test_runs_of_two_settings_are_two_numbered_curves(tmp_path: Path) -> None:
    folders = [run(tmp_path / on, selection_split=on, curve={f"{on}/cc": [0.1]}) for on in ("test", "val")]
    settings = sorted(set(points(WANTED, *folders).query("by == 'ours'")["setting"]))
    assert [numbered(setting, settings) for setting in settings] == [" (1)", " (2)"]
    assert numbered(settings[0], settings[:1]) == ""


def test_without_a_log_there_is_the_published_curve_alone(tmp_path: Path) -> None:
    assert set(points(WANTED, run(tmp_path / "a"))["by"]) == {"published"}
    assert points(study(Line("ours", "one"), panels={"cc": "CC"})).empty


def test_a_metric_is_read_from_the_set_that_selects_the_epoch(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", selection_split="val", curve={"val/cc": [0.7], "test/cc": [0.1]})
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


def test_what_a_curve_loses_after_its_best_epoch_is_measured_in_the_metric_s_direction(tmp_path: Path) -> None:
    wanted = study(Line("ours", "one"), panels={"cc": "CC", "kl": "KL", "train/loss": "Loss"})
    curve = {"test/cc": [0.1, 0.4, 0.3], "test/kl": [0.9, 0.2, 0.5], "train/loss": [3.0, 2.0, 1.0]}
    table = best_and_last(points(wanted, run(tmp_path / "a", curve=curve))).set_index("logged")
    assert list(table.index) == ["cc", "kl"]  # a loss that falls says nothing of new images
    assert table.loc["cc", ["best", "epoch", "last", "lost"]].tolist() == pytest.approx([0.4, 1, 0.3, 0.1])
    assert table.loc["kl", ["best", "epoch", "last", "lost"]].tolist() == pytest.approx([0.2, 1, 0.5, 0.3])


# What a study keeps of its runs' scores, and the cells that come out of it without the runs


LINES = (
    Line("prior", "one", where={"label": "text"}, model="centre prior"),
    Line("no text", "one", where={"label": "none"}),
    Line("with text", "one", where={"label": "text"}, curve="theirs"),
)
READ = study(
    *LINES, protocol="standard", curves=curves(theirs=[1.5]), against=("no text", "prior"), text_ablation=("with text",)
)


def folds(root: Path, *numbers: int, data: str = "saltext.data.sources.sjtu_tis.SjtuTis") -> list[RunFolder]:
    """Folds of three, each with text and without, of ten images."""
    found = []
    for fold in numbers:
        shared = {"method": f"fold {fold} of 3, validation 0", "first": 10 * fold, "data": data}
        values = [value + fold / 7 for value in spread(0.5, 0.1, 10)]
        own, other = {"salient": [value + 0.1 for value in values]}, {"salient": values}
        found += [
            run(root / f"none-{fold}", other, label="none", **shared),
            run(root / f"text-{fold}", own, label="text", baseline={"salient": spread(0.2, 0.3, 10)},
                variants={"empty": other, "opposite": {"salient": spread(0.3, 0.01, 10)}}, **shared),
        ]  # fmt: skip
    return found


def scores_of(folders: list[RunFolder]) -> StudyScores:
    return pooled_scores(READ, by_setting(read_records(folders), LINES))


def table_of(scores: StudyScores) -> pd.DataFrame:
    return frame({setting: cells(READ, scores.of(setting).own) for setting in scores.settings}, READ)


def test_seeds_of_a_pair_are_averaged_and_count_as_one_pair(tmp_path: Path) -> None:
    records = read_records(run(tmp_path / str(seed), {"pure": [0.1 * seed, 0.5]}, seed=seed) for seed in (1, 3))
    assert sorted(measured(study(), records)["cc"]) == pytest.approx([0.2, 0.5])


def test_the_folds_of_a_cross_validation_are_one_table_of_all_their_pairs(tmp_path: Path) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0, 1, 2))
    (setting,) = scores.settings
    assert setting.startswith("Split: 3 folds, validation 0, seed 0, grouped by image.")
    assert table_of(scores).set_index("line")["pairs"].to_dict() == {"prior": 30, "no text": 30, "with text": 30}


@pytest.mark.parametrize("data", ["saltext.data.sources.sjtu_tis.SjtuTis", "saltext.data.sources.synthetic.Synthetic"])
def test_the_same_numbers_come_out_of_the_kept_scores_alone(tmp_path: Path, data: str) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0, 1, data=data))
    write_kept(tmp_path, scores)
    back = read_kept(READ, tmp_path / "scores.csv.gz")
    assert back.settings == scores.settings
    assert table_of(back)["verdict"].tolist() == table_of(scores)["verdict"].tolist()
    pd.testing.assert_frame_equal(table_of(back), table_of(scores), atol=5e-5)
    (gap,) = compared_lines(READ, back)["no text"]["with text"]
    assert gap.mean == pytest.approx(0.1, abs=1e-4)
    assert list(ablations(READ, back)["with text"]) == ["empty", "opposite"]


def seeds_of(root: Path) -> list[RunFolder]:
    """A network with text and one without, both with two seeds, scored on three pairs; standard scores are 1 higher."""
    found = []
    for seed, value in ((1, 0.4), (3, 0.6)):
        found += [
            run(root / f"none-{seed}", {"salient": [value, value, value]}, label="none", seed=seed),
            run(root / f"text-{seed}", {"salient": [value + 0.1 * seed] * 3}, label="text", seed=seed,
                baseline={"salient": [0.2, 0.2, 0.2]}),
        ]  # fmt: skip
    return found


def test_each_seed_has_its_means_and_its_differences_also_from_kept_scores(tmp_path: Path) -> None:
    scores = scores_of(seeds_of(tmp_path / "runs"))
    write_kept(tmp_path, scores)
    assert (tmp_path / "scores_by_seed.csv.gz").is_file()
    for each in (scores, read_kept(READ, tmp_path / "scores.csv.gz")):
        assert set(each.seeds["line"]) == {"no text", "with text"}, "baselines were not trained"
        table = by_seed(READ, each, "cc").set_index(["line", "minus", "seed"])
        assert set(table["pairs"]) == {3}
        assert table["salient"].to_dict() == pytest.approx({
            ("no text", "", 1): 1.4, ("no text", "", 3): 1.6, ("with text", "", 1): 1.5, ("with text", "", 3): 1.9,
            ("with text", "no text", 1): 0.1, ("with text", "no text", 3): 0.3,
        })  # fmt: skip
        assert table["pure"].isna().all()
    assert scores.own.query("line == 'with text'")["cc"].tolist() == pytest.approx([1.7] * 3)


def test_scores_of_one_seed_are_kept_once(tmp_path: Path) -> None:
    write_kept(tmp_path, scores_of(seeds_of(tmp_path / "runs")))
    scores = scores_of(folds(tmp_path / "others", 0))
    write_kept(tmp_path, scores)
    assert not (tmp_path / "scores_by_seed.csv.gz").exists()
    assert by_seed(READ, scores, "cc").empty


def test_differences_of_a_subset_are_those_of_its_images_alone(tmp_path: Path) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0, 1))
    names = sorted(set(scores.own["image_id"]))
    wanted = dataclasses.replace(READ, subsets={"three": "|".join(map(re.escape, names[:3])), "none": "no such name"})
    every, few = (compared_lines(wanted, scores, subset)["prior"]["with text"][0] for subset in ("", "three"))
    assert (every.images, few.images) == (20, 3)
    own, prior = (scores.own[scores.own["line"] == line].set_index("image_id")["cc"] for line in ("with text", "prior"))
    assert few.mean == pytest.approx((own - prior)[names[:3]].mean())
    assert compared_lines(wanted, scores, "none") == {}


def test_lines_that_share_no_pair_are_not_compared(tmp_path: Path) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0))
    assert {base: list(models) for base, models in compared_lines(READ, scores).items()} == {
        "no text": ["with text"],
        "prior": ["no text", "with text"],
    }
    elsewhere = scores.own["image_id"].where(scores.own["line"] != "with text", "of another split")
    apart = scores._replace(own=scores.own.assign(image_id=elsewhere), variants=scores.variants[:0])
    assert compared_lines(READ, apart) == {"prior": {"no text": compared_lines(READ, scores)["prior"]["no text"]}}
    assert ablations(READ, apart) == {}


def test_kept_scores_are_those_of_the_runs_to_five_digits(tmp_path: Path) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0, 1))
    write_kept(tmp_path, scores)
    back = read_kept(READ, tmp_path / "scores.csv.gz")
    pd.testing.assert_frame_equal(back.own, scores.own, rtol=5e-5, check_dtype=False)
    pd.testing.assert_frame_equal(back.variants, scores.variants, rtol=5e-5, check_dtype=False)
    assert set(back.variants["line"]) == {"with text"}
    assert back.own["cc"].astype(str).str.replace(".", "").str.lstrip("0").str.len().max() <= 5


def test_the_same_scores_are_the_same_bytes_in_whatever_order_they_came(tmp_path: Path) -> None:
    folders = folds(tmp_path / "runs", 0, 1)
    written = []
    for name, ordered in {"a": folders, "b": folders[::-1]}.items():
        (tmp_path / name).mkdir()
        write_kept(tmp_path / name, scores_of(ordered))
        written.append({file.name: file.read_bytes() for file in (tmp_path / name).glob("*.gz")})
    assert written[0] == written[1]
    assert set(written[0]) == {"scores.csv.gz", "text_ablation.csv.gz"}
    assert written[0]["scores.csv.gz"][4:8] == bytes(4)  # the time in a gzip file's head


def test_effects_of_an_earlier_time_do_not_stay(tmp_path: Path) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0))
    write_kept(tmp_path, scores)
    assert (tmp_path / "text_ablation.csv.gz").exists()
    write_kept(tmp_path, scores._replace(variants=scores.variants[:0]))
    assert not (tmp_path / "text_ablation.csv.gz").exists()
    assert read_kept(READ, tmp_path / "scores.csv.gz").variants.empty


def test_a_line_whose_scores_are_all_damaged_is_not_measured(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders = folds(tmp_path / "runs", 0)
    folders[0].scores.write_text("")
    assert set(scores_of(folders).own["line"]) == {"prior", "with text"}
    assert str(folders[0].scores) in caplog.text


def test_the_place_of_kept_scores_is_the_file_or_its_folder(tmp_path: Path) -> None:
    assert kept_file(tmp_path) is None
    file = tmp_path / "scores.csv.gz"
    file.touch()
    assert kept_file(tmp_path) == kept_file(file) == file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no gzip", ["scores.csv.gz is no score table"]),
        (
            gzip.compress(b"setting,line,image_id,task,nss\nx,Theirs,1,pure,1\n", mtime=0),
            ["lacks the columns generated, cc", "has the lines Theirs", "no text"],
        ),
    ],
    ids=["no table", "another study's"],
)
def test_a_file_that_holds_no_scores_of_the_study_is_refused(tmp_path: Path, content: bytes, said: list[str]) -> None:
    file = tmp_path / "scores.csv.gz"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_kept(READ, file)
    for word in said:
        assert word in str(caught.value)


KEPT = sorted(
    file.parent.name
    for file in studies_folder().glob("*/scores.csv.gz")
    if file.with_name("expected.yaml").is_file()  # zero_shot has none: see tests/runs/test_zero_shot.py
)


@pytest.mark.parametrize("name", KEPT)
def test_committed_results_are_what_the_scores_committed_beside_them_give(name: str, tmp_path: Path) -> None:
    known, folder = known_study(name), studies_folder() / name
    scores = read_kept(known, folder / "scores.csv.gz")
    found = frame({setting: cells(known, scores.of(setting).own) for setting in scores.settings}, known)
    found.to_csv(tmp_path / "results.csv", index=False)
    again, committed = (pd.read_csv(place / "results.csv") for place in (tmp_path, folder))
    pd.testing.assert_frame_equal(again, committed)


@pytest.mark.parametrize("name", KEPT)
def test_every_column_of_committed_scores_is_known(name: str, caplog: pytest.LogCaptureFixture) -> None:
    read_kept(known_study(name), studies_folder() / name / "scores.csv.gz")
    assert not caplog.records
