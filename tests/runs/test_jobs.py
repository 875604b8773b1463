"""Jobs as Hydra starts them, with a worker that writes what a run leaves and trains nothing."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from saltext.errors import ConfigError, DataError
from saltext.run import main
from saltext.runs import jobs, train
from saltext.runs.composition import compose_run
from saltext.runs.jobs import Job, digest, held, latest_jobs, latest_unfinished, status
from saltext.runs.records import monitored
from saltext.runs.untrusted_yaml import mapping
from saltext.system.run_folder import RunFolder
from tests.made_up_runs import write_run

UNLUCKY = 13


def composed(*overrides: str) -> DictConfig:
    cfg = compose_run(["preset=smoke", *overrides])
    return OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])


# Digest


@pytest.mark.parametrize(
    "override",
    ["seed=7", "optimizer.lr=0.5", "data.tasks=[pure]", "trainer.devices=2", "model/blend=none", "data.root=elsewhere",
     "trainer.deterministic=true", "trainer.deterministic=warn", "inference=reference", "inference=bf16",
     "compile=true", "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_algorithm=value"],
)  # fmt: skip
def test_what_can_change_a_result_changes_the_digest(override: str) -> None:
    assert digest(composed(override)) != digest(composed())


@pytest.mark.parametrize(
    "override",
    ["output_dir=elsewhere", "name=other", "rerun=true", "data.num_workers=3", "data.cache_dir=x", "~logger.csv",
     "trainer.devices=[3]", "~trainer.deterministic", "inference=fp32", "~compile",
     "~trainer.accumulate_grad_batches", "~trainer.gradient_clip_algorithm"],
)  # fmt: skip
def test_what_cannot_change_a_result_leaves_the_digest(override: str) -> None:
    assert digest(composed(override)) == digest(composed())


def test_the_digest_of_a_saved_configuration_is_that_of_the_composed_one(tmp_path: Path) -> None:
    cfg = composed("output_dir=some/where", "optimizer.lr=1e-5", "trainer.devices=[0,1]")
    OmegaConf.save(cfg, tmp_path / "config.yaml", resolve=True)
    saved = OmegaConf.load(tmp_path / "config.yaml")
    assert isinstance(saved, DictConfig)
    assert digest(saved) == digest(cfg)
    assert saved.data.root == "some/where/synthetic-smoke"  # what was written is left as it is


def test_the_digest_is_the_same_in_every_process() -> None:
    cfg = OmegaConf.create({"output_dir": "out", "data": {"root": "${output_dir}/x"}, "trainer": {"devices": [4]}})
    assert digest(cfg) == "cef9a4fd"  # sha256 of {"data": {"root": "x"}, "trainer": {"devices": 1}}


# Running


@dataclass
class Session:
    """Starts commands, and records what the worker was started for.

    Attributes:
        outputs: The output folder of all of them.
        started: The configurations the worker ran, in order.
    """

    outputs: Path
    argv: Callable[[list[str]], None]
    started: list[DictConfig] = field(default_factory=list)

    def __call__(self, *arguments: str) -> int | str:
        """Exit status of a command, or its last words."""
        self.started.clear()
        self.argv(["saltext", f"output_dir={self.outputs}", *arguments])
        GlobalHydra.instance().clear()
        try:
            main()
        except SystemExit as end:
            return end.code or 0
        return 0

    def here(self, folder: RunFolder, started_with: str | None) -> None:
        if self.work("", [str(folder.root)]):
            raise ConfigError("what an unlucky seed")

    def work(self, module: str, arguments: Sequence[str], *rest: Any) -> int:
        folder = RunFolder(Path(arguments[0]))
        cfg = OmegaConf.create(mapping(folder.config.read_text(), folder.config))
        self.started.append(cfg)
        folder.checkpoints.mkdir(exist_ok=True)
        folder.last.touch()
        if cfg.seed == UNLUCKY:
            with folder.log.open("a") as log:
                log.write("2026-01-31 12:00:00 error: what an unlucky seed\nRuntimeError: the other rank has gone\n\n")
            return 2
        write_run(folder, cfg, cc=1 - cfg.optimizer.lr)
        return 0


@pytest.fixture
def saltext(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    session = Session(tmp_path, lambda argv: monkeypatch.setattr(sys, "argv", argv))
    monkeypatch.setattr(jobs, "launch", session.work)
    monkeypatch.setattr(train, "train_folder", session.here)
    yield session
    GlobalHydra.instance().clear()


def test_a_single_run_has_a_folder_of_its_own_each_time(saltext: Session) -> None:
    assert saltext("hydra.run.dir=${output_dir}/one") == 0
    assert len(saltext.started) == 1
    assert not (saltext.outputs / "one" / "job.json").exists()


@pytest.mark.parametrize(("capability", "single"), [({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")])
def test_how_frozen_modules_compute_is_chosen_by_the_cpu_in_a_single_run_and_recorded(
    saltext: Session, capability: dict[str, bool], single: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capability)
    assert saltext("hydra.run.dir=${output_dir}/one") == 0
    assert [cfg.inference for cfg in saltext.started] == [single]
    assert saltext("name=study", "seed=1,2", "-m") == 0
    assert [cfg.inference for cfg in saltext.started] == ["fp32", "fp32"]


def test_a_run_that_the_system_ended_says_so(
    saltext: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "launch", lambda *_: -9)
    assert saltext("trainer=ddp", "trainer.devices=2", "hydra.run.dir=${output_dir}/one") == 137
    assert "error: the run was ended by SIGKILL" in capsys.readouterr().err


def test_jobs_that_finished_are_not_run_again_by_the_same_command(
    saltext: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("name=study", "seed=1,2", "-m")
    assert saltext(*command) == 0
    assert [cfg.seed for cfg in saltext.started] == [1, 2]
    capsys.readouterr()
    assert saltext(*command) == 0
    assert saltext.started == []
    assert capsys.readouterr().out.count("has finished and is not run again") == 2
    assert saltext("name=study", "seed=2,3", "-m") == 0
    assert [cfg.seed for cfg in saltext.started] == [3]


def test_rerun_runs_them_again_from_the_start(saltext: Session) -> None:
    command = ("name=study", "seed=1,2", "-m")
    saltext(*command)
    folder = latest_jobs(saltext.outputs / "study")[0].folder
    folder.wandb_id.parent.mkdir()
    left = (folder.split, folder.wandb_id)
    for path in left:
        path.touch()
    assert saltext(*command[:2], "rerun=true", "-m") == 0
    assert [cfg.seed for cfg in saltext.started] == [1, 2]
    assert not any(path.exists() for path in left)
    assert len(latest_jobs(saltext.outputs / "study")) == 2


def test_a_job_that_was_stopped_goes_on_in_its_folder_with_what_is_there(saltext: Session) -> None:
    command = ("name=study", "seed=1,2", "-m")
    saltext(*command)
    folder = latest_jobs(saltext.outputs / "study")[1].folder
    folder.result.unlink()
    folder.best.write_text("of the first start")
    assert saltext(*command) == 0
    assert [cfg.seed for cfg in saltext.started] == [2]
    assert folder.best.read_text() == "of the first start"


def test_a_folder_is_not_taken_over_by_another_configuration(
    saltext: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    here = "hydra.run.dir=${output_dir}/one"
    assert saltext(here) == 0
    assert saltext(here, "seed=5") == 2
    said = capsys.readouterr().err
    assert "another configuration" in said
    assert "rerun=true" in said
    assert saltext.started == []
    assert saltext(here, "seed=5", "rerun=true") == 0
    assert [cfg.seed for cfg in saltext.started] == [5]


def test_a_folder_in_use_is_left_alone(saltext: Session, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(saltext.outputs / "one")
    folder.root.mkdir()
    with held(folder, wait=False):
        assert saltext("hydra.run.dir=${output_dir}/one") == 2
    assert "Another process" in capsys.readouterr().err
    assert saltext.started == []
    assert saltext("hydra.run.dir=${output_dir}/one") == 0


def test_a_failed_single_run_ends_with_its_status(saltext: Session) -> None:
    assert saltext(f"seed={UNLUCKY}") == 2


@pytest.mark.parametrize("kept", ["", "notes.txt"])
def test_a_run_that_fails_before_it_has_its_data_leaves_nothing_of_its_own(
    saltext: Session, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    def fail(folder: RunFolder, started_with: str | None) -> None:
        folder.log.touch()
        raise DataError("no such data")

    monkeypatch.setattr(train, "train_folder", fail)
    folder = saltext.outputs / "one"
    if kept:
        folder.mkdir()
        (folder / kept).touch()
    assert saltext("hydra.run.dir=${output_dir}/one") == 2
    assert (folder / kept).is_file() if kept else not folder.exists()


def test_a_failing_job_is_named_at_once_and_stops_no_other(
    saltext: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    assert saltext("name=study", f"seed=1,{UNLUCKY},2", "-m") == 1
    assert [cfg.seed for cfg in saltext.started] == [1, UNLUCKY, 2]
    said = capsys.readouterr()
    assert f"job 1 failed (output_dir={saltext.outputs} name=study seed=13): status 2, error: what an unlucky seed" in (
        said.err
    )
    found = latest_jobs(saltext.outputs / "study")
    assert [status(job.folder) for job in found] == ["finished", "failed", "finished"]


def test_a_failed_job_is_started_again_and_its_failure_forgotten(
    saltext: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    saltext("name=study", f"seed=1,{UNLUCKY}", "-m")
    failed = latest_jobs(saltext.outputs / "study")[1].folder
    assert "unlucky" in failed.read_failure()
    monkeypatch.setattr(jobs, "launch", lambda *_: 0)
    assert saltext("name=study", f"seed=1,{UNLUCKY}", "-m") == 1  # status 0, but no result
    assert status(failed) == "interrupted"
    assert failed.read_failure() == ""


def test_a_job_that_cannot_even_start_stops_no_other(
    saltext: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(module: str, arguments: Sequence[str], *rest: Any) -> int:
        if "seed-1" in arguments[0]:
            raise OSError("no space left")
        return saltext.work(module, arguments, *rest)

    monkeypatch.setattr(jobs, "launch", broken)
    assert saltext("name=study", "label=seed-${seed}", "seed=1,2", "-m") == 1
    assert [cfg.seed for cfg in saltext.started] == [2]
    assert "OSError: no space left" in capsys.readouterr().err
    assert "Traceback" in latest_jobs(saltext.outputs / "study")[0].folder.log.read_text()


def test_a_job_ended_by_a_signal_says_so(saltext: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "launch", lambda *_: -9)
    assert saltext("name=study", "seed=1,2", "-m") == 1
    assert latest_jobs(saltext.outputs / "study")[0].folder.read_failure() == "ended by SIGKILL"


def test_the_reason_of_a_failure_is_from_the_job_s_last_start(
    saltext: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    saltext("name=study", f"seed={UNLUCKY},1", "-m")
    failed = latest_jobs(saltext.outputs / "study")[0].folder

    def differently(module: str, arguments: Sequence[str], *rest: Any) -> int:
        with failed.log.open("a") as log:
            log.write("Traceback\nOSError: no space left\n")
        return 1

    monkeypatch.setattr(jobs, "launch", differently)
    saltext("name=study", f"seed={UNLUCKY},1", "-m")
    assert failed.read_failure() == "status 1, OSError: no space left"


def test_only_the_latest_sweep_of_a_folder_counts(saltext: Session) -> None:
    saltext("name=study", "seed=1,2,3", "-m")
    saltext("name=study", "seed=3,1", "-m")
    assert [job.overrides[-1] for job in latest_jobs(saltext.outputs / "study")] == ["seed=3", "seed=1"]


def test_the_value_of_a_job_is_the_best_of_the_monitored_metric(saltext: Session) -> None:
    saltext("hydra.run.dir=${output_dir}/one", "optimizer.lr=0.25")
    assert monitored(RunFolder(saltext.outputs / "one")) == 0.75
    saltext("hydra.run.dir=${output_dir}/none", "evaluation.monitor=val/nss")
    assert monitored(RunFolder(saltext.outputs / "none")) is None


def test_of_a_schedule_the_stages_that_are_tested_count(saltext: Session) -> None:
    saltext("hydra.run.dir=${output_dir}/one", "stages=warmup_finetune", "+stages.sequence.pure.test=false")
    folder = RunFolder(saltext.outputs / "one")
    cfg = OmegaConf.load(folder.config)
    for name, cc in (("warmup", 0.9), ("pure", 0.8), ("salient", 0.4), ("general", 0.2)):
        stage = folder.stage(name)
        stage.root.mkdir(parents=True)
        write_run(stage, cfg, cc)  # type: ignore[arg-type]
    assert monitored(folder) == pytest.approx(0.3)


def test_a_sweep_of_one_job_is_a_sweep(saltext: Session) -> None:
    assert saltext("name=study", "seed=3", "-m") == 0
    (job,) = latest_jobs(saltext.outputs / "study")
    assert job.overrides[-1] == "seed=3"


# Optuna 2, which the sweeper needs, uses what SQLAlchemy 2 and Python 3.12 call old: https://github.com/optuna/optuna
searching = pytest.mark.filterwarnings("ignore")


@searching
def test_a_search_optimises_the_monitored_metric_and_repeats_itself(
    saltext: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the extra optuna is not installed")
    command = ("name=study", "hydra/sweeper=search", "optimizer.lr=interval(0.1,0.9)", "hydra.sweeper.n_trials=3", "-m")
    assert saltext(*command) == 0
    rates = [cfg.optimizer.lr for cfg in saltext.started]
    assert len(set(rates)) == 3
    best = OmegaConf.load(saltext.outputs / "study" / "optimization_results.yaml")
    assert best.best_params["optimizer.lr"] == min(rates)
    assert best.best_value == pytest.approx(1 - min(rates))
    assert saltext(*command) == 0
    assert saltext.started == []  # the same proposals: all are finished


@searching
def test_a_failed_trial_does_not_end_a_search(saltext: Session) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the extra optuna is not installed")
    assert saltext("name=study", "hydra/sweeper=search", f"seed=choice(1,{UNLUCKY})", "hydra.sweeper.sampler.seed=0",
                   "hydra.sweeper.n_trials=5", "-m") == 1  # fmt: skip
    assert {cfg.seed for cfg in saltext.started} == {1, UNLUCKY}


# Resuming


def make_run(folder: RunFolder, *, split: bool = True, finished: bool = False, age: float = 0) -> RunFolder:
    folder.root.mkdir(parents=True)
    OmegaConf.save(composed(), folder.config, resolve=True)
    if split:
        folder.split.touch()
    if finished:
        write_run(folder, composed(), cc=0.5)
    os.utime(folder.config, (1e9 - age, 1e9 - age))
    return folder


def test_latest_is_the_newest_single_run_that_began_and_neither_finished_nor_runs(tmp_path: Path) -> None:
    make_run(RunFolder(tmp_path / "run" / "finished"), finished=True)
    make_run(RunFolder(tmp_path / "run" / "mistake"), split=False)
    in_sweep = make_run(RunFolder(tmp_path / "study" / "job"))
    Job(in_sweep, "2026", 0, ()).write()
    running = make_run(RunFolder(tmp_path / "run" / "running"))
    make_run(RunFolder(tmp_path / "run" / "older"), age=20)
    newest = make_run(RunFolder(tmp_path / "other" / "newest"), age=10)
    with held(running, wait=False):
        assert status(running) == "running"
        assert latest_unfinished(tmp_path) == newest


def test_without_an_unfinished_run_there_is_an_error_that_says_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"resume=latest.*no run.*resume=DIR"):
        latest_unfinished(tmp_path)
    make_run(RunFolder(tmp_path / "a"), finished=True)
    with pytest.raises(ConfigError, match="1 finished"):
        latest_unfinished(tmp_path)


def test_resume_latest_says_which_run_it_continues(
    saltext: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(RunFolder(saltext.outputs / "run" / "a"))
    assert saltext("resume=latest") == 0
    assert len(saltext.started) == 1
    assert f"continuing {folder.root}" in capsys.readouterr().out
    assert saltext("resume=latest") == 2
    assert "found 1 finished" in capsys.readouterr().err
    assert saltext("resume=latest", "seed=2") == 2
    assert "seed=2" in capsys.readouterr().err


def test_a_run_that_is_running_cannot_be_resumed(
    saltext: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(RunFolder(saltext.outputs / "run" / "a"))
    monkeypatch.setattr(sys, "argv", ["saltext", f"resume={folder.root}"])
    with held(folder, wait=False), pytest.raises(SystemExit, match="2"):
        main()
    assert "Another process" in capsys.readouterr().err
    assert saltext.started == []
