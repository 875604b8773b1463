"""The files of a study, from made-up runs."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from saltext.reporting import study_page
from saltext.reporting.figures import CurvePanel
from saltext.reporting.study_page import panels, paper_tables, write_again, write_studies
from saltext.results.study import Line, Study, read_study
from saltext.results.study_results import OWN_FILE, by_setting, cells, read_kept, values
from saltext.runs.records import read_records
from saltext.system.run_folder import RunFolder
from tests.made_up_scores import curves, run, spread, study

PNG = b"\x89PNG\r\n\x1a\n"


def two_runs(folder: Path) -> list[RunFolder]:
    return [
        run(folder / "a", {"pure": spread(0.5, 0.1)}, label="a", curve={"test/cc": [0.4, 0.5]}),
        run(folder / "b", {"pure": spread(0.7, 0.1)}, label="b", curve={"test/cc": [0.6, 0.7]}),
    ]


def write_study(wanted: Study, folders: list[RunFolder], to: Path) -> Path | None:
    return study_page.write_study(wanted, read_records(folders), to)


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
        "results.md", "results.csv", "results.html", "results.tex", "scores.csv.gz", "runs.csv", "curves.png",
        "curves.csv", "rows.json",
    }  # fmt: skip
    assert (written / "curves.png").read_bytes().startswith(PNG)
    assert pd.read_csv(written / "results.csv")["verdict"].tolist() == ["within tolerance", "above"]
    assert len(pd.read_csv(written / "curves.csv")) == 4 + 3


def test_ours_stand_beside_the_published_values_with_difference_interval_and_verdict(written: Path) -> None:
    text = (written / "results.md").read_text()
    for pattern in (
        r"\| pure \| a \| published \| 0\.500 \|", r"\| pure \| a \| ours \| 0\.500 \(0\.4\d\d to 0\.5\d\d\) \|",
        r"\| pure \| a \| verdict \| within tolerance \|", r"\| pure \| b \| published \| 0\.200 \|",
        r"\| pure \| b \| difference \| \*\*\+0\.500 \(\+0\.4\d\d to \+0\.5\d\d\)\*\* \|",
        r"\| pure \| b \| verdict \| above \|",
    ):  # fmt: skip
        assert re.search(pattern, text)
    assert "Of 2 published values: 1 within tolerance, 1 above." in text
    assert "| b | CC | +0.200 (+0.200 to +0.200) |" in text  # minus a, pair by pair
    assert "| CC | b | ours | 0.700 | 1 | 0.700 | 0.000 |" in text


def test_a_report_says_which_split_chose_the_epoch_on_what_and_how_to_make_it_again(written: Path) -> None:
    for name in ("results.md", "results.html"):
        text = (written / name).read_text()
        for said in ("by hand", "Checkpoint selected on the test set", "make reproduce-fig9", "b reads better",
                     "Mind the gap.", "Tolerance of CC: 0.05", "measured as the TranBlend paper"):  # fmt: skip
            assert said in text


def test_the_page_needs_nothing_else(written: Path) -> None:
    text = (written / "results.html").read_text()
    assert "<svg" in text
    assert not re.search(r"<script|<link|https?://|src=\"(?!data:)", text)
    assert str(written) not in text
    assert str(written) not in (written / "results.md").read_text()


def test_a_generated_data_set_is_said_to_be_one(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {"pure": [0.5, 0.6]}, label="a", data="saltext.data.sources.synthetic.Synthetic")
    write_study(WANTED, [folder], tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert text.partition("\n\n")[2].startswith("* Synthetic data: these scores say nothing")
    assert "within tolerance |" not in text


def test_splits_are_never_in_one_table(tmp_path: Path) -> None:
    folders = [run(tmp_path / on, {"pure": [0.5, 0.6]}, label="a", selection_split=on) for on in ("test", "val")]
    write_study(WANTED, folders, tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "## (1) All comparisons" in text
    assert "## (2) All comparisons" in text


def test_the_means_of_each_seed_stand_beside_those_of_all(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / f"{label}-{seed}", {"pure": [value, value]}, label=label, seed=seed)
        for label, seed, value in (("a", 1, 0.4), ("a", 2, 0.6), ("b", 1, 0.5), ("b", 2, 0.5))
    ]
    write_study(WANTED, folders, tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "**CC of each seed**" in text
    for row in ("| a | 1 | 2 | 0.400 |", "| a | 2 | 2 | 0.600 |", "| b minus a | 1 | 2 | +0.100 |",
                "| b minus a | 2 | 2 | -0.100 |"):  # fmt: skip
        assert row in text
    write_again(WANTED, tmp_path / "out" / OWN_FILE, tmp_path / "again")
    assert "| b minus a | 2 | 2 | -0.100 |" in (tmp_path / "again" / "results.md").read_text()


def test_unpublished_values_have_no_columns(tmp_path: Path) -> None:
    alone = study(Line("ours", "one", rows=("pure",)))
    write_study(alone, [run(tmp_path / "a", {"pure": [0.5, 0.6]})], tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "| Task | Method | CC ↑ |" in text
    assert "verdict |" not in text


def test_the_pictures_of_a_stage_stand_in_the_report_one_for_each_run(tmp_path: Path) -> None:
    folders = [run(tmp_path / name, {"pure": [0.5, 0.6]}, stages={"pure": {}}, stage="pure") for name in ("a", "b")]
    for folder in folders:
        folder.stage("pure").picture.write_bytes(PNG + folder.root.name.encode())
    examples = study(Line("free, viewing's", "one", stage="pure", rows=("pure",), picture=True))
    write_study(examples, folders, tmp_path / "out")
    for name in ("a", "b"):
        assert (tmp_path / "out" / f"free_viewing_s-{name}.png").read_bytes() == PNG + name.encode()
        assert f"](<free_viewing_s-{name}.png>)" in (tmp_path / "out" / "results.md").read_text()


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
    monkeypatch.setattr(study_page, "studies", lambda: [read_study(f) for f in folder.glob("*/expected.yaml")])
    return folder


def test_a_sweep_writes_the_studies_its_experiment_belongs_to(described: Path, tmp_path: Path) -> None:
    jobs = read_records([run(tmp_path / "a", {"pure": [0.5, 0.6]})])
    write_studies("one", jobs, tmp_path / "sweep")
    assert [path.name for path in (tmp_path / "sweep" / "studies").iterdir()] == ["first"]
    write_studies("three", jobs, tmp_path / "other")
    assert not (tmp_path / "other").exists()


# Found first, and the paper's own table


def test_a_page_begins_with_what_was_found_and_its_caveat(written: Path) -> None:
    lines = [line for line in (written / "results.md").read_text().splitlines() if line.startswith("* ")]
    assert lines[0].startswith("* Of 2 published values: 1 within tolerance, 1 above. *The published value's own")
    assert lines[1].startswith("* “b”: CC 0.700 (0.6")
    assert lines[2].startswith("* “b” minus “a”: CC +0.200 (+0.200 to +0.200) on pure.")


def test_the_paper_s_table_has_its_rows_order_and_names_with_ours_and_the_difference_beneath(written: Path) -> None:
    named = study(
        *LINES, name="made_up", paper_rows={"salient": "type 2", "pure": "Free viewing"}, curves=WANTED.curves
    )
    (grid,) = paper_tables(named, cells(named, read_kept(WANTED, written / OWN_FILE).own))
    assert list(grid.headings) == ["Task", "Method", "", "CC ↑"]
    assert [row[:3] for row in grid.rows] == [
        ["Free viewing", method, what] for method in "ab" for what in ("published", "ours", "difference", "verdict")
    ]
    assert [row[3] for row in grid.rows if row[2] == "published"] == ["0.500", "0.200"]
    mean, low, _, high = grid.rows[6][3].replace("(", "").replace(")", "").split()
    ours = grid.rows[5][3].replace("(", "").replace(")", "").split()
    assert float(mean) == pytest.approx(0.5)
    assert float(low) == pytest.approx(float(ours[1]) - 0.2, abs=2e-3)  # the interval is ours, less what was published
    assert float(high) == pytest.approx(float(ours[3]) - 0.2, abs=2e-3)
    assert (6, 3) in grid.strong


def test_without_published_values_the_main_table_has_models_by_condition(written: Path) -> None:
    alone = study(*(Line(name, "one", where={"label": name}, rows=("pure",)) for name in "ab"))
    (grid,) = paper_tables(alone, cells(alone, read_kept(WANTED, written / OWN_FILE).own))
    assert list(grid.headings) == ["Task", "Method", "CC ↑"]
    assert [row[:2] for row in grid.rows] == [["pure", "a"], ["pure", "b"]]


def test_the_same_tables_come_from_kept_scores_with_who_ran_when_and_where(written: Path, tmp_path: Path) -> None:
    again = write_again(WANTED, written / OWN_FILE, tmp_path / "again")
    tables = [
        [line for line in (folder / "results.md").read_text().splitlines() if line.startswith("|")]
        for folder in (written, again.parent)
    ]
    assert set(tables[1]) <= set(tables[0])
    assert any(line.startswith("| one: a") for line in tables[1])
    assert (again.parent / "results.tex").read_bytes() == (written / "results.tex").read_bytes()


# Differences


TEXTS = (
    Line("prior", "one", where={"label": "text"}, model="centre prior"),
    Line("no text", "one", where={"label": "none"}),
    Line("with text", "one", where={"label": "text"}),
)
READ = study(*TEXTS, protocol="standard", against=("no text", "prior"), text_ablation=("with text",))


def test_models_stand_against_each_line_that_is_named_and_own_text_against_each_other_one(tmp_path: Path) -> None:
    """With text .2 above no text on salient and level with it on average on pure, which the prior has not."""
    same, other = spread(0.5, 0.1, 20), spread(0.5, -0.1, 20)
    higher = [value + 0.2 for value in same]
    folders = [
        run(tmp_path / "none", {"pure": same, "salient": same}, label="none"),
        run(tmp_path / "text", {"pure": other, "salient": higher}, label="text", baseline={"salient": same},
            variants={"opposite": {"salient": same}, "empty": {"salient": higher}}),
    ]  # fmt: skip
    write_study(READ, folders, tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    tables = dict(
        re.findall(r"\| (model minus \S[^|]*|with text: own text vs\.) \|[^\n]*\n\|[-:| ]+\|\n((?:\|.*\n)+)", text)
    )
    assert set(tables) == {"model minus no text", "model minus prior", "with text: own text vs."}
    assert tables["model minus no text"].startswith("| with text | CC | +0.000 (")
    assert tables["model minus no text"].rstrip().endswith("| +0.200 (+0.200 to +0.200) |")
    # The prior is a baseline: nothing is shown of it but what models are above it, under the conditions it has.
    assert [line.split(" | ")[0] for line in tables["model minus prior"].splitlines()] == ["| no text", "| with text"]
    empty, swapped = tables["with text: own text vs."].splitlines()
    assert empty == "| empty text | CC | +0.000 (+0.000 to +0.000) |"
    assert "| +0.200 (+0.200 to +0.200) |" in swapped


def test_without_other_texts_there_is_no_ablation_to_show(tmp_path: Path) -> None:
    write_study(READ, [run(tmp_path / "text", {"salient": [0.5, 0.6]}, label="text")], tmp_path / "out")
    assert "own text vs." not in (tmp_path / "out" / "results.md").read_text()


# The figure


CURVES = study(
    Line("ours", "one", curve="theirs"),
    curves=curves(theirs=[0.3, 0.5, 0.4]),
    panels={"cc": "CC", "train/loss": "Loss"},
)


def drawn(*folders: RunFolder) -> list[CurvePanel]:
    return panels(CURVES, values(CURVES, by_setting(read_records(folders), CURVES.lines)))


def test_ours_stand_beside_the_published_curve(tmp_path: Path) -> None:
    cc, loss = drawn(run(tmp_path / "a", curve={"test/cc": [0.1, 0.2], "train/loss": [9.0, 8.0]}))
    assert {label: line.tolist() for label, line in cc.lines.items()} == {
        "ours, paper": [0.3, 0.5, 0.4],
        "ours": [0.1, 0.2],
    }
    assert set(cc.published) == {"ours, paper"}
    assert (loss.title, loss.lines["ours"].to_dict()) == ("Loss", {0: 9.0, 1: 8.0})


def test_runs_of_two_kinds_of_split_are_two_numbered_curves(tmp_path: Path) -> None:
    (panel,) = drawn(*(run(tmp_path / on, selection_split=on, curve={f"{on}/cc": [0.1]}) for on in ("test", "val")))
    assert list(panel.lines) == ["ours, paper", "ours (1)", "ours (2)"]


def test_without_a_log_the_published_curve_is_drawn_alone(tmp_path: Path) -> None:
    (panel,) = drawn(run(tmp_path / "a"))
    assert list(panel.lines) == list(panel.published) == ["ours, paper"]
