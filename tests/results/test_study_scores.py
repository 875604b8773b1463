"""What a study keeps of its runs' scores, and the cells that come out of it without the runs."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from saltext.errors import ConfigError
from saltext.results.comparison import differences
from saltext.results.study import Line, known_study, studies_folder
from saltext.results.study_results import by_setting, cells, frame
from saltext.results.study_scores import StudyScores, kept_file, pooled, read, write
from saltext.results.text_ablation import ablation_differences
from saltext.runs.records import read_records
from saltext.system.run_folder import RunFolder
from tests.made_up_scores import curves, measured, run, spread, study

LINES = (
    Line("prior", "one", where={"label": "text"}, model="centre prior"),
    Line("no text", "one", where={"label": "none"}),
    Line("with text", "one", where={"label": "text"}, curve="theirs"),
)
WANTED = study(
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
    return pooled(WANTED, by_setting(read_records(folders), LINES))


def table_of(scores: StudyScores) -> pd.DataFrame:
    return frame({how: cells(WANTED, scores.of(how).own) for how in scores.ways}, WANTED)


def test_seeds_of_a_pair_are_averaged_and_count_as_one_pair(tmp_path: Path) -> None:
    records = read_records(run(tmp_path / str(seed), {"pure": [0.1 * seed, 0.5]}, seed=seed) for seed in (1, 3))
    assert sorted(measured(study(), records)["cc"]) == pytest.approx([0.2, 0.5])


def test_the_folds_of_a_cross_validation_are_one_table_of_all_their_pairs(tmp_path: Path) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0, 1, 2))
    (how,) = scores.ways
    assert how.startswith("Split: 3 folds, validation 0, seed 0, grouped by image.")
    assert table_of(scores).set_index("line")["pairs"].to_dict() == {"prior": 30, "no text": 30, "with text": 30}


@pytest.mark.parametrize("data", ["saltext.data.sources.sjtu_tis.SjtuTis", "saltext.data.sources.synthetic.Synthetic"])
def test_the_same_numbers_come_out_of_the_kept_scores_alone(tmp_path: Path, data: str) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0, 1, data=data))
    write(tmp_path, scores)
    back = read(WANTED, tmp_path / "scores.csv.gz")
    assert back.ways == scores.ways
    assert table_of(back)["verdict"].tolist() == table_of(scores)["verdict"].tolist()
    pd.testing.assert_frame_equal(table_of(back), table_of(scores), atol=5e-5)
    with_text = back.own[back.own["line"] == "with text"]
    (gap,) = differences(with_text, back.own[back.own["line"] == "no text"])
    assert gap.mean == pytest.approx(0.1, abs=1e-4)
    assert list(ablation_differences(with_text, back.variants)) == ["empty", "opposite"]


def test_kept_scores_are_those_of_the_runs_to_five_digits(tmp_path: Path) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0, 1))
    write(tmp_path, scores)
    back = read(WANTED, tmp_path / "scores.csv.gz")
    pd.testing.assert_frame_equal(back.own, scores.own, rtol=5e-5, check_dtype=False)
    pd.testing.assert_frame_equal(back.variants, scores.variants, rtol=5e-5, check_dtype=False)
    assert set(back.variants["line"]) == {"with text"}
    assert back.own["cc"].astype(str).str.replace(".", "").str.lstrip("0").str.len().max() <= 5


def test_the_same_scores_are_the_same_bytes_in_whatever_order_they_came(tmp_path: Path) -> None:
    folders = folds(tmp_path / "runs", 0, 1)
    written = []
    for name, ordered in {"a": folders, "b": folders[::-1]}.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, scores_of(ordered))
        written.append({file.name: file.read_bytes() for file in (tmp_path / name).glob("*.gz")})
    assert written[0] == written[1]
    assert set(written[0]) == {"scores.csv.gz", "text_ablation.csv.gz"}
    assert written[0]["scores.csv.gz"][4:8] == bytes(4)  # the time in a gzip file's head


def test_effects_of_an_earlier_time_do_not_stay(tmp_path: Path) -> None:
    scores = scores_of(folds(tmp_path / "runs", 0))
    write(tmp_path, scores)
    assert (tmp_path / "text_ablation.csv.gz").exists()
    write(tmp_path, StudyScores(scores.own, scores.variants[:0]))
    assert not (tmp_path / "text_ablation.csv.gz").exists()
    assert read(WANTED, tmp_path / "scores.csv.gz").variants.empty


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
            gzip.compress(b"how,line,image_id,task,nss\nx,Theirs,1,pure,1\n", mtime=0),
            ["lacks the columns generated, cc", "has the lines Theirs", "no text"],
        ),
    ],
    ids=["no table", "another study's"],
)
def test_a_file_that_holds_no_scores_of_the_study_is_refused(tmp_path: Path, content: bytes, said: list[str]) -> None:
    file = tmp_path / "scores.csv.gz"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(WANTED, file)
    for word in said:
        assert word in str(caught.value)


KEPT = sorted(file.parent.name for file in studies_folder().glob("*/scores.csv.gz"))


@pytest.mark.parametrize("name", KEPT)
def test_committed_results_are_what_the_scores_committed_beside_them_give(name: str, tmp_path: Path) -> None:
    known, folder = known_study(name), studies_folder() / name
    scores = read(known, folder / "scores.csv.gz")
    found = frame({how: cells(known, scores.of(how).own) for how in scores.ways}, known)
    found.to_csv(tmp_path / "results.csv", index=False)
    again, committed = (pd.read_csv(place / "results.csv") for place in (tmp_path, folder))
    pd.testing.assert_frame_equal(again, committed)


@pytest.mark.parametrize("name", KEPT)
def test_every_column_of_committed_scores_is_known(name: str, caplog: pytest.LogCaptureFixture) -> None:
    read(known_study(name), studies_folder() / name / "scores.csv.gz")
    assert not caplog.records
