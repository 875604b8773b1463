"""The jobs of a sweep on a SLURM cluster: submit them as one array, wait for all, and record those that were ended.

Submitit asks ``sacct`` how jobs are, which knows nothing where a cluster has no accounting; here ``squeue`` is asked.
"""

import io
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import open_dict

from saltext.errors import ConfigError
from saltext.runs.jobs import Job, record_failure
from saltext.system.run_folder import RunFolder

_PAUSE = 1.0  # seconds between looks for results
_EVERY = 15.0  # seconds between questions to squeue
_ANSWER = 60.0  # seconds that squeue may take
# A job that stays in one of these is not started again by itself.
_ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
)
_GONE = "no longer in the queue"
_OF_SUBMITIT = frozenset(
    ("name", "nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "mem_gb", "timeout_min", "stderr_to_stdout")
)
# What sbatch complains of, and the keys under hydra.launcher that ask for it.
_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gres|generic resource|gpus": ("gpus_per_node",),
        "partition": ("partition",),
        "account": ("account", "partition"),
        "qos": ("qos",),
        "time limit": ("timeout_min",),
        "memory": ("mem_gb",),
        "constraint|feature": ("constraint",),
        "cpu count|node count|node configuration": ("cpus_per_task", "mem_gb", "gpus_per_node", "nodes"),
    }
)


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Submit jobs and wait until all have ended.

    Args:
        launcher: Submitit's, set up by Hydra, which the jobs call.
        job_overrides: Of each job.
        first: Number of the first one in its sweep.

    Returns:
        What each job returned; None as its value where it was ended, which its folder says
        (:func:`saltext.runs.jobs.failure`).

    Raises:
        ConfigError: SLURM is not there, or does not take the jobs.
    """
    gpus = [launcher.params.get(key) for key in ("gpus_per_node", "gpus_per_task", "gres")]
    if first == 0 and launcher.config.trainer.accelerator == "auto" and not any(gpus):
        print("The jobs ask SLURM for no GPU; trainer.accelerator=gpu asks for as many as trainer.devices says.")
    jobs = _submit(launcher, job_overrides, first)
    array = jobs[0].job_id.partition("_")[0]
    print(f"SLURM has {len(jobs)} job(s) as {array}; squeue --jobs={array} shows them.", flush=True)
    try:
        ended = _wait(jobs)
    except BaseException:
        print(f"The jobs go on in SLURM; scancel {array} ends them.", file=sys.stderr)
        raise
    returned = []
    for index, (job, overrides) in enumerate(zip(jobs, job_overrides, strict=True)):
        result, reason = (None, ended[index]) if index in ended else _outcome(job)
        if result is None:
            text = f"SLURM job {job.job_id} ended without a result: {reason} (its output: {job.paths.stdout})"
            _record(launcher, overrides, first + index, text)
            result = JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=None)
        returned.append(result)
    return returned


def _submit(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[Any]:
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=slurm: expected SLURM's commands, but sbatch or srun was not found. Start the sweep on a "
            "machine of the cluster, or side by side on this one (hydra/launcher=local)."
        )
    given = dict(launcher.params)
    executor = submitit.AutoExecutor(
        folder=given.pop("submitit_folder"), cluster="slurm", slurm_max_num_timeout=given.pop("max_num_timeout")
    )
    asked = {key if key in _OF_SUBMITIT else f"slurm_{key}": value for key, value in given.items()}
    executor.update_parameters(**asked)
    Path(launcher.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    calls = [
        (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state())
        for number, overrides in enumerate(job_overrides, start=first)
    ]
    try:
        with redirect_stderr(io.StringIO()):  # submitit prints there what it raises
            jobs = executor.map_array(launcher, *zip(*calls, strict=True))
    except (FailedJobError, FailedSubmissionError) as error:
        raise ConfigError(_refusal(str(error), launcher.params)) from error
    return [job.task(0) for job in jobs]  # of several machines, the first one's says how it went


def _refusal(said: str, params: Mapping[str, Any]) -> str:
    """What sbatch said, and the keys to change."""
    lines = dict.fromkeys(line.removeprefix("sbatch: error: ").strip() for line in said.splitlines() if line.strip())
    text = "; ".join(lines) or "without a word"
    keys = dict.fromkeys(key for pattern, keys in _KEYS.items() if re.search(pattern, text, re.I) for key in keys)
    now = {key: "null" if params.get(key) is None else params[key] for key in keys}
    asked = ", ".join(f"hydra.launcher.{key} (now {value})" for key, value in now.items())
    what = asked or "what hydra.launcher asks for (its keys: conf/hydra/launcher/slurm.yaml, or --cfg hydra)"
    return f"sbatch refused the jobs: {text.rstrip('.')}. Change {what}."


def _wait(jobs: Sequence[Any]) -> dict[int, str]:
    """Wait until each job has left a result or has ended; the states of those without one, by their indices.

    A result may take a while to be seen on another machine: a job must have been found ended twice.
    """
    waiting, before, ended = set(range(len(jobs))), set[int](), dict[int, str]()
    question = time.monotonic() + _EVERY
    while waiting:
        waiting = {index for index in waiting if not _has_result(jobs[index])}
        if waiting and time.monotonic() >= question:
            states = _states(jobs[0].job_id.partition("_")[0])
            question = time.monotonic() + _EVERY
            if states is not None:
                found = {index: states.get(jobs[index].job_id, _GONE) for index in waiting}
                now = {index for index, state in found.items() if state in _ENDED or state == _GONE}
                ended |= {index: found[index] for index in now & before}
                waiting -= ended.keys()
                before = now
        time.sleep(_PAUSE if waiting else 0)
    return ended


def _has_result(job: Any) -> bool:
    folder = job.paths.folder
    with suppress(OSError):
        folder.chmod(folder.stat().st_mode)  # a network file system looks anew
    return bool(job.paths.result_pickle.exists())


def _states(array: str) -> dict[str, str] | None:
    """The states of a job, or of those of an array, by their numbers; None if SLURM does not say."""
    command = ["squeue", f"--jobs={array}", "--array", "--states=all", "--noheader", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    return dict(line.strip().split("|", 1) for line in done.stdout.splitlines() if "|" in line)


def _outcome(job: Any) -> tuple[JobReturn | None, str]:
    """What a job returned, or why there is nothing."""
    try:
        result = job.result()
        _ = result.return_value  # raises what the job did not catch
        return result, ""
    except Exception as error:  # whatever was raised in the job, or by reading its result
        lines = [line.strip() for line in str(error).split("-" * 22)[-2:][0].splitlines() if line.strip("- ")]
        return None, lines[-1] if lines else type(error).__name__


def _record(launcher: Any, overrides: Sequence[str], number: int, reason: str) -> None:
    """Leave in a job's folder, which the job perhaps never saw, why it has no result."""
    cfg = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with open_dict(cfg):
        cfg.hydra.job.num = number
    before = HydraConfig.instance().cfg
    try:
        HydraConfig.instance().set_config(cfg)  # a folder's name may ask for it
        hydra = cfg.hydra
        folder = RunFolder(Path(hydra.sweep.dir) / hydra.sweep.subdir)
        job = Job(folder, hydra.callbacks.summary.started, number, tuple(hydra.overrides.task))
    finally:
        HydraConfig.instance().cfg = before
    record_failure(job, reason)
