"""A SLURM cluster of this machine alone: ``python -m tests.cluster.one_node COMMAND ...`` runs a command on it.

munge, slurmctld and slurmd are started with a configuration of their own in a temporary folder, without accounting,
cgroups or systemd, and ended with their jobs afterwards. On Debian: ``apt-get install --no-install-recommends slurm-wlm
munge``; they need root.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun", "scancel", "scontrol")
_PATIENCE = 30.0  # seconds until a daemon must answer, or has ended
# cons_tres gives a job the CPUs it asks for; the node has more than this machine, so that jobs run side by side.
_CONFIGURATION = """
ClusterName=onenode
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={node}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=5
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class ClusterError(RuntimeError):
    """The cluster cannot be started here; the text says why."""


def missing() -> str:
    """Why this machine cannot be a cluster, in a line; empty where it can try."""
    absent = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if absent:
        return f"SLURM is not installed: {', '.join(absent)} not found"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """The cluster, for as long as the block lasts.

    Yields:
        Variables with which SLURM's commands find it.

    Raises:
        ClusterError: It does not start; with the end of what the daemon said.
    """
    if missing():
        raise ClusterError(missing())
    folder = Path(tempfile.mkdtemp(prefix="onenode-"))
    environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
    with ExitStack() as started:
        started.callback(shutil.rmtree, folder, ignore_errors=True)
        _configure(folder)
        places = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed",
                  "log-file": "munged.log"}  # fmt: skip
        munge = ["munged", "--foreground", "--force", *(f"--{key}={folder}/{name}" for key, name in places.items())]
        started.enter_context(_daemon(munge, folder, environment, ready=(folder / "munge.socket").exists))
        controller = ["slurmctld", "-D", "-i"]
        started.enter_context(_daemon(controller, folder, environment, ready=lambda: _answers(environment)))
        started.callback(_cancel_all, environment)
        node = ["slurmd", "-D", "-N", socket.gethostname()]
        started.enter_context(_daemon(node, folder, environment, ready=lambda: _is_idle(environment)))
        yield environment


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _configure(folder: Path) -> None:
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    folder.chmod(0o755)  # munge refuses a socket that others cannot reach
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    given = {"host": socket.gethostname(), "folder": folder, "controller": ports[0], "node": ports[1]}
    (folder / "slurm.conf").write_text(_CONFIGURATION.format(**given))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")


def _said(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=_PATIENCE)
    return done.stdout if done.returncode == 0 else ""


def _answers(environment: dict[str, str]) -> bool:
    return "is UP" in _said(environment, "scontrol", "ping")


def _is_idle(environment: dict[str, str]) -> bool:
    return _said(environment, "sinfo", "--noheader", "--format=%T").strip() == "idle"


def _cancel_all(environment: dict[str, str]) -> None:
    """End all jobs, and wait until none is left whose processes would outlive slurmd."""
    _said(environment, "scancel", "--user=root", "--full")
    deadline = time.monotonic() + _PATIENCE
    while _said(environment, "squeue", "--noheader") and time.monotonic() < deadline:
        time.sleep(0.2)


@contextmanager
def _daemon(command: list[str], folder: Path, environment: dict[str, str], ready: Callable[[], bool]) -> Iterator[None]:
    name = command[0]
    with (folder / f"{name}.said").open("wb") as said:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + _PATIENCE
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    logs = [folder / f"{name}.said", folder / f"{name}.log"]
                    lines = [
                        line for log in logs if log.exists() for line in log.read_text(errors="replace").split("\n")
                    ]
                    raise ClusterError(f"{name} does not start: {' / '.join([line for line in lines if line][-4:])}")
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main() -> None:
    """Entry point; see the module's help."""
    with running() as environment:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, **environment}).returncode)


if __name__ == "__main__":
    main()
