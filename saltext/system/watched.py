"""Run a module as a process that ends with the one that started it.

``python -m saltext.system.watched MODULE [ARGUMENTS]``
What is started here imports for many seconds before its own first line; it is watched from the beginning instead.
Nothing but the standard library is imported before that.
"""

import multiprocessing
import os
import runpy
import select
import sys
import threading
import time

_MARK = "SALTEXT_PARENT_WATCHED"
_FRONT = "SALTEXT_FRONT"
_THREAD = "saltext-front"
_PAUSE = 0.5  # seconds between looks for a process, on systems that cannot wait for one

COMMAND = ("-m", "saltext.system.watched")
"""What stands between the interpreter and the name of a module to watch."""

ENVIRONMENT = {_MARK: "1"}
"""For the environment of a process whose standard input is a pipe that its parent holds."""


def is_launched() -> bool:
    """Whether this process was started to be watched, by :func:`saltext.runs.launch.launch`."""
    return bool(os.environ.get(_MARK))


def watch_parent() -> None:
    """End this process as soon as the one that launched it is gone, however it went: the pipe between them ends."""
    if not is_launched():
        return

    def wait_for_end_of_pipe() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait_for_end_of_pipe, daemon=True).start()


def watch_parent_process() -> None:
    """In a process of ``multiprocessing``: end it as soon as its parent is gone, also while it computes or waits."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_for_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()


def announce_front() -> None:
    """Say to the processes that this command will start, by whatever ways, that they belong to it."""
    os.environ[_FRONT] = str(os.getpid())


def watch_front() -> None:
    """End this process, of a launcher on the same machine, as soon as the command that began it is gone.

    The processes of a launcher (joblib's, submitit's) outlive a command that is killed, and hold the pipes of what they
    started. Those end with them. Nothing happens in the command itself.
    """
    front = int(os.environ.get(_FRONT) or 0)
    known = any(thread.name == _THREAD for thread in threading.enumerate())  # a launcher's process does several jobs
    if front in (0, os.getpid()) or known:
        return

    def wait_for_front() -> None:
        _wait_for_end(front)
        os._exit(1)

    threading.Thread(target=wait_for_front, name=_THREAD, daemon=True).start()


def _wait_for_end(process: int) -> None:
    """Wait until a process has ended, also if nobody asked for its status yet."""
    try:
        if hasattr(os, "pidfd_open"):
            select.select([os.pidfd_open(process)], [], [])
        else:
            while True:
                os.kill(process, 0)
                time.sleep(_PAUSE)
    except ProcessLookupError:
        return


def main() -> None:
    """Entry point; see the module's help."""
    watch_parent()
    # `-m` put the working directory first on the path; the module's own start would do the same.
    module, *sys.argv = [sys.argv[1], *sys.argv[1:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
