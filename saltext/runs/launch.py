"""Start the process, or processes, of one job, and leave none behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from filelock import Timeout
from omegaconf import DictConfig

from saltext.errors import ConfigError
from saltext.system import watched
from saltext.system.environment import wanted
from saltext.system.home import own_folder
from saltext.system.locks import locked

_GRACE = 3.0  # seconds a worker gets to end after it was asked to: whoever presses Ctrl-C waits for it
_LOOPBACK = "127.0.0.1"
_DEFAULT_PORT = "29500"
_RANKS = frozenset(
    ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
)


@contextmanager
def termination_raises() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that what this process started or wrote is ended or removed before it is."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end(process: "subprocess.Popen[bytes]", ranks: int) -> None:
    """End a process that leads a session, or at once if nobody has the patience for it.

    Several ranks are not asked: they would wait for each other until the end of a step, and torchrun for them for half
    a minute. They end with the pipe, and nothing is lost by it, since a run goes on from its last epoch.
    """
    if ranks > 1 and process.stdin is not None:
        process.stdin.close()
    else:
        process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def processes(cfg: DictConfig) -> int:
    """How many processes of this machine a run's configuration asks for."""
    import torch  # takes seconds, which a command that refuses its arguments need not take

    devices = cfg.trainer.devices
    if isinstance(devices, int):
        return max(1, devices) if devices >= 0 else max(1, torch.cuda.device_count())
    if devices == "auto":
        return max(1, torch.cuda.device_count()) if cfg.trainer.accelerator != "cpu" else 1
    return len(devices)


def nodes(cfg: DictConfig) -> int:
    """How many machines a run's configuration asks for; runs from before that could be chosen have one."""
    return int(cfg.trainer.get("num_nodes", 1))


def check_world(cfg: DictConfig, working: int) -> None:
    """Make sure that as many processes work together as the configuration asks for.

    Args:
        cfg: A run's configuration.
        working: Processes the trainer works with.

    Raises:
        ConfigError: They are more or fewer, so that the run would train on other batches, or several times.
    """
    asked = processes(cfg) * nodes(cfg)
    started = int(os.environ.get("WORLD_SIZE", working))
    if asked != working or asked != started:
        raise ConfigError(
            f"trainer.devices={cfg.trainer.devices} on {nodes(cfg)} machine(s) asks for {asked} processes, but the "
            f"trainer works with {working}, and {started} were started. Start runs with python -m saltext.run, and "
            "give several processes a strategy that works together (trainer=ddp)."
        )


def node_rank(machines: int) -> int:
    """The rank of this machine among those of a job, from 0.

    Args:
        machines: See :func:`nodes`. One machine is the first, whatever the environment says.
    """
    if machines == 1:
        return 0
    return int(os.environ.get("NODE_RANK") or os.environ.get("SLURM_NODEID") or 0)


def rendezvous(machines: int) -> tuple[str, str]:
    """Where the processes of several machines meet: the first machine's address, and a port on it.

    Taken from ``MASTER_ADDR`` and ``MASTER_PORT`` (29500 if not set; with ``NODE_RANK``), else from what SLURM tells
    its tasks.

    Raises:
        ConfigError: The environment does not say, or says another number of machines.
    """
    given = os.environ
    if "MASTER_ADDR" in given and "NODE_RANK" in given:
        return given["MASTER_ADDR"], given.get("MASTER_PORT", _DEFAULT_PORT)
    if "SLURM_NODEID" not in given:
        raise ConfigError(
            f"trainer.num_nodes={machines} needs to know its machines. Start the same command on each of them with "
            "MASTER_ADDR (the first one's), MASTER_PORT and NODE_RANK (from 0) in the environment, or once a node "
            "under SLURM (--ntasks-per-node=1); see conf/trainer/ddp.yaml."
        )
    if int(given.get("SLURM_NNODES", machines)) != machines:
        raise ConfigError(
            f"trainer.num_nodes={machines}, but SLURM gave this job {given['SLURM_NNODES']} nodes. Make them the same."
        )
    # Lightning takes a second to import, and knows SLURM's ways of writing a list of hosts.
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    slurm = SLURMEnvironment(auto_requeue=False)
    return slurm.main_address, str(slurm.main_port)


def _torchrun(ranks: int, machines: int) -> list[str]:
    if ranks * machines == 1:
        return []
    command = [*watched.COMMAND, "torch.distributed.run", f"--nproc_per_node={ranks}"]
    if machines == 1:
        # Otherwise the ranks are told to meet at this machine's name, which perhaps nobody can resolve.
        return [*command, "--standalone", f"--local-addr={_LOOPBACK}"]
    address, port = rendezvous(machines)
    index = [f"--nnodes={machines}", f"--node_rank={node_rank(machines)}"]
    return [*command, *index, f"--master_addr={address}", f"--master_port={port}"]


def _meeting(ranks: int, machines: int) -> dict[str, str]:
    """Variables for ranks of this machine alone: gloo would look for the interface by the machine's name."""
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    return {"GLOO_SOCKET_IFNAME": loopback[0]} if loopback and ranks > 1 and machines == 1 else {}


def launch(
    module: str,
    arguments: Sequence[str],
    ranks: int = 1,
    machines: int = 1,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a module of the suite as a process, or as several that work together (torchrun), and wait for it.

    Interrupting or terminating this process ends them, within seconds; so does killing it, since they watch the pipe
    (:mod:`saltext.system.watched`). The ranks of one machine meet at its loopback address, whatever it is called.

    Args:
        module: Its dotted name.
        arguments: Its command line.
        ranks: Processes on this machine.
        machines: Machines that do the same; see :func:`rendezvous`.
        environment: Variables for the processes besides this process's own.

    Returns:
        The exit status; not 0 if any process failed.
    """
    import torch

    command = [sys.executable, *_torchrun(ranks, machines), *watched.COMMAND, module, *arguments]
    # What another launcher left in the environment is not about the processes started here.
    inherited = {key: value for key, value in os.environ.items() if key not in _RANKS}
    threads = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // ranks))} if ranks > 1 else {}
    defaults = {**wanted(), **threads, **_meeting(ranks, machines)}
    given = {**defaults, **inherited, **(environment or {}), **watched.ENVIRONMENT}
    # Leaving the block closes the pipe, which ends ranks that torchrun left behind.
    with (
        termination_raises(),
        subprocess.Popen(command, stdin=subprocess.PIPE, env=given, start_new_session=True) as process,
    ):
        try:
            return process.wait()
        except BaseException:
            _end(process, ranks)
            raise


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(number) for number in range(count)] if named is None else named.split(",")[:count]


def parallel_jobs() -> int:
    """How many jobs run side by side on this machine unless told otherwise: one a GPU, two without GPUs."""
    import torch

    return torch.cuda.device_count() or 2


def slurm_gpus(cfg: DictConfig) -> int | None:
    """How many GPUs a machine a run asks SLURM for: ``trainer.devices`` with ``trainer.accelerator=gpu``.

    None where the configuration does not say: ``auto`` takes what is there, as does a number of devices left open.
    """
    devices = cfg.trainer.devices
    if cfg.trainer.accelerator not in ("gpu", "cuda") or devices in ("auto", "-1", -1):
        return None
    return int(devices) if isinstance(devices, int | str) else len(devices)


@contextmanager
def gpus_from_pool(count: int, gpus: Sequence[str] | None = None) -> Iterator[dict[str, str]]:
    """Keep GPUs for one job while others run beside it, and wait until enough are free.

    The pool is shared by all jobs of this user on this machine that ask it. A job that wants more GPUs than there are
    takes none from it.

    Args:
        count: How many.
        gpus: Names of those to choose from; :func:`visible_gpus` by default.

    Yields:
        Variables for the job's processes; empty where there is nothing to share.

    Raises:
        ConfigError: The pool's folder, among temporary files, cannot be written to.
    """
    gpus = visible_gpus() if gpus is None else gpus
    if not 0 < count <= len(gpus):
        yield {}
        return
    with ExitStack() as held:
        try:
            folder = own_folder("gpus")
            while len(mine := _take(count, gpus, folder, held)) < count:
                held.close()  # all or none: two jobs that wait for each other's would wait for ever
                time.sleep(1)
        except OSError as error:
            raise ConfigError(
                f"GPUs cannot be shared out among jobs: {error}. Set TMPDIR to a folder of your own, the same for all "
                "jobs."
            ) from error
        yield {"CUDA_VISIBLE_DEVICES": ",".join(mine)}


def _take(count: int, gpus: Sequence[str], folder: Path, held: ExitStack) -> list[str]:
    mine: list[str] = []
    for gpu in gpus:
        if len(mine) == count:
            break
        try:
            held.enter_context(locked(folder / f"{gpu}.lock", timeout=0))
            mine.append(gpu)
        except Timeout:
            continue
    return mine
