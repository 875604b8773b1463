"""Sweeps from outside: what is said at their end, how they survive, and that every launcher does the same."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from saltext.results.score_table import read_scores
from saltext.runs.composition import compose_run
from saltext.runs.jobs import Job, latest_jobs
from saltext.runs.sweep import Summary, _RunningSweep, job_table, summarise, summarised
from saltext.system.run_folder import RunFolder
from tests.command_line import command, forking, here, refused, start
from tests.made_up_runs import write_run
from tests.small_runs import composed
from tests.watching import thread_names

# What is said of jobs, made up


def make_job(sweep: Path, number: int, *overrides: str, cc: float | None, started: str = "2026-01-02") -> Job:
    """A job with the configuration of the overrides and that score; a failed one without a score."""
    folder = RunFolder(sweep / f"job{number}")
    folder.root.mkdir(parents=True)
    job = Job(folder, started, number, ("preset=smoke", *overrides))
    job.write()
    cfg = composed(*job.overrides)
    OmegaConf.save(cfg, folder.config)
    if cc is None:
        (folder.root / "failure.txt").write_text("status 2, error: no luck\n")
    else:
        write_run(folder, cfg, cc)
    return job


@pytest.fixture
def study(tmp_path: Path) -> list[Job]:
    """Two models with two seeds each, of which one failed."""
    return [
        make_job(tmp_path, 0, "model/blend=film", "seed=1", cc=0.5),
        make_job(tmp_path, 1, "model/blend=film", "seed=2", cc=0.7),
        make_job(tmp_path, 2, "model/blend=none", "seed=1", cc=0.65),
        make_job(tmp_path, 3, "model/blend=none", "seed=2", cc=None),
    ]


def test_a_sweep_s_table_has_a_row_a_job_with_what_varied_status_and_scores(study: list[Job]) -> None:
    table = job_table(study)
    assert list(table.columns) == ["job", "overrides", "status", "monitored", "cc", "kl", "nss", "minutes", "folder"]
    assert list(table["overrides"])[:2] == ["model/blend=film seed=1", "model/blend=film seed=2"]
    assert list(table["status"]) == ["finished"] * 3 + ["failed"]
    assert table["cc"][:3].tolist() == pytest.approx([0.5, 0.7, 0.65])  # mean of the tasks .1 below and above
    assert table["monitored"][:3].tolist() == [0.5, 0.7, 0.65]
    assert table["minutes"][:3].tolist() == [1.5] * 3
    assert table.loc[3, ["monitored", "cc", "minutes"]].isna().all()
    assert list(table["folder"]) == ["job0", "job1", "job2", "job3"]


def test_the_summary_says_spread_failures_and_the_best(
    study: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summarise(tmp_path, study)
    said, written = capsys.readouterr().out, (tmp_path / "summary.md").read_text()
    assert "3 of 4 jobs finished" in said
    for text in (said, written):
        # The other's mean over seeds is .6; that one of its seeds was luckier is no merit.
        assert "Best by val/cc (max): model/blend=none, 0.6500 (1 job)" in text
        assert "Job 3 failed (model/blend=none seed=2): status 2, error: no luck" in text
    assert "| salient | tranblend-film | 2 | 0.700 ± 0.100 |" in written
    assert "| 3 | model/blend=none seed=2 | failed | – |" in written
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "summary.csv"), job_table(study))


def test_jobs_that_share_a_label_without_being_repetitions_are_not_pooled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [make_job(tmp_path, i, f"optimizer.lr={lr}", cc=cc) for i, (lr, cc) in enumerate([(0.1, 0.4), (0.2, 0.7)])]
    summarise(tmp_path, found)
    said = capsys.readouterr().out
    assert "optimizer.lr=0.1" in said
    assert "0.450 ±" not in said  # the mean of both learning rates means nothing
    assert "mean of their means" not in said


def test_repetitions_with_different_labels_are_pooled(tmp_path: Path) -> None:
    found = [make_job(tmp_path, i, "label=seed-${seed}", f"seed={i}", cc=0.4 + 0.2 * i) for i in (0, 1)]
    summarise(tmp_path, found)
    assert "| pure | seed-0 | 2 | 0.400 ± 0.100 |" in (tmp_path / "summary.md").read_text()


def test_jobs_are_those_of_the_latest_sweep_in_its_order(tmp_path: Path) -> None:
    make_job(tmp_path, 0, "seed=0", cc=0.4, started="2026-01-01")
    later = [make_job(tmp_path, number, f"seed={number}", cc=None) for number in (10, 9)]
    assert [job.folder for job in latest_jobs(tmp_path)] == [later[1].folder, later[0].folder]
    assert latest_jobs(tmp_path / "nothing") == []


def test_the_command_shows_a_sweep_and_refuses_other_folders(
    study: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here("sweep", tmp_path)
    assert "3 of 4 jobs finished" in capsys.readouterr().out
    assert "no job was begun" in refused(capsys, "sweep", tmp_path / "job0")


# Real ones

SMALL = ("preset=smoke", "data.tasks=[salient,non_salient]", "data.batch_size=4", "data.image_size=[64,96]",
         "data.map_size=[16,24]", "evaluation.paper=null", "evaluation.baselines=[uniform]",
         "evaluation.text_ablation=false", "evaluation.pictures=0")  # fmt: skip
FOUR = ("name=study", "trainer.max_epochs=2", "seed=0,1", "model/blend=film,none", "-m")


def of_sweep(outputs: Path, *arguments: str) -> list[str]:
    return [f"output_dir={outputs}", *SMALL, *arguments]


def sweep(outputs: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return command(*of_sweep(outputs, *arguments))


def summary(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "summary.csv").drop(columns="minutes")


def job_that_saved(folder: Path, number: int) -> RunFolder:
    """The folder of a job, once it has saved an epoch."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        found = [job.folder for job in latest_jobs(folder) if job.number == number]
        if found and found[0].last.is_file():
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"job {number} saved nothing")


@pytest.mark.slow
def test_a_killed_sweep_started_again_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    done = sweep(tmp_path / "whole", *FOUR)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = summary(tmp_path / "whole" / "study")
    assert len(expected) == 4

    front = start(*of_sweep(tmp_path / "killed", *FOUR))
    third = job_that_saved(tmp_path / "killed" / "study", 2)
    front.send_signal(signal.SIGKILL)
    front.finish(60)
    assert not third.result.exists(), "the job finished before it was interrupted"

    done = sweep(tmp_path / "killed", *FOUR)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("has finished and is not run again") == 2
    assert "continuing from" in third.log.read_text()
    pd.testing.assert_frame_equal(summary(tmp_path / "killed" / "study"), expected, rtol=0, atol=1e-12)


LAUNCHERS = {"basic": None, "local": "hydra_plugins.hydra_joblib_launcher",
             "submitit_local": "hydra_plugins.hydra_submitit_launcher"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_runs_two_ranks_beside_a_job_that_fails(outputs: Path, launcher: str) -> None:
    plugin = LAUNCHERS[launcher]
    if plugin:
        pytest.importorskip(plugin, reason="the extras parallel and slurm bring it")
    folder, records = outputs / launcher, outputs / f"ranks-{launcher}"
    done = sweep(
        outputs, f"name={launcher}", f"hydra/launcher={launcher}", "trainer.max_epochs=1", "data.val_fraction=0.95,0.1",
        "trainer=ddp", "trainer.devices=2", "+callbacks.ranks._target_=tests.ranks.RankRecord",
        f"+callbacks.ranks.folder={records}",
        "+hydra.callbacks.forked._target_=tests.forking.ForkedJobs", f"+hydra.callbacks.forked.at={forking()}", "-m",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    if launcher != "submitit_local":  # whose jobs speak into files
        assert "job 0 failed" in done.stderr
    assert (
        "Job 0 failed (data.val_fraction=0.95): status 1, error: expected at least two training pairs for each of 2"
        in done.stdout
    )
    assert list(summary(folder)["status"]) == ["failed", "finished"]

    ranks = [json.loads((records / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1]
    assert ranks[0]["world"] == 2

    ours = latest_jobs(folder)[1].folder
    assert "sync_dist" not in ours.log.read_text(), "Lightning has nothing to recommend"
    assert len(read_scores(ours.scores)) == 4 * 2  # pairs; the model and the uniform map
    if launcher == "basic":
        alone = ["trainer.devices=1", "trainer.strategy=auto"]
        # The record of ranks is our own class.
        again = command("evaluate", str(ours.root), "--trust", *alone, module="saltext")
        assert again.returncode == 0, again.stdout + again.stderr
        reference = read_scores(ours.root / "evaluation" / "scores.csv")
    else:
        first = outputs / "basic"
        if not first.is_dir():
            pytest.skip("the basic launcher's test did not run")
        reference = read_scores(latest_jobs(first)[1].folder.scores)
    pd.testing.assert_frame_equal(read_scores(ours.scores), reference, rtol=0, atol=1e-6)


def test_every_process_of_joblib_watches_the_command_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    joblib = pytest.importorskip("joblib")
    launcher = pytest.importorskip("hydra_plugins.hydra_joblib_launcher._core", reason="the extra parallel brings it")
    monkeypatch.setenv("SALTEXT_FRONT", str(os.getpid()))
    monkeypatch.setattr(launcher, "Parallel", joblib.Parallel)
    target = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    monkeypatch.setattr(_RunningSweep, "config", None)
    Summary("now").on_multirun_start(OmegaConf.create({"hydra": {"launcher": {"_target_": target}}}))
    found = launcher.Parallel(n_jobs=2, backend="loky")(joblib.delayed(thread_names)() for _ in range(2))
    assert all("saltext-front" in names for names in found)
    joblib.externals.loky.get_reusable_executor().shutdown(kill_workers=True)


def test_a_sweep_of_which_no_job_was_begun_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = compose_run([f"output_dir={tmp_path}", "name=none"])
    with pytest.raises(SystemExit) as ended, summarised():
        Summary("2026").on_multirun_start(cfg)
    assert ended.value.code == 1
    assert "no job of the sweep was begun" in capsys.readouterr().err


def test_the_summary_warns_of_random_weights_that_are_fixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = ["model=tranblend", "model/freeze=decoder"]
    found = [make_job(tmp_path, number, *given, cc=0.5) for number, given in enumerate([["model=tranblend"], fixed])]
    summarise(tmp_path, found)
    assert "Warning, job 1: model.freeze.decoder=1.0 with checkpoint=null fixes random weights" in (
        tmp_path / "summary.md"
    ).read_text(encoding="utf-8")
    assert "fixes random weights" in capsys.readouterr().out
