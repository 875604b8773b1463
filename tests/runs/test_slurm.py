"""What our launcher for SLURM asks and says, with stand-ins for SLURM's commands; with the real ones: tests/cluster."""

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from saltext.errors import ConfigError
from saltext.runs import jobs, slurm
from saltext.runs.composition import compose_run
from saltext.runs.sweep import _RunningSweep, summarised
from saltext.system.run_folder import RunFolder
from tests.command_line import command

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra slurm brings it")
SLURM = ("hydra/launcher=slurm", "preset=smoke", "name=study")


def asked_for(*overrides: str) -> Any:
    return OmegaConf.to_container(compose_run([*SLURM, *overrides]).hydra.launcher, resolve=True)


@pytest.mark.parametrize(
    ("given", "gpus"),
    [
        (["trainer.accelerator=cpu"], None),
        (["trainer.accelerator=cpu", "trainer.devices=2"], None),
        (["trainer.accelerator=auto", "trainer.devices=2"], None),
        (["trainer.accelerator=auto", "hydra.launcher.gpus_per_node=2"], 2),
        (["trainer.accelerator=gpu"], 1),
        (["trainer.accelerator=cuda", "trainer.devices=4"], 4),
        (["trainer.accelerator=gpu", "trainer.devices=[0,2]"], 2),
        (["trainer.accelerator=gpu", "trainer.devices=auto"], None),
        (["trainer.accelerator=gpu", "trainer.devices=-1"], None),
    ],
)
def test_gpus_are_asked_for_where_the_accelerator_is_one_or_the_user_says_so(
    given: list[str], gpus: int | None
) -> None:
    assert asked_for(*given)["gpus_per_node"] == gpus


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts scripts of these names on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def write(**scripts: str) -> Path:
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        return folder

    write(srun="exit 1", sbatch="echo Submitted batch job 7", squeue="exit 1")
    return write


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[JobReturn]]:
    """Launches jobs that differ in their seed; they come to nothing unless a stand-in for a command writes a result."""
    cfg = compose_run([*SLURM, f"output_dir={tmp_path}", "trainer.accelerator=cpu"])
    monkeypatch.setattr(_RunningSweep, "config", cfg)
    monkeypatch.setattr(slurm, "_QUERY_EVERY", 0.05)
    monkeypatch.setattr(slurm, "_POLL", 0.01)

    def composed(base: DictConfig, overrides: list[str]) -> DictConfig:
        job = compose_run([*SLURM, f"output_dir={tmp_path}", "trainer.accelerator=cpu", *overrides])
        job.hydra.callbacks.summary.started = base.hydra.callbacks.summary.started
        job.hydra.overrides.task = overrides
        return job

    def launch(count: int, **params: Any) -> list[JobReturn]:
        asked = {"submitit_folder": str(tmp_path / "submitit" / "%j"), "max_num_timeout": 1, **params}
        context = SimpleNamespace(config_loader=SimpleNamespace(load_sweep_config=composed))
        launcher = SimpleNamespace(config=cfg, params=asked, hydra_context=context)
        monkeypatch.setattr("submitit.core.utils.DelayedSubmission.dump", lambda _, path: Path(path).touch())
        return slurm.launch(launcher, [[f"seed={number}"] for number in range(count)], 0)

    return launch


def result(folder: Path, outcome: object) -> str:
    """A file as a job leaves it."""
    path = folder / "result.pkl"
    path.write_bytes(pickle.dumps(outcome))
    return str(path)


def recorded(folder: Path) -> dict[int, str]:
    """The jobs whose folder says how they failed."""
    return {job.number: job.folder.read_failure() for job in jobs.latest_jobs(folder)}


def test_a_job_that_was_cancelled_is_noticed_by_squeue_and_named_at_the_end(
    commands: Callable[..., Path],
    sweep: Callable[..., list[JobReturn]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    returned = JobReturn(overrides=["seed=0"], status=JobStatus.COMPLETED, _return_value=0.5)
    saved = result(tmp_path, ("success", returned))
    commands(
        sacct="echo Slurm accounting storage is disabled >&2; exit 1",
        squeue=f"cp {saved} {tmp_path}/submitit/7_0/7_0_0_result.pkl; echo '7_0|COMPLETED'; echo '7_1|CANCELLED'",
    )
    with pytest.raises(SystemExit) as ended, summarised():
        assert [job.return_value for job in sweep(2)] == [0.5, None]
    assert ended.value.code == 1
    assert list(recorded(tmp_path / "study")) == [1]
    said = capsys.readouterr()
    assert "Job 1 failed (): SLURM job 7_1 ended without a result: CANCELLED (its output:" in said.out
    assert "accounting" not in said.out + said.err
    assert "run.log" not in said.out  # which it never began
    assert "sacct" not in said.out + said.err


def test_a_job_that_is_queued_again_is_waited_for(
    commands: Callable[..., Path], sweep: Callable[..., list[JobReturn]], tmp_path: Path
) -> None:
    saved = result(tmp_path, ("success", JobReturn(status=JobStatus.COMPLETED, _return_value=0.5)))
    commands(
        squeue=f"""echo x >> {tmp_path}/asked
case $(wc -l < {tmp_path}/asked) in
    1|4) echo '7|PREEMPTED';;
    2) echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1;;
    3) echo '7|PENDING';;
    5) echo '7|RUNNING';;
    *) cp {saved} {tmp_path}/submitit/7/7_0_result.pkl; echo '7|COMPLETED';;
esac"""
    )
    assert sweep(1)[0].return_value == 0.5


def test_a_job_that_slurm_has_forgotten_has_ended(
    commands: Callable[..., Path], sweep: Callable[..., list[JobReturn]], tmp_path: Path
) -> None:
    commands(squeue="echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert sweep(1)[0].return_value is None
    assert "no longer in the queue" in recorded(tmp_path / "study")[0]


def test_what_a_job_raises_is_why_it_failed(
    commands: Callable[..., Path], sweep: Callable[..., list[JobReturn]], tmp_path: Path
) -> None:
    trace = "Traceback (most recent call last):\n  File ...\nOSError: no space left\n"
    commands(squeue=f"cp {result(tmp_path, ('error', trace))} {tmp_path}/submitit/7/7_0_result.pkl; echo '7|FAILED'")
    sweep(1)
    assert "ended without a result: OSError: no space left" in recorded(tmp_path / "study")[0]


def test_of_several_machines_the_first_one_says_how_it_went(
    commands: Callable[..., Path], sweep: Callable[..., list[JobReturn]], tmp_path: Path
) -> None:
    saved = result(tmp_path, ("success", JobReturn(status=JobStatus.COMPLETED, _return_value=0.5)))
    commands(squeue=f"cp {saved} {tmp_path}/submitit/7/7_0_result.pkl; echo '7|COMPLETED'")
    assert sweep(1, nodes=2, tasks_per_node=1)[0].return_value == 0.5


def test_a_finished_run_whose_job_is_cancelled_stays_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "status", lambda folder: "finished")
    job = jobs.Job(RunFolder(tmp_path / "run"), "2026", 3, ("seed=1",))
    jobs.record_failure(job, "cancelled")
    assert jobs.latest_jobs(tmp_path) == [job]
    assert job.folder.read_failure() == ""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "sbatch: error: Invalid generic resource (gres) specification",
            r"refused the jobs: Invalid generic .*specification\. Change hydra.launcher.gpus_per_node \(now 3\)\.$",
        ),
        (
            "sbatch: error: invalid partition specified: gpu\nsbatch: error: Batch job submission failed: Invalid x",
            r"specified: gpu; Batch .* Change hydra.launcher.partition \(now null\)\.$",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested node configuration is not available",
            r"Change hydra.launcher.cpus_per_task \(now null\), .*gpus_per_node \(now 3\)",
        ),
        ("sbatch: error: no luck", r"no luck\. Change the resources in hydra.launcher"),
    ],
)
def test_refused_jobs_end_in_what_sbatch_said_and_the_key_to_change(
    commands: Callable[..., Path],
    sweep: Callable[..., list[JobReturn]],
    said: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands(sbatch=f"cat >&2 <<'END'\n{said}\nEND\nexit 1")
    with pytest.raises(ConfigError, match=words):
        sweep(2, gpus_per_node=3)
    assert capsys.readouterr().err == ""


def test_a_machine_without_slurm_is_answered_in_words(
    sweep: Callable[..., list[JobReturn]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="expected SLURM's commands"):
        sweep(1)


def test_a_command_whose_jobs_are_refused_ends_in_one_line_with_the_status_of_a_mistake(
    commands: Callable[..., Path], tmp_path: Path
) -> None:
    commands(sbatch="echo 'sbatch: error: Invalid generic resource (gres) specification' >&2; exit 1")
    done = command(*SLURM, f"output_dir={tmp_path}", "trainer.accelerator=gpu", "seed=0,1", "-m")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: sbatch refused the jobs: Invalid generic resource (gres) specification. "
        "Change hydra.launcher.gpus_per_node (now 1)."
    ]
