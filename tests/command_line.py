"""Commands as a user calls them, each in a process of its own, which costs no import: it is forked.

That commands also start from nothing is tested once for each of them (tests/test_start.py).
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import pytest

from saltext.console import MISTAKE
from saltext.system.environment import KEEP_MEMORY
from tests.forked import Forked

ROOT = Path(__file__).resolve().parents[1]

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@lru_cache(maxsize=1)
def forking() -> str:
    """The socket of a process that forks, one for each process of the test suite."""
    folder = tempfile.mkdtemp(prefix="forking-")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forking", f"{folder}/socket"], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env={**KEEP_MEMORY, **os.environ, **ENVIRONMENT},
    )  # fmt: skip
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.communicate)  # its standard input ends, and so does it
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return f"{folder}/socket"


class Started:
    """A command that runs.

    Args:
        words: Module and arguments.
        cwd: Where.
        environment: All variables.
        stdin: What it can read.
    """

    def __init__(self, words: list[str], cwd: Path | str, environment: Mapping[str, str], stdin: str) -> None:
        self._files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115 - closed when it has ended
        self._files[0].write(stdin.encode())
        self._files[0].seek(0)
        streams = [file.fileno() for file in self._files]
        self._process = Forked(forking(), words, str(cwd), environment, streams)
        self.pid = self._process.pid

    def send_signal(self, number: int) -> None:
        """As :meth:`subprocess.Popen.send_signal`."""
        self._process.send_signal(number)

    def finish(self, timeout: float) -> "subprocess.CompletedProcess[str]":
        """Wait for its end.

        Raises:
            TimeoutExpired: It took longer; it and what it started in its session is killed.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired as late:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            late.stdout, late.stderr = (text.encode() for text in self._said())
            raise
        return subprocess.CompletedProcess(self._process.args, status, *self._said())

    def _said(self) -> list[str]:
        said = []
        for file in self._files[1:]:
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
        for file in self._files:
            file.close()
        return said


def start(
    *arguments: str,
    module: str = "saltext.run",
    cwd: Path | str | None = None,
    environment: Mapping[str, str | None] | None = None,
    stdin: str = "",
) -> Started:
    """Start ``python -m MODULE ARGUMENTS``.

    Args:
        arguments: Of the command line.
        module: Its dotted name.
        cwd: Where; the current folder by default.
        environment: Variables besides this process's own; None takes one away.
        stdin: What the command can read.
    """
    given = {**os.environ, **ENVIRONMENT, **(environment or {})}
    known = {name: value for name, value in given.items() if value is not None}
    return Started([module, *map(str, arguments)], cwd or Path.cwd(), known, stdin)


def here(*arguments: object) -> None:
    """Run ``saltext ARGUMENTS`` in this process.

    Raises:
        SystemExit: It ended with another status than 0.
    """
    from saltext.commands.app import main

    before = list(sys.argv)
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        if end.code:
            raise
    finally:
        sys.argv[:] = before


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What ``saltext ARGUMENTS`` says when it refuses them, in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        here(*arguments)
    assert ended.value.code == MISTAKE
    return capsys.readouterr().err


def command(
    *arguments: str,
    module: str = "saltext.run",
    cwd: Path | str | None = None,
    environment: Mapping[str, str | None] | None = None,
    timeout: float = 900,
    stdin: str = "",
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, see :func:`start`.

    Raises:
        TimeoutExpired: It took longer than ``timeout`` seconds.
    """
    return start(*arguments, module=module, cwd=cwd, environment=environment, stdin=stdin).finish(timeout)
