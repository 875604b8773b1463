"""Start a worker process for one job, and leave none behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from saltext.run_folder import RunFolder

_GRACE = 30.0  # seconds a worker gets to end after it was asked to
_WATCHED = "SALTEXT_PARENT_WATCHED"

# glibc gives blocks of 32 MiB and more back to the system at once and pays for fresh pages at the next one; activations
# on a CPU are such blocks.
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}


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


def launch(folder: RunFolder) -> int:
    """Run the worker on a prepared folder and wait for it.

    Interrupting or terminating this process ends the worker; so does killing it, since the worker watches the pipe.

    Returns:
        The worker's exit status.
    """
    command = [sys.executable, "-m", "saltext.worker", str(folder.root)]
    environment = {**_KEEP_MEMORY, **os.environ, _WATCHED: "1"}
    with _termination_raises():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
        try:
            return process.wait()
        except BaseException:
            _end(process)
            raise


def watch_parent() -> None:
    """In a worker: end as soon as the process that launched it is gone, however it went."""
    if not os.environ.get(_WATCHED):
        return

    def wait_for_end_of_pipe() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait_for_end_of_pipe, daemon=True).start()
