"""A command as in a user's container: little shared memory, no home, no name, and a disk of its own.

``python -m tests.runs.container FOLDER DISK ARGUMENTS`` runs ``saltext ARGUMENTS`` with that many MiB to write to. It
needs root to begin with, and goes on as a user that no list knows.
"""

import ctypes
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from saltext.system.home import provide_home

NOBODY = 54321
_NEW_MOUNTS_AND_HOST_NAME = 0x00020000 | 0x04000000
_KEEP_CAPABILITIES = 8
_VERSION, _READ_ANYTHING = 0x20080522, 1 << 2  # the interpreter may lie where nobody else may look


def _system(call: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments):
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


def _mount(at: Path, size: str, *options: str) -> None:
    at.mkdir(exist_ok=True)
    limits = ",".join([f"size={size}", "mode=1777", *options])
    subprocess.run(["mount", "-t", "tmpfs", "-o", limits, "none", str(at)], check=True)


def _become_nobody() -> None:
    """Change to a user without a name, who may read everything and write nowhere but in folders open to all."""
    _system("prctl", _KEEP_CAPABILITIES, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    both = (ctypes.c_uint32 * 6)(_READ_ANYTHING, _READ_ANYTHING)  # effective, permitted; the rest is 0
    _system("capset", (ctypes.c_uint32 * 2)(_VERSION, 0), both)


def main() -> None:
    """Enter the container and run the command there."""
    folder, disk = Path(sys.argv[1]), sys.argv[2]
    _system("unshare", _NEW_MOUNTS_AND_HOST_NAME)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    home, temporary, work = folder / "home", folder / "temporary", folder / "work"
    _mount(Path("/dev/shm"), "64m")
    _mount(home, "1m", "ro")
    _mount(temporary, "1m")
    _mount(work, f"{disk}m")
    socket.sethostname("nosuchhost")
    _become_nobody()
    os.chdir(work)
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME", "HF_HOME", "TORCH_HOME", "WANDB_CONFIG_DIR", "MPLCONFIGDIR"):
        os.environ.pop(name, None)
    os.environ |= {"HOME": str(home), "TMPDIR": str(temporary), "LC_ALL": "C", "PYTHONIOENCODING": "latin-1"}
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="latin-1")  # type: ignore[union-attr]
    # What a process does when it starts; this one was forked.
    tempfile.tempdir = None
    provide_home()
    sys.argv[1:] = sys.argv[3:]
    runpy.run_module("saltext", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
