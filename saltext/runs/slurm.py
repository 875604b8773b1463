"""The jobs of a sweep on a SLURM cluster: submit them as one array, wait for all, and record failures.

Submitit queries ``sacct`` for the state of jobs, which needs accounting on the cluster; this module uses ``squeue``.
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

_POLL = 1.0  # seconds between checks for results
_QUERY_EVERY = 15.0  # seconds between calls of squeue
_QUERY_TIMEOUT = 60.0  # seconds that squeue may take
# States of a job that SLURM does not start again.
_ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
)
_GONE = "no longer in the queue"
_SUBMITIT_PARAMETERS = frozenset(
    ("name", "nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "mem_gb", "timeout_min", "stderr_to_stdout")
)
# Pattern in an error of sbatch -> keys of hydra.launcher that cause it.
_KEYS_OF_ERROR: Mapping[str, tuple[str, ...]] = MappingProxyType(
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
        launcher: Submitit's launcher, set up by Hydra, which the jobs call.
        job_overrides: Overrides of each job.
        first: Number of the first job in its sweep.

    Returns:
        The return of each job; its value is None for a job without a result, whose folder has the reason.

    Raises:
        ConfigError: SLURM was not found, or refuses the jobs.
    """
    gpus = [launcher.params.get(key) for key in ("gpus_per_node", "gpus_per_task", "gres")]
    if first == 0 and launcher.config.trainer.accelerator == "auto" and not any(gpus):
        print("The jobs request no GPU from SLURM; trainer.accelerator=gpu requests as many as trainer.devices.")
    jobs = _submit_array(launcher, job_overrides, first)
    array = jobs[0].job_id.partition("_")[0]
    print(f"SLURM has {len(jobs)} job(s) as {array}; squeue --jobs={array} shows them.", flush=True)
    try:
        ended = _wait_for_all(jobs)
    except BaseException:
        print(f"The jobs continue in SLURM; scancel {array} ends them.", file=sys.stderr)
        raise
    returned = []
    for index, (job, overrides) in enumerate(zip(jobs, job_overrides, strict=True)):
        result, reason = (None, ended[index]) if index in ended else _result_or_reason(job)
        if result is None:
            text = f"SLURM job {job.job_id} ended without a result: {reason} (its output: {job.paths.stdout})"
            _record_failed_job(launcher, overrides, first + index, text)
            result = JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=None)
        returned.append(result)
    return returned


def _submit_array(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[Any]:
    """Submit jobs as one array; see :func:`launch`."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=slurm: expected SLURM's commands, but sbatch or srun was not found. Start the sweep on a "
            "machine of the cluster, or side by side on this one (hydra/launcher=local)."
        )
    parameters = dict(launcher.params)
    executor = submitit.AutoExecutor(
        folder=parameters.pop("submitit_folder"),
        cluster="slurm",
        slurm_max_num_timeout=parameters.pop("max_num_timeout"),
    )
    prefixed = {key if key in _SUBMITIT_PARAMETERS else f"slurm_{key}": value for key, value in parameters.items()}
    executor.update_parameters(**prefixed)
    Path(launcher.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    calls = [
        (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state())
        for number, overrides in enumerate(job_overrides, start=first)
    ]
    try:
        with redirect_stderr(io.StringIO()):  # submitit also prints the error that it raises
            jobs = executor.map_array(launcher, *zip(*calls, strict=True))
    except (FailedJobError, FailedSubmissionError) as error:
        raise ConfigError(_explain_refusal(str(error), launcher.params)) from error
    return [job.task(0) for job in jobs]  # of several machines, the first one has the result


def _explain_refusal(output: str, parameters: Mapping[str, Any]) -> str:
    """A message with the error of sbatch and the keys to change."""
    lines = dict.fromkeys(line.removeprefix("sbatch: error: ").strip() for line in output.splitlines() if line.strip())
    error = "; ".join(lines) or "no error message"
    keys = dict.fromkeys(
        key for pattern, keys in _KEYS_OF_ERROR.items() if re.search(pattern, error, re.I) for key in keys
    )
    current = {key: "null" if parameters.get(key) is None else parameters[key] for key in keys}
    named = ", ".join(f"hydra.launcher.{key} (now {value})" for key, value in current.items())
    what = named or "the resources in hydra.launcher (its keys: conf/hydra/launcher/slurm.yaml, or --cfg hydra)"
    return f"sbatch refused the jobs: {error.rstrip('.')}. Change {what}."


def _wait_for_all(jobs: Sequence[Any]) -> dict[int, str]:
    """Wait until each job has a result or has ended.

    A result may become visible on this machine with a delay, so a job counts as ended once two queries say so.

    Returns:
        Index of each job without a result -> its state.
    """
    waiting, ended_before, ended = set(range(len(jobs))), set[int](), dict[int, str]()
    next_query = time.monotonic() + _QUERY_EVERY
    while waiting:
        waiting = {index for index in waiting if not _has_result(jobs[index])}
        if waiting and time.monotonic() >= next_query:
            states = _query_states(jobs[0].job_id.partition("_")[0])
            next_query = time.monotonic() + _QUERY_EVERY
            if states is not None:
                state_of = {index: states.get(jobs[index].job_id, _GONE) for index in waiting}
                ended_now = {index for index, state in state_of.items() if state in _ENDED or state == _GONE}
                ended |= {index: state_of[index] for index in ended_now & ended_before}
                waiting -= ended.keys()
                ended_before = ended_now
        time.sleep(_POLL if waiting else 0)
    return ended


def _has_result(job: Any) -> bool:
    folder = job.paths.folder
    with suppress(OSError):
        folder.chmod(folder.stat().st_mode)  # makes a network file system refresh the folder
    return bool(job.paths.result_pickle.exists())


def _query_states(array: str) -> dict[str, str] | None:
    """State of each job of an array, by its id; empty for an array that SLURM no longer knows, None without answer."""
    command = ["squeue", f"--jobs={array}", "--array", "--states=all", "--noheader", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_QUERY_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    return dict(line.strip().split("|", 1) for line in done.stdout.splitlines() if "|" in line)


def _result_or_reason(job: Any) -> tuple[JobReturn | None, str]:
    """The result of a job, or None and why there is none."""
    try:
        result = job.result()
        _ = result.return_value  # raises the job's exception if there was one
        return result, ""
    except Exception as error:  # the job's, or one from reading its result
        lines = [line.strip() for line in str(error).split("-" * 22)[-2:][0].splitlines() if line.strip("- ")]
        return None, lines[-1] if lines else type(error).__name__


def _record_failed_job(launcher: Any, overrides: Sequence[str], number: int, reason: str) -> None:
    """Write why a job has no result into its folder, which the job may not have created."""
    cfg = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with open_dict(cfg):
        cfg.hydra.job.num = number
    before = HydraConfig.instance().cfg
    try:
        HydraConfig.instance().set_config(cfg)  # the folder's name may refer to it
        hydra = cfg.hydra
        folder = RunFolder(Path(hydra.sweep.dir) / hydra.sweep.subdir)
        job = Job(folder, hydra.callbacks.summary.started, number, tuple(hydra.overrides.task))
    finally:
        HydraConfig.instance().cfg = before
    record_failure(job, reason)
