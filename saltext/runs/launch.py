"""Start the process or processes of one job, and make sure that they end with this one."""

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

_GRACE = 3.0  # seconds a worker gets to end; the user who pressed Ctrl-C waits for it
_LOOPBACK = "127.0.0.1"
_DEFAULT_PORT = "29500"
_RANK_VARIABLES = frozenset(
    ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
)


@contextmanager
def termination_raises() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that child processes end and temporary files are removed first."""

    def raise_exit(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, raise_exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end_session(process: "subprocess.Popen[bytes]", ranks: int) -> None:
    """End a process that leads a session; kill the session after a few seconds, or if interrupted meanwhile.

    Several ranks get no SIGTERM: they would wait for each other until the end of a step, and torchrun for them for half
    a minute. They end when the pipe is closed, and nothing is lost, since a run resumes from its last epoch.
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
    """Number of processes on this machine that a run's configuration asks for."""
    import torch  # takes seconds, which a command with wrong arguments need not spend

    devices = cfg.trainer.devices
    if isinstance(devices, int):
        return max(1, devices) if devices >= 0 else max(1, torch.cuda.device_count())
    if devices == "auto":
        return max(1, torch.cuda.device_count()) if cfg.trainer.accelerator != "cpu" else 1
    return len(devices)


def nodes(cfg: DictConfig) -> int:
    """Number of machines that a run's configuration asks for; configurations without the key have one."""
    return int(cfg.trainer.get("num_nodes", 1))


def check_world(cfg: DictConfig, working: int) -> None:
    """Make sure that as many processes work together as the configuration asks for.

    Args:
        cfg: A run's configuration.
        working: World size of the trainer.

    Raises:
        ConfigError: They are more or fewer, so that the run would train on other batches, or several times.
    """
    expected = processes(cfg) * nodes(cfg)
    started = int(os.environ.get("WORLD_SIZE", working))
    if expected != working or expected != started:
        raise ConfigError(
            f"trainer.devices={cfg.trainer.devices} on {nodes(cfg)} machine(s) asks for {expected} processes, but the "
            f"trainer works with {working}, and {started} were started. Start runs with python -m saltext.run, and "
            "choose a distributed strategy for several processes (trainer=ddp)."
        )


def node_rank(machines: int) -> int:
    """The rank of this machine among those of a job, from 0.

    Args:
        machines: See :func:`nodes`. A single machine has rank 0, whatever the environment says.
    """
    if machines == 1:
        return 0
    return int(os.environ.get("NODE_RANK") or os.environ.get("SLURM_NODEID") or 0)


def rendezvous(machines: int) -> tuple[str, str]:
    """Rendezvous of the processes of several machines: the first machine's address, and a port on it.

    Taken from ``MASTER_ADDR`` and ``MASTER_PORT`` (29500 if not set; with ``NODE_RANK``), else from SLURM's variables.

    Raises:
        ConfigError: The environment has neither, or another number of machines.
    """
    environment = os.environ
    if "MASTER_ADDR" in environment and "NODE_RANK" in environment:
        return environment["MASTER_ADDR"], environment.get("MASTER_PORT", _DEFAULT_PORT)
    if "SLURM_NODEID" not in environment:
        raise ConfigError(
            f"trainer.num_nodes={machines} needs to know its machines. Start the same command on each of them with "
            "MASTER_ADDR (the first one's), MASTER_PORT and NODE_RANK (from 0) in the environment, or once per node "
            "under SLURM (--ntasks-per-node=1); see conf/trainer/ddp.yaml."
        )
    if int(environment.get("SLURM_NNODES", machines)) != machines:
        raise ConfigError(
            f"Expected as many nodes from SLURM as trainer.num_nodes={machines}, got {environment['SLURM_NNODES']}."
        )
    # Imported here, since it takes a second; it parses SLURM's list of hosts.
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    slurm = SLURMEnvironment(auto_requeue=False)
    return slurm.main_address, str(slurm.main_port)


def _torchrun_arguments(ranks: int, machines: int) -> list[str]:
    """Arguments of Python that start a module in several ranks; empty for a single one."""
    if ranks * machines == 1:
        return []
    command = [*watched.COMMAND, "torch.distributed.run", f"--nproc_per_node={ranks}"]
    if machines == 1:
        # By default the ranks meet at this machine's name, which may not resolve.
        return [*command, "--standalone", f"--local-addr={_LOOPBACK}"]
    address, port = rendezvous(machines)
    index = [f"--nnodes={machines}", f"--node_rank={node_rank(machines)}"]
    return [*command, *index, f"--master_addr={address}", f"--master_port={port}"]


def launch(
    module: str,
    arguments: Sequence[str],
    ranks: int = 1,
    machines: int = 1,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a module of the package in a process, or in several ranks (torchrun), and wait for it.

    Interrupting or terminating this process ends them within seconds; so does killing it, since they watch the pipe
    (:mod:`saltext.system.watched`). The ranks of one machine meet at its loopback address.

    Args:
        module: Its dotted name.
        arguments: Its command line.
        ranks: Processes on this machine.
        machines: Number of machines that run the same command; see :func:`rendezvous`.
        environment: Variables for the processes besides this process's own.

    Returns:
        The exit status; not 0 if any process failed.
    """
    command = [sys.executable, *_torchrun_arguments(ranks, machines), *watched.COMMAND, module, *arguments]
    # Another launcher's rank variables do not apply to the processes started here.
    inherited = {key: value for key, value in os.environ.items() if key not in _RANK_VARIABLES}
    defaults = wanted()
    if ranks > 1:
        import torch  # seconds, where nothing has imported it yet

        defaults = {**defaults, "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // ranks))}
        loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
        if loopback and machines == 1:  # gloo would look for the interface by the machine's name
            defaults["GLOO_SOCKET_IFNAME"] = loopback[0]
    variables = {**defaults, **inherited, **(environment or {}), **watched.ENVIRONMENT}
    # Leaving the block closes the pipe, which ends ranks that torchrun has left running.
    with (
        termination_raises(),
        subprocess.Popen(command, stdin=subprocess.PIPE, env=variables, start_new_session=True) as process,
    ):
        try:
            return process.wait()
        except BaseException:
            _end_session(process, ranks)
            raise


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(number) for number in range(count)] if visible is None else visible.split(",")[:count]


def parallel_jobs() -> int:
    """Default number of jobs at once on this machine: one per GPU, two without GPUs."""
    import torch

    return torch.cuda.device_count() or 2


def slurm_gpus(cfg: DictConfig) -> int | None:
    """Number of GPUs per machine to request from SLURM: ``trainer.devices`` with ``trainer.accelerator=gpu``.

    None where the configuration names no number: ``auto`` and ``devices=-1`` take the available GPUs.
    """
    devices = cfg.trainer.devices
    if cfg.trainer.accelerator not in ("gpu", "cuda") or devices in ("auto", "-1", -1):
        return None
    return int(devices) if isinstance(devices, int | str) else len(devices)


@contextmanager
def gpus_from_pool(count: int, gpus: Sequence[str] | None = None) -> Iterator[dict[str, str]]:
    """Reserve GPUs for one of several jobs on this machine, waiting until enough are free.

    All jobs of this user on this machine share the pool. A job that needs more GPUs than there are reserves none.

    Args:
        count: Number of GPUs.
        gpus: Names of the GPUs to choose from; :func:`visible_gpus` by default.

    Yields:
        Variables for the job's processes; empty if it reserves none.

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
            while len(reserved := _lock_free_gpus(count, gpus, folder, held)) < count:
                held.close()  # all or none: two jobs that each hold some would wait for each other for ever
                time.sleep(1)
        except OSError as error:
            raise ConfigError(
                f"Jobs cannot share the GPUs: {error}. Set TMPDIR to a folder of your own, the same for all jobs."
            ) from error
        yield {"CUDA_VISIBLE_DEVICES": ",".join(reserved)}


def _lock_free_gpus(count: int, gpus: Sequence[str], folder: Path, held: ExitStack) -> list[str]:
    """Lock up to ``count`` free GPUs, in their order; ``held`` keeps the locks."""
    reserved: list[str] = []
    for gpu in gpus:
        if len(reserved) == count:
            break
        try:
            held.enter_context(locked(folder / f"{gpu}.lock", timeout=0))
            reserved.append(gpu)
        except Timeout:
            continue
    return reserved
