"""A process that was forked for a command; without anything but the standard library, for programs that start at once.

See :mod:`tests.forking`, which forks.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PROGRAM = """#!{python} -S
import sys

sys.path.insert(0, {root!r})
from tests.forked import ask

sys.exit(ask({at!r}, [*{words!r}, *sys.argv[1:]]))
"""


class Forked:
    """A process that was forked for a command and leads a session, with what of :class:`subprocess.Popen` is used.

    Args:
        at: The socket of the process that forks.
        words: Module and arguments.
        cwd: Where it runs.
        environment: All its variables.
        streams: Descriptors of its standard input, output and error.
    """

    def __init__(
        self, at: str, words: Sequence[str], cwd: str, environment: Mapping[str, str], streams: Sequence[int]
    ) -> None:
        self.args = list(words)
        self.stdin: IO[bytes] | None = None
        self.stdout = self.stderr = None
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(at)
        request = {"words": self.args, "cwd": cwd, "environment": dict(environment)}
        socket.send_fds(self._connection, [b"."], list(streams))
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self._answers = self._connection.makefile()
        self.pid = int(self._answers.readline())

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._answers.readline())
            except TimeoutError:
                self._answers.close()  # a file whose read timed out reads no more
                self._answers = self._connection.makefile()
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            # The file too: a socket stays open for its files, and warns when it is collected before them.
            self._answers.close()
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0.001)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        if self.stdin is not None:
            self.stdin.close()
        self.wait()


def ask(at: str, words: Sequence[str]) -> int:
    """Run ``python WORDS``, whose first are ``-m MODULE``, in a forked process with this one's streams; its status."""
    if words[0] != "-m":
        raise SystemExit(f"expected -m MODULE, got {list(words)}")
    status = Forked(at, words[1:], str(Path.cwd()), os.environ, (0, 1, 2)).wait()
    return status if status >= 0 else 128 - status


def write_programs(folder: Path, at: str) -> Path:
    """Write programs ``python`` and ``saltext`` that do what those beside the interpreter do, in forked processes.

    Args:
        folder: Where to; is made.
        at: The socket of the process that forks.

    Returns:
        The path of ``python``.
    """
    folder.mkdir()
    root = str(Path(__file__).resolve().parents[1])
    for name, words in {"saltext": ["-m", "saltext"], "python": []}.items():
        path = folder / name
        path.write_text(_PROGRAM.format(python=sys.executable, root=root, at=at, words=words), encoding="utf-8")
        path.chmod(0o755)
    return folder / "python"
