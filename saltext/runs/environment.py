"""What has to be in the environment of a process before its libraries load."""

import os
import sys

# glibc gives blocks of 32 MiB and more back to the system at once and pays for fresh pages at the next one; activations
# on a CPU are such blocks.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}

# GNU OpenMP's threads spin for ever by default: one other process on a core makes small steps seven times as slow.
SPIN_BRIEFLY = {"GOMP_SPINCOUNT": "10000"}

IN_SWEEP = "SALTEXT_IN_SWEEP"
"""Variable that a sweep sets for its jobs."""

_MARK = "SALTEXT_ENVIRONMENT"
_DEBUGGERS = ("pdb", "bdb", "pydevd", "debugpy", "ipdb")


def wanted() -> dict[str, str]:
    """Variables that make training faster, without those that the user has set.

    >>> "GOMP_SPINCOUNT" in wanted() or "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ
    True
    """
    spin = {} if "OMP_WAIT_POLICY" in os.environ else SPIN_BRIEFLY
    return {name: value for name, value in {**KEEP_MEMORY, **spin}.items() if name not in os.environ}


def restart_with_environment() -> None:
    """Start this command again with the variables that have to be there before libraries load, once.

    For entry points alone, before anything heavy is imported. Nothing happens under a debugger, where the variables are
    there already, or where a library that reads them is loaded.
    """
    missing = wanted()
    is_debugged = sys.gettrace() is not None or any(name in sys.modules for name in _DEBUGGERS)
    if os.environ.pop(_MARK, None) or not missing or is_debugged or "torch" in sys.modules or os.name != "posix":
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **missing, _MARK: "1"})  # noqa: S606 - itself
    except OSError:  # no interpreter by that name any more: the command works without
        return
