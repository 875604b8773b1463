"""One damaged file of one run stops neither the others' tables nor a run that does not need it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from saltext.data.splits import Split
from saltext.errors import CheckpointError, DamagedFileError, DataError, SaltextError
from saltext.reporting import run_files
from saltext.results import calibration, comparison, study_results
from saltext.results.run_record import read_history
from saltext.results.score_table import read_run_scores, read_scores, write_scores
from saltext.results.study import Line, Study
from saltext.runs import build_training, jobs, provenance, records, report, train
from saltext.runs.train import _explain_full_disk, _load_trained
from saltext.runs.trust import record
from saltext.system.run_folder import RunFolder, finished_runs
from tests.command_line import here, refused
from tests.runs.test_sweep import make_job
from tests.small_runs import SMALL, composed

RESULTS = ("result.json", "scores.csv", "text_ablation.csv")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: b"\0" * len(content),
}
FILES = ("config.yaml", "provenance.json", "job.json", "result.json", "split.json", "stage.json", "failure.txt",
         "metrics/version_0/metrics.csv", "scores.csv", "text_ablation.csv", "calibration.csv",
         "rows.json")  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of three finished jobs of one model and a failed one, with every file that a run leaves."""
    folder = tmp_path_factory.mktemp("whole")
    made = [make_job(folder, number, f"seed={number}", cc=0.5 + number / 10) for number in range(3)]
    made.append(make_job(folder, 3, "seed=3", cc=None))
    for job in made:
        Split("by hand", 0, "image", {"train": ("1",), "val": ("2",), "test": ("007", "008")}).save(job.folder.split)
        provenance.write(job.folder.provenance)
        job.folder.finished_stage.write_text(json.dumps({"tasks": ["pure"], "epochs": 1, "trained_on": ["1_0"]}))
        if job.folder.scores.exists():
            pairs = read_scores(job.folder.scores)
            own = pairs[pairs["model"] != "uniform map"]
            write_scores(job.folder.text_ablation_scores, own.assign(variant="empty"))
            levels = dict.fromkeys(calibration.COLUMNS[3:], 0.5)
            calibration.write(job.folder, own[["image_id", "task"]].assign(maps="model", **levels), "mark")
    return folder


def damaged(whole: Path, to: Path, file: str, damage: str) -> RunFolder:
    """A copy of the sweep in which a file of one job is damaged: of the failed one for its failure."""
    shutil.copytree(whole, to)
    folder = RunFolder(to / ("job3" if file == "failure.txt" else "job1"))
    (folder.root / file).write_bytes(DAMAGES[damage]((folder.root / file).read_bytes()))
    return folder


@pytest.mark.parametrize(("file", "damage"), [(file, list(DAMAGES)[place % 3]) for place, file in enumerate(FILES)])
def test_the_summary_the_page_and_the_tables_of_the_other_runs_are_made(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    file: str, damage: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = damaged(whole, tmp_path / "study", file, damage)
    here("sweep", tmp_path / "study")
    assert "job0" in capsys.readouterr().out
    assert (tmp_path / "study" / "summary.csv").is_file()
    page = report.write(report.Request(tmp_path / "study", predicts=False))
    assert "tranblend" in page.read_text(encoding="utf-8")
    run_files.show_folder(tmp_path / "study")
    assert len(comparison.model_scores([tmp_path / "study"]))
    lost = 1 if file in RESULTS else 0
    # A record of rows that is lost is no reason to doubt a table.
    assert len(finished_runs(tmp_path / "study")) == 3 - lost
    if file in (*RESULTS, "job.json", "split.json", "config.yaml", "provenance.json"):
        assert str(folder.root / file) in caplog.text, "it is named"


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _larger_than_memory(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(2**40)  # takes no space on the disk


OTHER_KINDS = (_pipe, _link, _folder, _larger_than_memory)


@pytest.mark.parametrize("file", FILES)
def test_what_is_no_file_of_a_run_is_neither_waited_for_nor_read_whole(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    shutil.copytree(whole, tmp_path / "study")
    of = RunFolder(tmp_path / "study" / ("job3" if file == "failure.txt" else "job1"))
    changed = []
    for number, make in enumerate(OTHER_KINDS, 4):  # a job for each of them, beside those that are whole
        changed.append(RunFolder(of.root.with_name(f"job{number}")))
        shutil.copytree(of.root, changed[-1].root)
        make(changed[-1].root / file)
    here("sweep", tmp_path / "study")
    report.write(report.Request(tmp_path / "study", predicts=False))
    run_files.show_folder(tmp_path / "study")
    others = 0 if file in (*RESULTS, "failure.txt") else len(OTHER_KINDS)
    assert len(finished_runs(tmp_path / "study")) == 3 + others
    if file in (*RESULTS, "config.yaml", "provenance.json"):
        assert not [folder for folder in changed if str(folder.root / file) not in caplog.text], "each is named"


OTHER_CONTENTS: dict[str, tuple[object, ...]] = {
    "result.json": (
        {"label": ["a"], "seconds": 1, "test": {}}, {"label": "a", "seconds": "long", "test": {}},
        {"label": "a", "seconds": 1, "test": [1]}, {"label": "\x1b[2J", "seconds": 1, "test": {}},
    ),
    "provenance.json": ([{"gpus": 1}], [{"packages": []}], [1, {"commit": {}, "cores": [], "time": 3}], [[]]),
    "stage.json": ({"tasks": 1}, {"tasks": {}, "epochs": "x"}),
    "job.json": (
        {"sweep": [], "number": "x", "overrides": 3}, {"sweep": "now", "number": 10**30, "overrides": [{"a": 1}]},
        {"sweep": "now", "number": 1, "overrides": ["\x1b[2J"]},
    ),
    "rows.json": ({"scores.csv": "many"}, {"scores.csv": -1}),
    "extra_metrics.json": (
        {"cc": {"title": "CC", "higher_is_better": False}}, {"cc": 1},
        {"\x1b[2J": {"title": "a", "higher_is_better": True}},
    ),
    "split.json": ({"parts": 3}, {"parts": {"train": 3}, "method": [], "seed": {}, "unit": 1, "digest": []}),
}  # fmt: skip


@pytest.mark.parametrize("file", OTHER_CONTENTS)
def test_a_record_of_other_types_stops_nothing_and_writes_no_control_characters(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    study = tmp_path / "study"
    shutil.copytree(whole, study)
    for number, content in enumerate(OTHER_CONTENTS[file], 4):  # a job for each of them, beside those that are whole
        shutil.copytree(study / "job1", study / f"job{number}")
        (study / f"job{number}" / file).write_text(json.dumps(content))
    here("sweep", study)
    page = report.write(report.Request(study, predicts=False))
    run_files.show_folder(study)
    report.write(report.Request(study / "job0", predicts=False))
    assert "\x1b" not in capsys.readouterr().out + page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new"), [("tranblend", "\x1b[2J"), ("pure", "\u202epure"), ("model", "who"), ("protocol", "kind")]
)
def test_scores_without_a_column_or_with_control_characters_in_a_name_are_left_out(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    shutil.copytree(whole, tmp_path / "study")
    file = tmp_path / "study" / "job1" / "scores.csv"
    file.write_text(file.read_text().replace(old, new))
    run_files.show_folder(tmp_path / "study")
    report.write(report.Request(tmp_path / "study", predicts=False))
    assert "\x1b" not in capsys.readouterr().out
    assert len(comparison.model_scores([tmp_path / "study"]))


def test_an_epoch_that_is_no_number_of_one_is_left_out(tmp_path: Path) -> None:
    for version in ("0", "1", "x"):
        (tmp_path / "metrics" / f"version_{version}").mkdir(parents=True)
    lines = "epoch,step,val/cc\n0,1,0.25\ninf,2,0.5\n-1,3,0.5\n1e30,3,0.5\nx,3,0.5\n"
    (tmp_path / "metrics" / "version_0" / "metrics.csv").write_text(lines)
    os.mkfifo(tmp_path / "metrics" / "version_1" / "metrics.csv")
    (tmp_path / "metrics" / "version_x" / "metrics.csv").write_text(lines)
    assert list(read_history(RunFolder(tmp_path))["value"]) == [0.25]


@pytest.mark.parametrize("file", RESULTS)
def test_a_run_whose_results_are_damaged_is_not_done(whole: Path, tmp_path: Path, file: str) -> None:
    folder = damaged(whole, tmp_path / "study", file, "cut")
    assert jobs.status(folder) == "interrupted"
    assert jobs.status(RunFolder(tmp_path / "study" / "job0")) == "finished"
    assert file in folder.damage()
    (folder.root / "job.json").unlink()  # a single run then
    assert jobs.latest_unfinished(tmp_path / "study") == folder


def test_scores_cut_between_two_lines_are_damaged(whole: Path, tmp_path: Path) -> None:
    folder = damaged(whole, tmp_path / "study", "failure.txt", "cut")
    folder = RunFolder(folder.root.with_name("job1"))
    lines = folder.scores.read_bytes().splitlines(keepends=True)
    folder.scores.write_bytes(b"".join(lines[:-2]))
    with pytest.raises(DamagedFileError, match=r"scores\.csv is damaged: expected 8 rows, got 6"):
        read_run_scores(folder)
    assert not folder.is_finished


def test_without_any_whole_run_the_damage_is_the_error(whole: Path, tmp_path: Path) -> None:
    folder = damaged(whole, tmp_path / "study", "scores.csv", "empty")
    for other in ("job0", "job2", "job3"):
        shutil.rmtree(tmp_path / "study" / other)
    with pytest.raises(SaltextError, match="no whole result"):
        run_files.show_folder(tmp_path / "study")
    with pytest.raises(SaltextError, match="no whole result"):
        comparison.model_scores([tmp_path / "study"])
    with pytest.raises(DamagedFileError, match=r"scores\.csv is damaged: expected a table, got an empty file"):
        report.write(report.Request(folder.root, predicts=False))


def test_of_two_runs_the_page_shows_the_whole_one(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = damaged(whole, tmp_path / "study", "scores.csv", "cut")
    report.write(report.Request(tmp_path / "study" / "job0", folder.root, predicts=False))
    assert f"left out: {folder.scores} is damaged" in caplog.text


def test_a_study_s_tables_leave_a_damaged_run_out(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = damaged(whole, tmp_path / "study", "scores.csv", "cut")
    found = records.read_records(RunFolder(tmp_path / "study" / f"job{number}") for number in range(3))
    line = Line("ours", found[0].cfg.name)
    study = Study("ours", "Ours", "us", (found[0].cfg.name,), "standard", (line,), metrics=("cc",))
    table = study_results._of_line(study, line, found, "scores")
    assert table["cc"].mean() == pytest.approx(0.6)  # of .5 and .7, without .6
    assert str(folder.scores) in caplog.text


def test_a_provenance_that_is_damaged_is_kept_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    for damage in (b"", b"{}", b"[1, 2"):
        path.write_bytes(damage)
        provenance.write(path)
        assert len(json.loads(path.read_text())) == 1
        assert (tmp_path / "provenance.damaged.json").read_bytes() == damage
    provenance.write(path)
    assert len(json.loads(path.read_text())) == 2


def test_a_damaged_configuration_is_said_in_words_and_a_sweeps_job_needs_none(whole: Path, tmp_path: Path) -> None:
    folder = damaged(whole, tmp_path / "study", "config.yaml", "zeros")
    with pytest.raises(DamagedFileError, match=r"config\.yaml cannot be read.*rerun=true"):
        record(folder)
    cfg = record(RunFolder(tmp_path / "study" / "job0"))
    with pytest.raises(DamagedFileError):
        jobs._check_same(cfg, folder)
    named = RunFolder(folder.root.rename(folder.root.with_name(f"a_{jobs.digest(cfg)}")))
    jobs._check_same(cfg, named)


def test_a_damaged_split_is_said_with_the_way_out(whole: Path, tmp_path: Path) -> None:
    folder = damaged(whole, tmp_path / "study", "split.json", "cut")
    with pytest.raises(DataError, match="Restore it from a copy"):
        Split.load(folder.split)


def test_a_damaged_stage_record_counts_as_not_trained(whole: Path, tmp_path: Path) -> None:
    for damage in DAMAGES:
        folder = damaged(whole, tmp_path / damage, "stage.json", damage)
        assert not folder.has_trained
    assert RunFolder(tmp_path / "cut" / "job0").has_trained


def test_a_log_cut_in_a_line_keeps_its_other_epochs(tmp_path: Path) -> None:
    file = tmp_path / "metrics" / "version_0" / "metrics.csv"
    file.parent.mkdir(parents=True)
    whole = "epoch,step,val/cc\n0,1,0.25\n1,2,0.5\n2,3,0.75\n"
    for length in range(len(whole)):
        file.write_text(whole[:length])
        curves = read_history(RunFolder(tmp_path))
        lines = whole[:length].count("\n")
        assert list(curves["value"][: max(0, lines - 1)]) == [0.25, 0.5, 0.75][: max(0, lines - 1)]


def test_tested_weights_that_are_damaged_are_said_with_the_way_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    folder.best.write_bytes(b"")

    class Module:
        network = None

    with pytest.raises(CheckpointError, match=r"best\.ckpt.*rerun=true"):
        _load_trained(Module(), folder)  # type: ignore[arg-type]


def test_a_full_disk_is_said_with_what_is_kept_and_how_to_go_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    error = OSError(28, os.strerror(28), "x.ckpt")
    assert "No epoch was saved" in _explain_full_disk(error, folder)
    folder.checkpoints.mkdir()
    folder.last.touch()
    said = _explain_full_disk(error, folder)
    assert said.startswith("the disk is full: No space left on device (x.ckpt). Saved so far: ")
    assert f"{folder.last}" in said
    assert f"resume={folder.root}" in said


def test_parts_that_a_killed_process_left_are_removed_when_a_run_is_held(tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / ".last.ckpt.0123456789ab.part"
    left.parent.mkdir()
    left.touch()
    with jobs.held(RunFolder(tmp_path), wait=False):
        assert not left.exists()


@pytest.mark.parametrize("data", ["sjtu_tis", "synthetic"])
def test_a_run_refuses_a_damaged_picture_by_its_name_before_training(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [f"data.root={tmp_path / 'data'}", f"data.cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path}"]
    generated = [*SMALL, *places, "data=synthetic", "data.images=20"]
    settings = generated if data == "synthetic" else [*SMALL, *places, "data=sjtu_tis"]
    build_training.datamodule(composed(*generated)).prepare_data()
    shutil.rmtree(tmp_path / "cache")
    picture = sorted((tmp_path / "data" / "image_1800").iterdir())[7]
    picture.write_bytes(picture.read_bytes()[:200])
    monkeypatch.setattr(train, "_train", lambda *_: pytest.fail("it was trained"))
    said = refused(capsys, "train", *settings, f"hydra.run.dir={tmp_path / 'run'}")
    assert said.startswith("error: ")
    assert picture.name in said
    assert not (tmp_path / "run" / "scores.csv").exists()
