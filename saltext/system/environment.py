"""What has to be in the environment of a process before Python and its libraries load.

Nothing but the standard library is imported here, since libraries read these variables when they load.
"""

import ctypes
import os
import sys

# glibc gives blocks of 32 MiB and more back to the system at once and pays for fresh pages at the next one; activations
# on a CPU are such blocks.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}

# GNU OpenMP's threads spin for ever by default: one other process on a core makes small steps seven times as slow.
# TranBlend at 192x256 on two cores beside one busy process: 31 % of idle speed with 10000, 53 % with 1000, which costs
# 4 % on idle cores.
SPIN_BRIEFLY = {"GOMP_SPINCOUNT": "1000"}

_MALLOPT = {"MALLOC_MMAP_MAX_": -4, "MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_TOP_PAD_": -2}  # of glibc's malloc.h

IN_SWEEP = "SALTEXT_IN_SWEEP"
"""Variable that a sweep sets for its jobs."""

_RESTARTED = "SALTEXT_RESTARTED"
# For this process alone: what it starts may have to start again.
_IS_RESTARTED = os.environ.pop(_RESTARTED, None) is not None
_DEBUGGERS = ("pdb", "bdb", "pydevd", "debugpy", "ipdb")


def wanted() -> dict[str, str]:
    """Variables that make training faster, without those that the user has set.

    >>> "GOMP_SPINCOUNT" in wanted() or "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ
    True
    """
    spin = {} if "OMP_WAIT_POLICY" in os.environ else SPIN_BRIEFLY
    return {name: value for name, value in {**KEEP_MEMORY, **spin}.items() if name not in os.environ}


def spin_briefly() -> None:
    """Let threads spin briefly in this process, unless the user has set how long; for commands that predict or score.

    GNU OpenMP reads the variable when torch loads, so this needs no further start of the command; nothing happens where
    torch is loaded already.
    """
    if "torch" not in sys.modules:
        os.environ.update({name: value for name, value in wanted().items() if name in SPIN_BRIEFLY})


def keep_memory() -> None:
    """What :data:`KEEP_MEMORY` says, in a process that has started already; nothing happens without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for name in wanted().keys() & _MALLOPT.keys():
            mallopt(_MALLOPT[name], min(int(KEEP_MEMORY[name]), 2**31 - 1))


def restart_with_environment(trains: bool) -> None:
    """Start this command again with the variables that it lacks, all of them at once, so that it starts twice at most.

    Reasons are files whose names are not in UTF-8, which Python decides once by the locale, and, for a command that
    trains, :func:`wanted`. Nothing happens under a debugger, or on systems that cannot replace a process. Where torch
    is loaded, a command that trains is not delayed by loading it again.

    Args:
        trains: Whether the command trains or evaluates, and starts here, before anything heavy is imported.
    """
    is_utf8 = sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1"
    is_slow = trains and bool(wanted()) and "torch" not in sys.modules
    is_debugged = sys.gettrace() is not None or any(name in sys.modules for name in _DEBUGGERS)
    if _IS_RESTARTED or is_debugged or os.name != "posix" or (is_utf8 and not is_slow):
        return
    environment = {**os.environ, **wanted(), _RESTARTED: "1"}
    if not is_utf8:
        shown = getattr(sys.stdout or sys.stderr, "encoding", None) or "ascii"
        environment = {"PYTHONIOENCODING": shown, **environment, "PYTHONUTF8": "1"}
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - this very command
    except OSError:  # no interpreter by that name any more: the command works without
        return
