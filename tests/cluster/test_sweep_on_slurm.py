"""A sweep as a job array of a real SLURM on this machine alone (one_node.py); skipped where SLURM is not installed."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from saltext.runs.jobs import latest_jobs
from tests.cluster.one_node import ClusterError, missing, running
from tests.command_line import command, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra slurm brings it")

SWEEP = ("preset=smoke", "trainer.max_epochs=1", "data.tasks=[salient,non_salient]", "evaluation.baselines=[]",
         "evaluation.paper=null", "evaluation.text_ablation=false", "name=three", "hydra/launcher=slurm",
         "hydra.launcher.cpus_per_task=1", "hydra.launcher.array_parallelism=2", "seed=0,1,2", "-m")  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    try:
        with running() as environment:
            yield environment
    except ClusterError as error:
        pytest.skip(str(error))


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def queue(cluster: dict[str, str], state: str) -> list[str]:
    """Numbers of the jobs in a state."""
    asked = ["squeue", "--array", "--noheader", f"--states={state}", "--format=%i"]
    said = subprocess.run(asked, env={**os.environ, **cluster}, capture_output=True, text=True, check=True).stdout
    return sorted(said.split())


def statuses(folder: Path) -> list[str]:
    return list(pd.read_csv(folder / "summary.csv")["status"])


def worker_of(folder: Path) -> int:
    """The process that trains a job's folder."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if b"saltext.runs.worker" in words and str(folder).encode() in words:
            return int(entry.parent.name)
    return 0


def test_a_sweep_whose_jobs_are_killed_and_cancelled_names_them_and_goes_on_when_started_again(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    study = tmp_path / "three"
    front = start(f"output_dir={tmp_path}", *SWEEP, environment=cluster)
    until(lambda: len(queue(cluster, "RUNNING")) == 2, "no two jobs run")
    (third,) = queue(cluster, "PENDING")
    until(lambda: len(latest_jobs(study)) == 2, "the jobs do not begin")
    first, second = (job.folder for job in latest_jobs(study))
    until(lambda: worker_of(second.root) > 0, "no process trains the second job")
    os.kill(worker_of(second.root), signal.SIGKILL)
    running_first = f"{third.partition('_')[0]}_0"
    subprocess.run(["scancel", running_first, third], env={**os.environ, **cluster}, check=True)
    cancelled = time.monotonic()

    done = front.finish(300)
    assert time.monotonic() - cancelled < 90, "expected the command to notice within a minute, and to write its tables"
    assert done.returncode == 1, done.stdout + done.stderr
    assert statuses(study) == ["failed"] * 3
    assert f"Job 0 failed (seed=0): SLURM job {running_first} ended without a result: CANCELLED" in done.stdout
    assert "Job 1 failed (seed=1): ended by SIGKILL" in done.stdout
    assert f"Job 2 failed (seed=2): SLURM job {third} ended without a result: CANCELLED" in done.stdout
    assert "sacct" not in done.stdout + done.stderr
    assert queue(cluster, "RUNNING") == []
    assert worker_of(first.root) == 0

    again = command(f"output_dir={tmp_path}", *SWEEP, environment=cluster)
    assert again.returncode == 0, again.stdout + again.stderr
    assert statuses(study) == ["finished"] * 3
    assert [job.folder.read_failure() for job in latest_jobs(study)] == [""] * 3


def test_a_gpu_that_the_cluster_has_not_is_refused_in_one_line(cluster: dict[str, str], tmp_path: Path) -> None:
    done = command(f"output_dir={tmp_path}", *SWEEP[:-2], "hydra.launcher.gpus_per_node=1", "-m", environment=cluster)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: sbatch refused the jobs: Invalid generic resource")
    assert "hydra.launcher.gpus_per_node (now 1)" in line
