"""The page of a run, of two, and of several, as a reader without the suite gets it."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from saltext.data.splits import Split
from saltext.errors import ConfigError
from saltext.results.score_table import read_scores, write_scores
from saltext.runs import predict_again, trust
from saltext.runs.report import Request, write
from saltext.runs.sweep import Job
from saltext.system.run_folder import RunFolder
from tests.command_line import here, refused
from tests.runs.test_sweep import make_job

HOSTILE = '<script>alert("1")</script> & \u202e$x$ "'
SECTIONS = [
    "One image, two texts",
    "Accuracy and text ablation",
    "Results",
    "Per-image scores vs. human references",
    "Best and worst pairs by CC",
    "Calibration of the density",
    "Learning curves",
    "Provenance",
    "Glossary",
]


class Page(HTMLParser):
    """What a page holds: titles of its sections, rows of its tables, its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.rows: list[list[str]] = []
        self.alts: list[str | None] = []
        self.said = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        if tag == "img":
            self.alts.append(dict(attrs)["alt"])
        if tag not in ("meta", "img"):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "h2":
            self.sections.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.said += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data
        if "h2" in self._open:
            self.sections[-1] += data

    def rows_of(self, *first: str) -> list[list[str]]:
        return [row for row in self.rows if row[: len(first)] == list(first)]


def page_of(run: Path, other: Path | None = None, *changes: str, predicts: bool = True) -> Page:
    request = Request(run, other, predicts, OmegaConf.from_cli(list(changes)))
    text = write(request).read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|<iframe|@import|url\((?!#)|https?://|src=\"(?!data:)|href=\"(?!#)", text)
    assert len(text) < 10_000_000
    return Page(text)


def copied(run: RunFolder, to: Path, label: str | None = None) -> RunFolder:
    """A copy that may be written to, of another label if one is given."""
    shutil.copytree(run.root, to)
    folder = RunFolder(to)
    if label is not None:
        cfg = OmegaConf.load(folder.config)
        write_scores(folder.scores, read_scores(folder.scores).replace({"model": {cfg.label: label}}))
        result = json.loads(folder.result.read_text())
        folder.result.write_text(json.dumps(result | {"label": label}))
        cfg.label = label
        OmegaConf.save(cfg, folder.config)
    trust.write(OmegaConf.load(folder.config), folder)  # type: ignore[arg-type]  # as if it had run there
    return folder


@pytest.fixture
def run(smoke_run: RunFolder, tmp_path: Path) -> RunFolder:
    return copied(smoke_run, tmp_path / "run")


# A run


@pytest.mark.slow
def test_the_page_of_a_run_holds_every_section_and_the_numbers_of_its_scores(run: RunFolder) -> None:
    page = page_of(run.root)
    assert page.sections == SECTIONS
    scores = read_scores(run.scores)
    for task, part in scores.groupby("task"):
        row, *_ = page.rows_of(str(task), scores["model"].iloc[0])
        assert row[2] == str(len(part))
        assert row[3].startswith(f"{part['cc'].mean():.3f} ±")
        (means,) = page.rows_of(scores["model"].iloc[0], "CC ↑")
        assert any(cell.startswith(f"{part['cc'].mean():.3f} (") for cell in means)
        best, worst = part.loc[part["cc"].idxmax()], part.loc[part["cc"].idxmin()]
        for rank, end in (("best 1", best), ("worst 1", worst)):
            assert f"{rank}: CC {end['cc']:.3f}, image {end['image_id']}" in page.said
            assert end["text"] in page.said
    assert "so they are the maps that were scored" in page.said
    assert "prediction, no text: CC" in page.said
    assert all(page.alts)
    pairs = scores.groupby("task").size().clip(upper=6).sum()
    assert len(page.alts) == 3 * pairs + 8 * min(3, scores["image_id"].nunique())


@pytest.mark.slow
def test_the_calibration_on_the_page_is_that_of_all_test_pairs(run: RunFolder) -> None:
    page = page_of(run.root)
    kept = pd.read_csv(run.coverage, dtype={"image_id": str})
    scores = read_scores(run.scores)
    assert set(zip(kept["image_id"], kept["task"], strict=True)) == set(
        zip(scores["image_id"], scores["task"], strict=True)
    )
    for task, part in kept.groupby("task"):
        for maps, name in (("model", scores["model"].iloc[0]), ("human", "human maps")):
            own = part[part["maps"] == maps]
            (row,) = (row for row in page.rows_of(str(task), name, str(len(own))) if len(row) == 10)
            assert row[7] == f"{own['mass_0.50'].mean():.3f}"


@pytest.mark.slow
def test_what_was_computed_on_all_pairs_is_not_computed_again_unless_the_model_changed(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = page_of(run.root)

    def refuse(*arguments: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(predict_again, "coverage", refuse)
    moved = RunFolder(run.root.rename(run.root.with_name("moved")))
    assert page_of(moved.root).said == first.said.replace("folderrun", "foldermoved")
    with pytest.raises(AssertionError, match="computed again"):
        page_of(moved.root, None, "evaluation.mirror=true")


@pytest.mark.slow
def test_without_data_set_or_checkpoint_the_page_says_what_it_lacks_and_holds_the_rest(run: RunFolder) -> None:
    for arguments, said in (
        (["data.root=/nowhere/else"], "the data set was not found in else/"),
        (["model.encoder.name=resnet10x"], "resnet10x"),
    ):
        page = page_of(run.root, None, *arguments)
        assert page.sections == SECTIONS
        assert said in page.said
        assert "To add them, run saltext report FOLDER --data DIR" in page.said
        assert not page.alts
        assert page.rows_of("salient", "best 1")
    shutil.rmtree(run.checkpoints)
    assert "best.ckpt" in page_of(run.root).said or "no weights" in page_of(run.root).said
    assert not run.coverage.exists()


@pytest.mark.slow
def test_a_run_that_was_not_tested_yet_has_a_page_without_scores(run: RunFolder) -> None:
    run.scores.unlink()
    run.result.unlink()
    page = page_of(run.root)
    assert "No test pair was scored yet." in page.said
    assert page.rows_of("state") == [["state", "not finished"]]
    assert "Training loss" in page.said
    assert not page.alts  # its test pairs are not looked at before it is finished


@pytest.mark.slow
def test_hostile_texts_stay_texts(smoke_run: RunFolder, tmp_path: Path) -> None:
    folder = copied(smoke_run, tmp_path / "<b>run", label="<i>&net")
    write_scores(folder.scores, read_scores(folder.scores).assign(text=HOSTILE))
    page = page_of(folder.root, predicts=False)
    assert HOSTILE in page.said
    assert "<i>&net" in page.said
    assert page.rows_of("folder") == [["folder", "<b>run"]]


@pytest.mark.slow
def test_the_page_names_no_folder_above_the_run_s(run: RunFolder) -> None:
    for changes, predicts in ([], True), ([], False), (["data.root=/nowhere/else"], True):
        page = page_of(run.root, None, *changes, predicts=predicts)
        overrides = [line for line in page.said.splitlines() if line.startswith("python -m saltext.run ")]
        said = page.said.replace(*overrides, "")
        assert str(run.root.parent) not in said


# Two runs


@pytest.mark.slow
def test_two_runs_stand_beside_each_other_with_their_paired_difference(smoke_run: RunFolder, tmp_path: Path) -> None:
    one, other = copied(smoke_run, tmp_path / "one"), copied(smoke_run, tmp_path / "other", label="other net")
    better = read_scores(one.scores)
    write_scores(one.scores, better.assign(cc=better["cc"] + 0.25))
    page = page_of(one.root, other.root)
    assert "The two runs pair by pair" in page.sections
    name = better["model"].iloc[0]
    assert page.rows_of("", name, "other net")
    (row,) = page.rows_of(f"{name} minus other net", "CC")
    assert row[2] == "+0.250 (2 images, no interval)"
    assert "prediction, other net: CC" in page.said
    assert "NOT the scored maps" in page.said  # since the scores of the first were changed here
    assert "other net, error" in page.said


@pytest.mark.slow
def test_runs_of_one_label_are_distinguished_by_their_folders(smoke_run: RunFolder, tmp_path: Path) -> None:
    one, other = (copied(smoke_run, tmp_path / name) for name in ("one", "other"))
    page = page_of(one.root, other.root, predicts=False)
    label = read_scores(one.scores)["model"].iloc[0]
    assert page.rows_of("", f"{label} (one)", f"{label} (other)")


@pytest.mark.slow
def test_runs_without_common_pairs_are_shown_without_a_difference(smoke_run: RunFolder, tmp_path: Path) -> None:
    one, other = copied(smoke_run, tmp_path / "one"), copied(smoke_run, tmp_path / "other", label="b")
    renamed = read_scores(other.scores)
    write_scores(other.scores, renamed.assign(image_id="x" + renamed["image_id"]))
    page = page_of(one.root, other.root, predicts=False)
    assert "Compare runs with one data set, split and split_seed" in page.said


# Several runs


def make_sweep(folder: Path) -> list[Job]:
    jobs = [
        make_job(folder, 0, "model/blend=film", "seed=1", cc=0.5),
        make_job(folder, 1, "model/blend=film", "seed=2", cc=0.7),
        make_job(folder, 2, "model/blend=none", "seed=1", cc=0.65),
        make_job(folder, 3, "model/blend=none", "seed=2", cc=None),
    ]
    for job in jobs:
        Split("by hand", 0, "image", {"train": ("1",), "val": ("2",), "test": ("007",)}).save(job.folder.split)
    return jobs


def test_the_page_of_a_sweep_pools_its_runs_and_says_which_failed(tmp_path: Path) -> None:
    make_sweep(tmp_path / "study")
    page = page_of(tmp_path / "study")
    assert {"One image, two texts", "Results", "Learning curves", "Provenance", "Glossary"} <= set(page.sections)
    assert "3 of 4 runs are finished" in page.said
    assert [row[:2] for row in page.rows if len(row) == 10][1:] == [
        ["tranblend-film (job0)", "finished"],
        ["tranblend-film (job1)", "finished"],
        ["tranblend-none (job2)", "finished"],
        ["tranblend-none (job3)", "failed: status 2, error: no luck"],
    ]
    assert page.rows_of("pure", "tranblend-film", "2")[0][3].startswith("0.500 ±")  # (.5 + .7) / 2 - .1
    assert ["pure", "tranblend-film", "2", "0.500 ± 0.100"] in [row[:4] for row in page.rows]  # over runs
    assert page.rows_of("tranblend-none", "CC")[0][2] == "+0.050 (2 images, no interval)"
    found = "“tranblend-none” minus “tranblend-film”: CC +0.050"
    assert page.said.index(found) < page.said.index("3 of 4 runs are finished")
    assert "the best by val/cc" in page.said
    assert "of one run: tranblend-film (job1), the best by" in page.said
    assert "The two leading models pair by pair" in page.sections


def test_runs_below_a_folder_need_no_sweep(tmp_path: Path) -> None:
    for job in make_sweep(tmp_path / "study" / "deeper"):
        (job.folder.root / "job.json").unlink()
    page = page_of(tmp_path / "study")
    assert "3 of 4 runs are finished" in page.said
    assert page.rows_of("pure", "tranblend-film", "2")


def test_a_sweep_of_which_nothing_is_finished_has_a_page(tmp_path: Path) -> None:
    job = make_job(tmp_path, 0, "seed=1", cc=None)
    Split("by hand", 0, "image", {"train": ("1",), "val": ("2",), "test": ("3",)}).save(job.folder.split)
    page = page_of(tmp_path)
    assert "No run has finished yet." in page.said
    assert "0 of 1 runs are finished" in page.said


# The command


def test_folders_without_a_run_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("data: {}\n")
    for arguments, said in (
        ([tmp_path / "nothing"], "does not exist"),
        ([tmp_path], "has none"),
        ([tmp_path / "begun"], r"has no split\.json"),
        ([tmp_path / "begun", tmp_path / "begun"], r"has no split\.json"),
        ([tmp_path / "begun", tmp_path], r"holds no config\.yaml"),  # said before any is read
    ):
        with pytest.raises(ConfigError, match=said):
            write(Request(*arguments))


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_refused(run: RunFolder) -> None:
    write_scores(run.scores, read_scores(run.scores).drop(columns="protocol"))
    with pytest.raises(ConfigError, match="earlier version"):
        write(Request(run.root))


def test_a_page_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    make_sweep(tmp_path)
    (tmp_path / "report.html").mkdir()
    before = set(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="cannot be written"):
        write(Request(tmp_path, predicts=False))
    assert set(tmp_path.iterdir()) == before


def test_the_command_prints_the_page_s_file_and_errors_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sweep(tmp_path / "study")
    here("report", tmp_path / "study", "--no-predict", "--data", "elsewhere")
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "study" / "report.html")
    assert refused(capsys, "report", tmp_path / "none").startswith("error: Expected the folder of a run")
    assert "got 3" in refused(capsys, "report", "a", "b", "c")
