"""Run a job that Hydra composed: find its folder, start or resume it there, and record its failure.

The digest of a job's resolved configuration identifies it, and is part of its folder's name in a sweep. The same
command started again therefore finds its jobs: finished ones are skipped, the others resume from their checkpoints.
"""

import hashlib
import json
import logging
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from saltext import storage
from saltext.errors import ConfigError, DamagedFileError, SaltextError, printable
from saltext.models.inference import has_fast_bfloat16
from saltext.runs import preflight, trust, untrusted_yaml
from saltext.runs.launch import gpus_from_pool, launch, node_rank, nodes, parallel_jobs, processes, slurm_gpus
from saltext.system.environment import IN_SWEEP
from saltext.system.locks import locked
from saltext.system.run_folder import RunFolder
from saltext.system.watched import watch_front

_log = logging.getLogger(__name__)

Status = Literal["finished", "failed", "running", "interrupted"]

# Keys that do not change a score: locations of files, loggers, loader processes.
_WITHOUT_EFFECT = ("hydra", "output_dir", "name", "rerun", "logger", "data.cache_dir", "data.num_workers")
_DIGITS = 8
_TIME = re.compile(r"^[\d-]{10} [\d:]{8} ")  # the beginning of a line of the log
# Launchers that run several jobs at once on this machine; SLURM assigns GPUs by itself.
_SIDE_BY_SIDE = frozenset(("JoblibLauncher", "LocalLauncher"))
_TRAINING_FOLDERS = ("checkpoints", "stages", "metrics", "evaluation")


def digest(cfg: DictConfig) -> str:
    """Hash of everything in a configuration that can change a result.

    Left out are the study's name, locations of files (of paths below ``output_dir``, that part), loggers, loader
    processes, and which devices are named: their number counts, since each process takes its own batches.

    Args:
        cfg: A run's configuration, composed or read back from its folder.

    Returns:
        Eight hexadecimal digits.
    """
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return _digest_of_values(OmegaConf.to_container(own, resolve=True))


def _digest_of_values(values: Any) -> str:
    """See :func:`digest`; changes ``values``."""
    output_prefix = f"{values.get('output_dir')}/"
    for name in _WITHOUT_EFFECT:
        *groups, key = name.split(".")
        node = values
        for group in groups:
            node = node.get(group, {})
        node.pop(key, None)
    # Runs from before these keys were there did the same without them.
    trainer = values.get("trainer", {})
    before = {"deterministic": False, "accumulate_grad_batches": 1, "gradient_clip_algorithm": "norm"}
    for key in [key for key, value in before.items() if trainer.get(key) == value]:
        del trainer[key]
    if values.get("compile") is False:
        del values["compile"]
    if values.get("inference") == "reference":
        del values["inference"]
    elif values.get("inference") == "auto":  # in a sweep, whose folders have the digest in their names
        values["inference"] = "fp32"
    devices = trainer.get("devices")
    if isinstance(devices, list):
        trainer["devices"] = len(devices)
    text = json.dumps(_without_prefix(values, output_prefix), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _without_prefix(node: Any, prefix: str) -> Any:
    if isinstance(node, dict):
        return {key: _without_prefix(value, prefix) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_prefix(value, prefix) for value in node]
    return node.removeprefix(prefix) if isinstance(node, str) else node


def register_resolvers() -> None:
    """Register ``${job_digest:}``, ``${parallel_jobs:}`` and ``${slurm_gpus:}`` with OmegaConf."""
    OmegaConf.register_new_resolver("job_digest", lambda *, _root_: digest(_root_), replace=True)
    OmegaConf.register_new_resolver("parallel_jobs", parallel_jobs, replace=True)
    OmegaConf.register_new_resolver("slurm_gpus", lambda *, _root_: slurm_gpus(_root_), replace=True)


register_resolvers()


@dataclass(frozen=True)
class Job:
    """A job of a sweep; its record names the sweep that started it last.

    Attributes:
        folder: Of the job's run.
        sweep: Time at which the sweep was started; sorts chronologically.
        number: Index among the sweep's jobs, from 0.
        overrides: Set by the command line and the sweep.
    """

    folder: RunFolder
    sweep: str
    number: int
    overrides: tuple[str, ...]

    @staticmethod
    def _file(folder: RunFolder) -> Path:
        return folder.root / "job.json"

    def write(self) -> None:
        """Write the record into the job's folder."""
        record = {"sweep": self.sweep, "number": self.number, "overrides": self.overrides}
        storage.write_json(self._file(self.folder), record, durable=True)

    @classmethod
    def read(cls, folder: RunFolder) -> "Job | None":
        """Read the record in a folder; None for a run that no sweep started. Control characters in it are escaped.

        Raises:
            DamagedFileError: The file is empty, cut, or no such record.
        """
        path = cls._file(folder)
        if not path.is_file():
            return None
        record = storage.read_json(path, dict, ("sweep", "number", "overrides"))
        try:
            overrides = tuple(printable(str(override)) for override in record["overrides"])
            return cls(folder, str(record["sweep"]), int(record["number"]), overrides)
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"{path} is damaged: expected a job's record, got {record}") from error


def latest_jobs(sweep_folder: Path) -> list[Job]:
    """The jobs begun by the latest sweep that was started in a folder, in sweep order; empty if there was none.

    The log names jobs with a damaged record, which are left out.
    """
    jobs = []
    for path in sorted(sweep_folder.glob("*/job.json")):
        try:
            job = Job.read(RunFolder(path.parent))
        except DamagedFileError as error:
            _log.warning("left out: %s. Start the sweep's command again to write a new one.", error)
            continue
        jobs += [job] if job is not None else []
    latest = max((job.sweep for job in jobs), default=None)
    return sorted((job for job in jobs if job.sweep == latest), key=lambda job: job.number)


def status(folder: RunFolder) -> Status:
    """State of a run; ``interrupted`` and ``failed`` runs resume when they are started again."""
    if folder.is_finished:
        return "finished"
    try:
        with locked(_lock(folder), timeout=0):
            pass
    except Timeout:
        return "running"
    except OSError:  # the folder is read-only, so nothing runs there
        pass
    return "failed" if folder.failure.is_file() else "interrupted"


def record_failure(job: Job, reason: str) -> None:
    """Write the reason of a failure into the folder of a job that could not do so itself.

    A job that finished before is only recorded as one of the sweep; a job that another process runs is left alone.
    """
    print(f"job {job.number} failed ({' '.join(job.overrides)}): {reason}", file=sys.stderr)
    state = status(job.folder)
    if state == "running":
        return
    job.folder.root.mkdir(parents=True, exist_ok=True)
    job.write()
    if state != "finished":
        storage.write_text(job.folder.failure, reason + "\n")


def _lock(folder: RunFolder) -> Path:
    return folder.root / ".lock"


@contextmanager
def held(folder: RunFolder, wait: bool) -> Iterator[None]:
    """Lock a run's folder against other processes, and remove files that killed ones left half written.

    Args:
        folder: Of a run.
        wait: Whether to wait for another process that holds the lock.

    Raises:
        ConfigError: Another process holds the lock, or the folder cannot be written to.
    """
    with ExitStack() as lock:
        try:
            lock.enter_context(locked(_lock(folder), timeout=-1 if wait else 0))
        except Timeout as error:
            raise ConfigError(
                f"Another process is running in {folder.root} (it holds {error.lock_file}). Wait until it has ended, "
                "or choose another folder."
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{folder.root} cannot be written to ({error.strerror}): choose another folder."
            ) from error
        storage.remove_parts(folder.root)
        yield


def trained(folder: RunFolder) -> bool:
    """Whether a folder has checkpoints of a training, or a result."""
    checkpoints = [*folder.root.glob("checkpoints/last*.ckpt"), *folder.root.glob("stages/*/checkpoints/last*.ckpt")]
    return folder.result.is_file() or any(path.is_file() for path in checkpoints)


def run(cfg: DictConfig) -> float | None:
    """Hydra's task function: run or resume a job.

    Args:
        cfg: The job's configuration.

    Returns:
        See :func:`saltext.runs.records.monitored`; None for a failed job of a sweep, so that the others continue.

    Raises:
        SaltextError: A single run cannot be trained. In a sweep, see its summary.
    """
    if _runs_beside_others():
        watch_front()
    hydra = HydraConfig.get()
    folder = RunFolder(Path(hydra.runtime.output_dir))
    if cfg.inference == "auto":  # jobs of a sweep are compared with each other, wherever they run
        cfg.inference = "bf16" if hydra.mode is RunMode.RUN and has_fast_bfloat16() else "fp32"
    if node_rank(nodes(cfg)):
        # The first machine decides and writes; any other starts processes if the run is not finished.
        if cfg.rerun or not folder.is_finished:
            start(folder, cfg, trust.recorded(cfg))
        return None
    if hydra.mode is not RunMode.RUN:
        callbacks: Any = hydra.callbacks
        return _run_in_sweep(cfg, Job(folder, callbacks.summary.started, hydra.job.num, tuple(hydra.overrides.task)))
    from saltext.runs.records import monitored  # imports pandas, which is needed at the end of a run only

    with held(folder, wait=False):
        try:
            if (recorded := _prepare_folder(cfg, folder)) is not None:
                run_alone(folder, cfg, recorded)
        except SaltextError:
            _remove_failed_start(folder)
            raise
    return monitored(folder)


def _remove_failed_start(folder: RunFolder) -> None:
    """Delete the folder of a run that failed before it had its data, unless it has other files."""
    first_files = (folder.config, folder.trust, folder.provenance, folder.log, _lock(folder))
    others = {path for path in folder.root.iterdir() if path.name != ".hydra"} - set(first_files)
    if not others:
        shutil.rmtree(folder.root / ".hydra", ignore_errors=True)
        for path in first_files:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.root.rmdir()


def _run_in_sweep(cfg: DictConfig, job: Job) -> float | None:
    """Run or resume a job of a sweep; a failure is recorded, not raised."""
    from saltext.runs.records import monitored

    folder = job.folder
    with held(folder, wait=True):
        job.write()
        reason = _run_and_explain_failure(cfg, folder)
        if reason:
            storage.write_text(folder.failure, reason + "\n")
            print(f"job {job.number} failed ({' '.join(job.overrides)}): {reason}; see {folder.log}", file=sys.stderr)
            return None
    return monitored(folder)


def _run_and_explain_failure(cfg: DictConfig, folder: RunFolder) -> str:
    """Run a job of a sweep; why it failed, empty if it did not."""
    log_size_before = folder.log.stat().st_size if folder.log.is_file() else 0
    try:
        recorded = _prepare_folder(cfg, folder)
        code = 0 if recorded is None else start(folder, cfg, recorded, in_sweep=True)
    except SaltextError as error:
        return f"error: {error}"
    except Exception as error:  # whatever it is, the sweep's other jobs continue
        with folder.log.open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())
        return f"{type(error).__name__}: {error}"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    if not code:
        return ""
    logged = folder.log.read_bytes()[log_size_before:].decode() if folder.log.is_file() else ""
    lines = [_TIME.sub("", line).strip() for line in logged.split("\n") if line.strip()]
    # The first error that a user can fix, else the last line. The other ranks' errors follow that of the failed one.
    last = lines[-1] if lines else "its log is empty"
    return f"status {code}, {next((line for line in lines if line.startswith('error: ')), last)}"


def _prepare_folder(cfg: DictConfig, folder: RunFolder) -> str | None:
    """Prepare a folder for starting a run, or for resuming it.

    Returns:
        The text of its config.yaml, or None where the run finished before.

    Raises:
        ConfigError: The folder holds a run of another configuration, or this one cannot run here.
    """
    folder.failure.unlink(missing_ok=True)
    preflight.check([cfg])
    if cfg.rerun:
        _delete_results(folder)
    elif trained(folder):
        _check_same(cfg, folder)
        if folder.is_finished:
            print(f"{folder.root} has finished and is not run again (rerun=true runs it again).")
            return None
        if damage := folder.damage():
            print(f"{damage}. The run continues without it.")
    return trust.write(cfg, folder)


def _check_same(cfg: DictConfig, folder: RunFolder) -> None:
    """Raise a ConfigError if a folder has a run of another configuration."""
    if folder.root.name.endswith(f"_{digest(cfg)}"):  # the name of a sweep's job has its digest
        return
    # Compared as recorded: values of the environment are left out of both.
    earlier, now = storage.read_text(folder.config), trust.recorded(cfg)
    earlier_digest = _digest_of_values(untrusted_yaml.mapping(earlier, folder.config))
    if earlier_digest != _digest_of_values(untrusted_yaml.mapping(now, folder.config)):
        raise ConfigError(
            f"{folder.root} holds a run of another configuration (its config.yaml). Choose another folder, or replace "
            "that run with rerun=true."
        )


def _delete_results(folder: RunFolder) -> None:
    """Delete the files of a run, except its log and the record of its starts."""
    folder.result.unlink(missing_ok=True)  # first, so that a half deleted run is not finished
    for name in _TRAINING_FOLDERS:
        shutil.rmtree(folder.root / name, ignore_errors=True)
    for path in (
        folder.finished_stage,
        folder.split,
        folder.scores,
        folder.epoch_scores,
        folder.text_ablation_scores,
        folder.text_ablation_table,
        folder.table,
        folder.picture,
        folder.wandb_id,
        folder.coverage,
        folder.report,
        folder.root / "rows.json",
    ):
        path.unlink(missing_ok=True)


def run_alone(folder: RunFolder, cfg: DictConfig, trusted: str | None) -> None:
    """Run a folder's configuration: in this process if it needs one, else in as many processes as it needs.

    Args:
        folder: The run's.
        cfg: Its configuration.
        trusted: See :func:`start`.

    Raises:
        SaltextError: An error that the user can fix, if it runs in this process.
        SystemExit: One of several processes failed, with its status.
    """
    if processes(cfg) * nodes(cfg) == 1:
        from saltext.runs.train import train_folder  # imports Lightning, which is not needed before

        train_folder(folder, None if trusted is None else trust.digest_of(trusted))
        return
    code = start(folder, cfg, trusted)
    if code < 0:
        name = signal.Signals(-code).name
        print(f"error: the run was ended by {name} (the system does that when memory is short)", file=sys.stderr)
        sys.exit(128 - code)
    if code:
        sys.exit(code)


def start(folder: RunFolder, cfg: DictConfig, trusted: str | None, in_sweep: bool = False) -> int:
    """Run a folder's configuration in separate processes; see :func:`saltext.runs.launch.launch`.

    Args:
        folder: The run's.
        cfg: Its configuration.
        trusted: The text of its config.yaml, whose own classes the processes may build and whose paths they follow;
            None where the folder is not trusted. They get its digest through the environment.
        in_sweep: Whether a sweep prints the results of its jobs, so that they do not.

    Returns:
        The exit status.
    """
    ranks = processes(cfg)
    shares_gpus = cfg.trainer.accelerator != "cpu" and _runs_beside_others()
    variables = {} if trusted is None else {trust.STARTED_WITH: trust.digest_of(trusted)}
    variables |= {IN_SWEEP: "1"} if in_sweep else {}
    with gpus_from_pool(ranks if shares_gpus else 0) as environment:
        return launch("saltext.runs.worker", [str(folder.root)], ranks, nodes(cfg), {**environment, **variables})


def _runs_beside_others() -> bool:
    """Whether other jobs of the sweep run on this machine at the same time."""
    launcher: Any = HydraConfig.get().launcher if HydraConfig.initialized() else {}
    return str(launcher.get("_target_")).rpartition(".")[2] in _SIDE_BY_SIDE


def latest_unfinished(output_dir: Path) -> RunFolder:
    """The newest run below a folder, of no sweep, that was interrupted or failed in training.

    Raises:
        ConfigError: There is none.
    """
    begun = [RunFolder(path.parent) for path in output_dir.rglob("split.json")]
    single = [folder for folder in begun if folder.config.is_file() and not (folder.root / "job.json").exists()]
    states = {folder: status(folder) for folder in single}
    unfinished = [folder for folder, state in states.items() if state in ("interrupted", "failed")]
    if not unfinished:
        counts = [f"{list(states.values()).count(state)} {state}" for state in dict.fromkeys(states.values())]
        raise ConfigError(
            f"resume=latest: expected a single run below {output_dir} that was interrupted, found "
            f"{', '.join(sorted(counts)) or 'no run'}. Name a folder (resume=DIR), add output_dir=DIR, or start the "
            "command of a sweep again to continue its jobs."
        )
    return max(unfinished, key=lambda folder: folder.config.stat().st_mtime)
