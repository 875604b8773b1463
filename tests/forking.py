"""A process that has imported what commands import, and forks for each of them: see :mod:`tests.command_line`.

It listens at a socket. A request is a line of JSON, sent with the three streams of the command; the answers are a line
with its number and, when it has ended, one with its status. The jobs of a sweep, which a command starts as fresh
processes that know nothing of it, are forked from here as well, and so are the ranks that torchrun starts.
"""

import atexit
import gc
import importlib
import json
import logging
import multiprocessing.util
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from PIL import Image

from saltext.runs import composition, targets
from tests.forked import Forked

# What commands import in the course of their work, beside what the modules of the commands do.
IMPORTED = (
    "lightning", "torchmetrics", "timm", "transformers", "albumentations", "matplotlib.pyplot", "open_clip", "wandb",
    "scipy.stats", "openpyxl", "torch.distributed.launcher.api", "saltext.losses", "saltext.commands.app",
    "saltext.runs.train", "saltext.runs.sweep", "saltext.runs.preflight", "saltext.runs.evaluate",
    "saltext.runs.export", "saltext.runs.reproduce", "saltext.runs.load", "saltext.prediction.results",
    "saltext.evaluation.score_folder", "saltext.runs.report", "saltext.reporting.run_files",
    "saltext.reporting.study_page",
)  # fmt: skip
_RANKS = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler"
_LONGEST = 1 << 20


class _Popen:
    """Stands for :class:`subprocess.Popen` where processes of a run are started.

    That is in :func:`saltext.runs.launch.launch`, which holds a pipe to one process of a run or to torchrun, and in
    torchrun, whose ranks have its streams.
    """

    def __init__(self, at: str) -> None:
        self._at = at

    def __call__(self, args: Sequence[str], **how: Any) -> Any:
        words = [word for word in args[1:] if word != "-u"]
        if words[:2] != ["-m", "saltext.system.watched"]:
            return subprocess.Popen(args, **how)
        if how.get("stdin") != subprocess.PIPE:
            return Forked(self._at, words[1:], str(Path.cwd()), how["env"], (0, 1, 2))
        to_read, to_write = os.pipe()
        process = Forked(self._at, words[1:], str(Path.cwd()), how["env"], (to_read, 1, 2))
        os.close(to_read)
        process.stdin = os.fdopen(to_write, "wb")
        return process


def _run(words: Sequence[str]) -> int:
    status: Any = 0
    try:
        module, *sys.argv[1:] = words
        sys.modules.pop(module, None)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return int(status or 0)


def _become(request: dict[str, Any], streams: Sequence[int], at: str) -> None:
    os.chdir(request["cwd"])
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    # What the parent has registered is its own to end, such as W&B's folder for media, which all commands share.
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    atexit.register(logging.shutdown)
    atexit.register(multiprocessing.util._exit_function)
    # As in a process that starts from nothing: where it is, what its environment adds, and what was there.
    here = [] if os.environ.get("PYTHONSAFEPATH") else [request["cwd"]]
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = dict.fromkeys([*here, *added, *(path for path in sys.path if path)])
    _fork_what_is_launched(at)


def _fork_what_is_launched(at: str) -> None:
    launch = importlib.import_module("saltext.runs.launch")
    launch.subprocess = type("subprocess", (), {**vars(subprocess), "Popen": _Popen(at)})
    importlib.import_module(_RANKS).Popen = _Popen(at)


class ForkedJobs(Callback):
    """Hydra's callback for a launcher whose processes start from nothing: what they launch for a job is forked.

    Args:
        at: The socket of the process that forks.
    """

    def __init__(self, at: str) -> None:
        self._at = at

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """In the launcher's process."""
        _fork_what_is_launched(self._at)


def _serve(connection: socket.socket, at: str) -> None:
    """In a process of its own: fork the command, and say how it ended."""
    streams = socket.recv_fds(connection, 1, 3)[1]
    line = connection.makefile().readline(_LONGEST)
    leads, begins = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(begins)  # from now on its number is that of its group, too
        os.close(leads)
        connection.close()
        status = 1
        try:
            _become(json.loads(line), streams, at)
            status = _run(json.loads(line)["words"])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    for stream in (*streams, begins):
        os.close(stream)
    os.read(leads, 1)
    connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    try:
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    except BrokenPipeError:  # who asked was killed
        return


def main() -> None:
    """Listen at the socket that is named, until the standard input ends."""
    at = sys.argv[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in IMPORTED:
            importlib.import_module(module)
    Image.init()  # Pillow's readers of all formats are modules, too
    # What a command reads of the package itself is read once, and what is there is no garbage of a command's.
    for model in ("tranblend", "clip_salgan", "grounded_gaze", "transalnet", "baselines"):
        composition.CommandLine(["preset=smoke", f"model={model}"]).check()
        composition.compose_run(["preset=smoke", f"model={model}"])
    targets.own_targets({})
    gc.freeze()
    server = socket.socket(socket.AF_UNIX)
    server.bind(at)
    server.listen()
    print("ready", flush=True)
    while 0 not in select.select([server, 0], [], [])[0]:  # nobody writes there: it ends with the tests
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            _serve(connection, at)
            os._exit(0)
        connection.close()
        while True:  # those that have ended
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break


if __name__ == "__main__":
    main()
