"""Start the process, or processes, of one job, and leave none behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import torch
from omegaconf import DictConfig

_GRACE = 30.0  # seconds a worker gets to end after it was asked to
_WATCHED = "SALTEXT_PARENT_WATCHED"
_RANKS = frozenset(
    ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
)

# glibc gives blocks of 32 MiB and more back to the system at once and pays for fresh pages at the next one; activations
# on a CPU are such blocks.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}


@contextmanager
def _termination_raises() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that the worker is ended before this process is."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def processes(cfg: DictConfig) -> int:
    """How many processes of this machine a run's configuration asks for."""
    devices = cfg.trainer.devices
    if isinstance(devices, int):
        return max(1, devices) if devices >= 0 else max(1, torch.cuda.device_count())
    if devices == "auto":
        return max(1, torch.cuda.device_count()) if cfg.trainer.accelerator != "cpu" else 1
    return len(devices)


def launch(module: str, arguments: Sequence[str], ranks: int = 1) -> int:
    """Run a module of the suite as a process, or as several that work together (torchrun), and wait for it.

    Interrupting or terminating this process ends them; so does killing it, since they watch the pipe.

    Args:
        module: Its dotted name.
        arguments: Its command line.
        ranks: Processes on this machine.

    Returns:
        The exit status; not 0 if any process failed.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *torchrun, "-m", module, *arguments]
    # What another launcher left in the environment is not about the processes started here.
    inherited = {key: value for key, value in os.environ.items() if key not in _RANKS}
    environment = {**KEEP_MEMORY, **inherited, _WATCHED: "1"}
    with _termination_raises():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
        try:
            return process.wait()
        except BaseException:
            _end(process)
            raise


def is_launched() -> bool:
    """Whether this process was started by :func:`launch`."""
    return bool(os.environ.get(_WATCHED))


def is_first() -> bool:
    """Whether this process is the one of its job that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def watch_parent() -> None:
    """In a worker: end as soon as the process that launched it is gone, however it went."""
    if not is_launched():
        return

    def wait_for_end_of_pipe() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait_for_end_of_pipe, daemon=True).start()
