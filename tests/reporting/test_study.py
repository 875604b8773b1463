"""The files of a study, from made-up runs."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from saltext.reporting import study as module
from saltext.reporting.study import write, write_study
from saltext.reporting.study_expected import Line, read_study
from saltext.system.run_folder import RunFolder
from tests.reporting.made_up import curves, run, spread, study

PNG = b"\x89PNG\r\n\x1a\n"


def two_runs(folder: Path) -> list[RunFolder]:
    return [
        run(folder / "a", {"pure": spread(0.5, 0.1)}, label="a", curve={"test/cc": [0.4, 0.5]}),
        run(folder / "b", {"pure": spread(0.7, 0.1)}, label="b", curve={"test/cc": [0.6, 0.7]}),
    ]


LINES = [Line(name, "one", where={"label": name}, rows=("pure",), curve=name) for name in "ab"]
WANTED = study(
    *LINES,
    curves=curves(a=[0.5, 0.4], b=[0.2]),
    panels={"cc": "CC by epoch"},
    against=("a",),
    claims=["b reads better"],
    notes=["Mind the gap."],
    targets=["fig9"],
)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    page = write_study(WANTED, two_runs(tmp_path / "runs"), tmp_path / "out")
    assert page == tmp_path / "out" / "results.html"
    return tmp_path / "out"


def test_a_study_is_a_table_a_figure_and_a_page(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "results.md", "results.csv", "results.html", "scores.csv.gz", "curves.png", "curves.csv", "rows.json"
    }  # fmt: skip
    assert (written / "curves.png").read_bytes().startswith(PNG)
    assert pd.read_csv(written / "results.csv")["verdict"].tolist() == ["within tolerance", "above"]
    assert len(pd.read_csv(written / "curves.csv")) == 4 + 3


def test_ours_stand_beside_the_published_values_with_difference_interval_and_verdict(written: Path) -> None:
    text = (written / "results.md").read_text()
    assert re.search(
        r"\| pure \| a \| 0\.500 \| 0\.500 \(0\.4\d\d to 0\.5\d\d\) \| [+-]0\.000 \| within tolerance \| 50 \|", text
    )
    assert re.search(
        r"\| pure \| b \| 0\.200 \| 0\.700 \(0\.6\d\d to 0\.7\d\d\) \| \*\*\+0\.500\*\* \| above \| 50 \|", text
    )
    assert "Of 2 published values: 1 within tolerance, 1 above." in text
    assert re.search(r"Passed, .*: a \d of 1, b 1 of 1\.", text)
    assert "b | pure | 50 | **+0.200 (+0.200 to +0.200)**" in text  # minus a, pair by pair
    assert "| CC | b | ours | 0.700 | 1 | 0.700 | 0.000 |" in text


def test_a_report_says_which_split_chose_the_epoch_on_what_and_how_to_make_it_again(written: Path) -> None:
    for name in ("results.md", "results.html"):
        text = (written / name).read_text()
        for said in ("by hand", "Epoch chosen on the test part itself", "make reproduce-fig9", "b reads better",
                     "Mind the gap.", "Tolerance of CC: 0.05", "measured as the TranBlend paper"):  # fmt: skip
            assert said in text


def test_the_page_needs_nothing_else(written: Path) -> None:
    text = (written / "results.html").read_text()
    assert "data:image/png;base64," in text
    assert not re.search(r"<script|<link|https?://|src=\"(?!data:)", text)
    assert str(written) not in text
    assert str(written) not in (written / "results.md").read_text()


def test_a_generated_data_set_is_said_to_be_one(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {"pure": [0.5, 0.6]}, label="a", data="saltext.data.SyntheticDataModule")
    write_study(WANTED, [folder], tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "generated data set" in text
    assert "within tolerance |" not in text


def test_splits_are_never_in_one_table(tmp_path: Path) -> None:
    folders = [run(tmp_path / on, {"pure": [0.5, 0.6]}, label="a", choose_on=on) for on in ("test", "val")]
    write_study(WANTED, folders, tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "## (1) Ours: " in text
    assert "## (2) Ours: " in text


def test_what_nobody_published_is_shown_without_columns_for_it(tmp_path: Path) -> None:
    alone = study(Line("ours", "one", rows=("pure",)))
    write_study(alone, [run(tmp_path / "a", {"pure": [0.5, 0.6]})], tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "| CC ↑ | line | ours (95 % interval) | pairs |" in text
    assert "verdict |" not in text


def test_the_pictures_of_a_stage_stand_in_the_report_one_for_each_run(tmp_path: Path) -> None:
    folders = [run(tmp_path / name, {"pure": [0.5, 0.6]}, stages={"pure": {}}, stage="pure") for name in ("a", "b")]
    for folder in folders:
        folder.stage("pure").picture.write_bytes(PNG + folder.root.name.encode())
    examples = study(Line("people's free, viewing", "one", stage="pure", rows=("pure",), picture=True))
    write_study(examples, folders, tmp_path / "out")
    for name in ("a", "b"):
        assert (tmp_path / "out" / f"people_s_free_viewing-{name}.png").read_bytes() == PNG + name.encode()
        assert f"](people_s_free_viewing-{name}.png)" in (tmp_path / "out" / "results.md").read_text()


def test_an_unfinished_run_is_named_as_one(tmp_path: Path) -> None:
    write_study(WANTED, [run(tmp_path / "a", label="a")], tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "not finished" in text
    assert "not measured" in text


def test_without_a_run_nothing_is_written(tmp_path: Path) -> None:
    assert write_study(WANTED, [run(tmp_path / "a", name="another")], tmp_path / "out") is None
    assert not (tmp_path / "out").exists()


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of studies: one that experiment ``one`` belongs to, and one of another experiment."""
    folder = tmp_path / "experiments"
    for name, experiment in (("first", "one"), ("second", "two")):
        given = {"title": name, "source": "nowhere", "experiments": [experiment], "protocol": "tranblend",
                 "lines": {"ours": {"experiment": experiment}}}  # fmt: skip
        (folder / name).mkdir(parents=True)
        (folder / name / "expected.yaml").write_text(yaml.safe_dump(given))
    monkeypatch.setattr(module, "studies", lambda: [read_study(f) for f in folder.glob("*/expected.yaml")])
    return folder


def test_a_sweep_writes_the_studies_its_experiment_belongs_to(described: Path, tmp_path: Path) -> None:
    jobs = [run(tmp_path / "a", {"pure": [0.5, 0.6]})]
    write("one", jobs, tmp_path / "sweep")
    assert [path.name for path in (tmp_path / "sweep" / "studies").iterdir()] == ["first"]
    write("three", jobs, tmp_path / "other")
    assert not (tmp_path / "other").exists()
