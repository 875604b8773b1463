"""One job as Hydra starts it: where it runs, whether it ran before, and what became of it.

A job is known by the digest of its resolved configuration, which is part of its folder's name in a sweep. The same
command started again therefore finds its jobs: what is finished is left alone, the rest goes on from its checkpoint.
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
from saltext.errors import ConfigError, DamagedFileError, SaltextError
from saltext.runs import preflight, trust
from saltext.runs.launch import gpus_from_pool, launch, node_rank, nodes, parallel_jobs, processes, slurm_gpus
from saltext.system.environment import IN_SWEEP
from saltext.system.locks import locked
from saltext.system.run_folder import RunFolder
from saltext.system.watched import watch_front

_log = logging.getLogger(__name__)

Status = Literal["finished", "failed", "running", "interrupted"]

# Where files are, what is shown meanwhile, and how many help to load: the scores are the same.
_WITHOUT_EFFECT = ("hydra", "output_dir", "name", "rerun", "logger", "data.cache_dir", "data.num_workers")
_DIGITS = 8
_TIME = re.compile(r"^[\d-]{10} [\d:]{8} ")  # with which a line of the log begins
# Launchers that start jobs beside each other on this machine; SLURM shares GPUs out by itself.
_SIDE_BY_SIDE = frozenset(("JoblibLauncher", "LocalLauncher"))
_OF_A_TRAINING = ("checkpoints", "stages", "metrics", "evaluation")


def digest(cfg: DictConfig) -> str:
    """Eight hexadecimal digits that stand for everything in a configuration that can change a result.

    Left out are the study's name, where files are (of paths below ``output_dir``, that part), loggers, loader
    processes, and which devices are named: their number stays, since each process takes batches of its own.

    Args:
        cfg: A run's configuration, composed or read back from its folder.
    """
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return _digits(OmegaConf.to_container(own, resolve=True))


def _digits(values: Any) -> str:
    below = f"{values.get('output_dir')}/"
    for name in _WITHOUT_EFFECT:
        *groups, key = name.split(".")
        node = values
        for group in groups:
            node = node.get(group, {})
        node.pop(key, None)
    if values.get("trainer", {}).get("deterministic") is False:
        del values["trainer"]["deterministic"]  # runs from before the key was there did the same without it
    devices = values.get("trainer", {}).get("devices")
    if isinstance(devices, list):
        values["trainer"]["devices"] = len(devices)
    text = json.dumps(_without_prefix(values, below), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _without_prefix(node: Any, prefix: str) -> Any:
    if isinstance(node, dict):
        return {key: _without_prefix(value, prefix) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_prefix(value, prefix) for value in node]
    return node.removeprefix(prefix) if isinstance(node, str) else node


def register_resolvers() -> None:
    """Make ``${job_digest:}``, ``${parallel_jobs:}`` and ``${slurm_gpus:}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("job_digest", lambda *, _root_: digest(_root_), replace=True)
    OmegaConf.register_new_resolver("parallel_jobs", parallel_jobs, replace=True)
    OmegaConf.register_new_resolver("slurm_gpus", lambda *, _root_: slurm_gpus(_root_), replace=True)


register_resolvers()


@dataclass(frozen=True)
class Job:
    """A job's number in the sweep that started it last.

    Attributes:
        folder: Where it runs.
        sweep: When the sweep was started; sorts by time.
        number: Its index among the sweep's jobs, from 0.
        overrides: What the command line and the sweep set.
    """

    folder: RunFolder
    sweep: str
    number: int
    overrides: tuple[str, ...]

    @staticmethod
    def _file(folder: RunFolder) -> Path:
        return folder.root / "job.json"

    def write(self) -> None:
        """Record it in its folder."""
        record = {"sweep": self.sweep, "number": self.number, "overrides": self.overrides}
        storage.write_json(self._file(self.folder), record, durable=True)

    @classmethod
    def read(cls, folder: RunFolder) -> "Job | None":
        """The record in a folder; None for a run that no sweep started.

        Raises:
            DamagedFileError: It is empty, cut, or no such record.
        """
        path = cls._file(folder)
        if not path.is_file():
            return None
        record = storage.read_json(path, dict, ("sweep", "number", "overrides"))
        try:
            return cls(folder, str(record["sweep"]), int(record["number"]), tuple(map(str, record["overrides"])))
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"{path} is damaged: expected a job's record, got {record}") from error


def latest_jobs(sweep_folder: Path) -> list[Job]:
    """The jobs that the latest sweep started in a folder has begun, in sweep order; empty if there was none.

    A job whose record is damaged is named in the log and left out.
    """
    found = []
    for path in sorted(sweep_folder.glob("*/job.json")):
        try:
            job = Job.read(RunFolder(path.parent))
        except DamagedFileError as error:
            _log.warning("left out: %s. Starting the sweep's command again writes it anew.", error)
            continue
        found += [job] if job is not None else []
    latest = max((job.sweep for job in found), default=None)
    return sorted((job for job in found if job.sweep == latest), key=lambda job: job.number)


def status(folder: RunFolder) -> Status:
    """How far a run is; ``interrupted`` runs go on when they are started again, and so do failed ones."""
    if folder.is_finished:
        return "finished"
    try:
        with locked(_lock(folder), timeout=0):
            pass
    except Timeout:
        return "running"
    except OSError:  # a folder that cannot be written to: nothing runs there
        pass
    return "failed" if folder.failure.is_file() else "interrupted"


def record_failure(job: Job, reason: str) -> None:
    """Leave in a job's folder why it failed, for a job that could not do so itself.

    One that finished before is recorded as a job of its sweep; one that another process runs is left to it.
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
    """Keep other processes from running in a folder, and remove what killed ones were writing there.

    Args:
        folder: Of a run.
        wait: Whether to wait for another process that has it.

    Raises:
        ConfigError: Another process has it, or the folder cannot be written to.
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
    """Whether a folder holds what a training or a scoring left there."""
    checkpoints = [*folder.root.glob("checkpoints/last*.ckpt"), *folder.root.glob("stages/*/checkpoints/last*.ckpt")]
    return folder.result.is_file() or any(path.is_file() for path in checkpoints)


def run(cfg: DictConfig) -> float | None:
    """Hydra's task function: run a job, or what is left of it.

    Args:
        cfg: The job's configuration.

    Returns:
        See :func:`monitored`; None for a failed job of a sweep, so that the others go on.

    Raises:
        SaltextError: A single run cannot be trained. In a sweep, see its summary.
    """
    if _beside_others():
        watch_front()
    hydra = HydraConfig.get()
    folder = RunFolder(Path(hydra.runtime.output_dir))
    if node_rank(nodes(cfg)):
        _assist(cfg, folder)
        return None
    if hydra.mode is RunMode.RUN:
        return _single(cfg, folder)
    callbacks: Any = hydra.callbacks
    job = Job(folder, callbacks.summary.started, hydra.job.num, tuple(hydra.overrides.task))
    return _of_sweep(cfg, job)


def _assist(cfg: DictConfig, folder: RunFolder) -> None:
    """On another machine than the first, which decides and writes: lend it processes if it is going to run."""
    if cfg.rerun or not folder.is_finished:
        start(folder, cfg, trust.recorded(cfg))


def _single(cfg: DictConfig, folder: RunFolder) -> float | None:
    from saltext.runs.records import monitored  # pandas, which nothing before the end of a run needs

    with held(folder, wait=False):
        try:
            if (recorded := _prepared(cfg, folder)) is not None:
                run_alone(folder, cfg, recorded)
        except SaltextError:
            _remove_failed_start(folder)
            raise
    return monitored(folder)


def _remove_failed_start(folder: RunFolder) -> None:
    """Leave nothing of a run that failed before it had its data, and nothing else was in its folder."""
    ours = (folder.config, folder.trust, folder.provenance, folder.log, _lock(folder))
    left = {path for path in folder.root.iterdir() if path.name != ".hydra"} - set(ours)
    if not left:
        shutil.rmtree(folder.root / ".hydra", ignore_errors=True)
        for path in ours:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.root.rmdir()


def _of_sweep(cfg: DictConfig, job: Job) -> float | None:
    from saltext.runs.records import monitored

    folder = job.folder
    with held(folder, wait=True):
        job.write()
        reason = _reason(cfg, folder)
        if reason:
            storage.write_text(folder.failure, reason + "\n")
            print(f"job {job.number} failed ({' '.join(job.overrides)}): {reason}; see {folder.log}", file=sys.stderr)
            return None
    return monitored(folder)


def _reason(cfg: DictConfig, folder: RunFolder) -> str:
    """Run a job of a sweep and say why it failed; empty if it did not."""
    said_before = folder.log.stat().st_size if folder.log.is_file() else 0
    try:
        recorded = _prepared(cfg, folder)
        code = 0 if recorded is None else start(folder, cfg, recorded, in_sweep=True)
    except SaltextError as error:
        return f"error: {error}"
    except Exception as error:  # whatever it is, the sweep's other jobs are not concerned
        with folder.log.open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())
        return f"{type(error).__name__}: {error}"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    said = folder.log.read_bytes()[said_before:].decode() if folder.log.is_file() else ""
    return f"status {code}, {_most_telling_line(said)}" if code else ""


def _most_telling_line(said: str) -> str:
    """The line of a failed run's log that says most: the first error a user can fix, or the last line."""
    lines = [_TIME.sub("", line).strip() for line in said.split("\n") if line.strip()]
    # The other ranks' complaints come after the one's that failed.
    return next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "no word in its log")


def _prepared(cfg: DictConfig, folder: RunFolder) -> str | None:
    """Make a folder ready for a run, or for what is left of one.

    Returns:
        The text of its config.yaml, or None where the run finished before.

    Raises:
        ConfigError: The folder holds a run of another configuration, or this one cannot run here.
    """
    folder.failure.unlink(missing_ok=True)
    preflight.check([cfg])
    if cfg.rerun:
        _forget(folder)
    elif trained(folder):
        _check_same(cfg, folder)
        if folder.is_finished:
            print(f"{folder.root} finished before and is not run again (rerun=true does).")
            return None
        if damage := folder.damage():
            print(f"{damage}. The run goes on from what is left.")
    return trust.write(cfg, folder)


def _check_same(cfg: DictConfig, folder: RunFolder) -> None:
    # The folder of a sweep's job has the digest in its name, and needs no other record of it.
    if folder.root.name.endswith(f"_{digest(cfg)}"):
        return
    # As recorded: neither is told what the environment says.
    earlier, now = trust.read_text(folder.config), trust.recorded(cfg)
    if _digits(trust.mapping(earlier, folder.config)) != _digits(trust.mapping(now, folder.config)):
        raise ConfigError(
            f"{folder.root} holds a run of another configuration (its config.yaml). Choose another folder, or replace "
            "that run with rerun=true."
        )


def _forget(folder: RunFolder) -> None:
    """Delete what a run left, but its log and the record of its starts."""
    folder.result.unlink(missing_ok=True)  # first: what is half deleted is not finished
    for name in _OF_A_TRAINING:
        shutil.rmtree(folder.root / name, ignore_errors=True)
    for path in (
        folder.finished_stage,
        folder.split,
        folder.scores,
        folder.text_effect_scores,
        folder.text_effect_table,
        folder.table,
        folder.picture,
        folder.wandb_id,
        folder.coverage,
        folder.report,
        folder.root / "rows.json",
    ):
        path.unlink(missing_ok=True)


def run_alone(folder: RunFolder, cfg: DictConfig, trusted: str | None) -> None:
    """Run a folder's configuration: here if it asks for one process, or in the processes it asks for.

    Args:
        folder: The run's.
        cfg: Its configuration.
        trusted: See :func:`start`.

    Raises:
        SaltextError: Something a user can fix, if it runs here.
        SystemExit: One of several processes failed, with its status.
    """
    if processes(cfg) * nodes(cfg) == 1:
        from saltext.runs.train import train_folder  # brings Lightning, which nothing before it needs

        train_folder(folder, None if trusted is None else trust.digest_of(trusted))
        return
    code = start(folder, cfg, trusted)
    if code < 0:
        name = signal.Signals(-code).name
        print(f"error: the run was ended by {name} (the system does that where memory is short)", file=sys.stderr)
        sys.exit(128 - code)
    if code:
        sys.exit(code)


def start(folder: RunFolder, cfg: DictConfig, trusted: str | None, in_sweep: bool = False) -> int:
    """Run a folder's configuration in processes of its own; see :func:`saltext.runs.launch.launch`.

    Args:
        folder: The run's.
        cfg: Its configuration.
        trusted: The text of its config.yaml, whose own classes the processes may build and whose paths they follow;
            None where the folder is not trusted. Told to them outside the folder.
        in_sweep: Whether a sweep shows what its jobs found, so that they need not.

    Returns:
        The exit status.
    """
    ranks = processes(cfg)
    shared = cfg.trainer.accelerator != "cpu" and _beside_others()
    told = {} if trusted is None else {trust.STARTED_WITH: trust.digest_of(trusted)}
    told |= {IN_SWEEP: "1"} if in_sweep else {}
    with gpus_from_pool(ranks if shared else 0) as environment:
        return launch("saltext.runs.worker", [str(folder.root)], ranks, nodes(cfg), {**environment, **told})


def _beside_others() -> bool:
    launcher: Any = HydraConfig.get().launcher if HydraConfig.initialized() else {}
    return str(launcher.get("_target_")).rpartition(".")[2] in _SIDE_BY_SIDE


def latest_unfinished(output_dir: Path) -> RunFolder:
    """The newest single run below a folder that was interrupted or failed in training.

    Raises:
        ConfigError: There is none.
    """
    begun = [RunFolder(path.parent) for path in output_dir.rglob("split.json")]
    single = [folder for folder in begun if folder.config.is_file() and not (folder.root / "job.json").exists()]
    states = {folder: status(folder) for folder in single}
    waiting = [folder for folder, state in states.items() if state in ("interrupted", "failed")]
    if not waiting:
        found = [f"{list(states.values()).count(state)} {state}" for state in dict.fromkeys(states.values())]
        raise ConfigError(
            f"resume=latest: expected a single run below {output_dir} that was interrupted, found "
            f"{', '.join(sorted(found)) or 'no run'}. Name a folder (resume=DIR), say output_dir=DIR besides, or start "
            "the command of a sweep again to continue its jobs."
        )
    return max(waiting, key=lambda folder: folder.config.stat().st_mtime)
