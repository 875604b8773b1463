"""What a study keeps of its runs' scores, and the tables that come out of it without the runs."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from saltext.errors import ConfigError
from saltext.reporting.study import write_again, write_study
from saltext.reporting.study_cells import by_circumstances, read_jobs
from saltext.reporting.study_expected import Line, studies, studies_folder
from saltext.reporting.study_scores import kept_file, pooled, read, write
from saltext.system.run_folder import RunFolder
from tests.reporting.made_up import curves, measured, run, spread, study

LINES = (
    Line("prior", "one", where={"label": "text"}, model="centre prior"),
    Line("no text", "one", where={"label": "none"}),
    Line("with text", "one", where={"label": "text"}, curve="theirs"),
)
WANTED = study(
    *LINES, protocol="standard", curves=curves(theirs=[1.5]), against=("no text", "prior"), text_effects=("with text",)
)


def folds(root: Path, *numbers: int, data: str = "saltext.data.SaliencyDataModule") -> list[RunFolder]:
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


def tables_of(page: Path) -> str:
    """What a page says between the record of its runs and the notes."""
    text = page.with_suffix(".md").read_text()
    return text[text.index("## Ours") : text.index("## How to read this")]


def test_seeds_of_a_pair_are_averaged_and_count_as_one_pair(tmp_path: Path) -> None:
    jobs = read_jobs(run(tmp_path / str(seed), {"pure": [0.1 * seed, 0.5]}, seed=seed) for seed in (1, 3))
    assert sorted(measured(study(), jobs)["cc"]) == pytest.approx([0.2, 0.5])


def test_the_folds_of_a_cross_validation_are_one_table_of_all_their_pairs(tmp_path: Path) -> None:
    page = write_study(WANTED, folds(tmp_path / "runs", 0, 1, 2), tmp_path / "out")
    assert page is not None
    assert tables_of(page).startswith("## Ours: Split: 3 folds, validation 0, seed 0, grouped by image.")
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table.set_index("line")["pairs"].to_dict() == {"prior": 30, "no text": 30, "with text": 30}
    assert "one: text, fold 2 of 3 |" in page.with_suffix(".md").read_text()


@pytest.mark.parametrize("data", ["saltext.data.SaliencyDataModule", "saltext.data.SyntheticDataModule"])
def test_the_kept_scores_give_the_tables_of_the_runs(tmp_path: Path, data: str) -> None:
    first = write_study(WANTED, folds(tmp_path / "runs", 0, 2, data=data), tmp_path / "first")
    kept = kept_file(tmp_path / "first")
    assert first is not None
    assert kept is not None
    again = write_again(WANTED, kept, tmp_path / "again")
    assert tables_of(again) == tables_of(first)
    for said in ("2 of 3 folds", "Minus no text", "Minus prior", "Effect of the text on with text"):
        assert said in tables_of(again)
    assert (tmp_path / "again" / "results.csv").read_bytes() == (tmp_path / "first" / "results.csv").read_bytes()


def test_kept_scores_are_those_of_the_runs_to_five_digits(tmp_path: Path) -> None:
    jobs = by_circumstances(read_jobs(folds(tmp_path / "runs", 0, 1)), LINES)
    scores = pooled(WANTED, jobs)
    write(tmp_path, scores)
    back = read(WANTED, tmp_path / "scores.csv.gz")
    pd.testing.assert_frame_equal(back.own, scores.own, rtol=5e-5, check_dtype=False)
    pd.testing.assert_frame_equal(back.variants, scores.variants, rtol=5e-5, check_dtype=False)
    assert set(back.variants["line"]) == {"with text"}
    assert back.own["cc"].astype(str).str.replace(".", "").str.lstrip("0").str.len().max() <= 5


def test_the_same_scores_are_the_same_bytes_in_whatever_order_they_came(tmp_path: Path) -> None:
    folders = folds(tmp_path / "runs", 0, 1)
    written = []
    for name, jobs in {"a": folders, "b": folders[::-1]}.items():
        write_study(WANTED, jobs, tmp_path / name)
        written.append({file.name: file.read_bytes() for file in (tmp_path / name).glob("*.gz")})
    assert written[0] == written[1]
    assert set(written[0]) == {"scores.csv.gz", "text_effect.csv.gz"}
    assert written[0]["scores.csv.gz"][4:8] == bytes(4)  # the time in a gzip file's head


def test_effects_of_an_earlier_time_do_not_stay(tmp_path: Path) -> None:
    write_study(WANTED, folds(tmp_path / "runs", 0), tmp_path / "out")
    write_study(study(*LINES), folds(tmp_path / "other", 0), tmp_path / "out")
    assert not (tmp_path / "out" / "text_effect.csv.gz").exists()


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
            gzip.compress(b"how,line,task\nx,Theirs,pure\n", mtime=0),
            ["generated, image_id, cc", "has the lines Theirs", "no text"],
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


def test_committed_results_are_what_the_scores_committed_beside_them_give(tmp_path: Path) -> None:
    for known in studies():
        kept = kept_file(studies_folder() / known.name)
        if kept is not None:
            write_again(known, kept, tmp_path / known.name)
            found, committed = (
                pd.read_csv(file.with_name("results.csv")) for file in (tmp_path / known.name / "-", kept)
            )
            pd.testing.assert_frame_equal(found, committed)
