"""A page in a process of its own: Gradio leaves sockets and event loops behind, and pandas 3 warns about it.

As a program, ``python -m tests.demo.serving FOLDER [PORT [CONDITION ...]]`` serves one whose model is a stub.
"""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from saltext.commands.demo import confined
from saltext.demo.predictor import About, PredictionError
from saltext.demo.settings import Settings
from tests.command_line import ENVIRONMENT, ROOT, forking
from tests.demo.stub import Stub, photo
from tests.forked import Forked

if TYPE_CHECKING:
    from saltext.prediction.model import Model

_Answer = TypeVar("_Answer")

PATIENCE = 300.0
"""Seconds a page may take to be there; other programs may keep the machine busy."""

SETTINGS = Settings(max_mib=0.25, max_pixels=10_000)
"""Of the page with a stub."""

SLOWLY = 4.0
"""Seconds that the page with a stub takes for a text that begins with "slowly"."""

KEPT = 2
"""Answers whose files the page with a stub keeps."""


@dataclass(frozen=True)
class Demo:
    """A running page.

    Attributes:
        address: Without a slash at its end.
        process: The server.
        says: What it prints.
    """

    address: str
    process: "subprocess.Popen[bytes] | Forked"
    says: IO[str]

    def end(self) -> str:
        """End it, if it has not ended; what it said meanwhile."""
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        with self.says:
            return self.says.read()


def started(line: Sequence[str], environment: Mapping[str, str], here: Path, from_nothing: bool = False) -> Demo:
    """A command that serves a page, once the page is there.

    Args:
        line: Arguments of Python: ``-m``, a module, and the module's own.
        environment: Variables besides this process's own.
        here: Its folder.
        from_nothing: Whether it is a process that imports what it needs, as a user's does, and not a forked one.
    """
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    given = {**os.environ, **ENVIRONMENT, "PYTHONPATH": paths, **environment}
    read, write = os.pipe()
    process: subprocess.Popen[bytes] | Forked
    if from_nothing:
        process = subprocess.Popen([sys.executable, *line], stdout=write, stderr=write, env=given, cwd=here)
    else:
        with Path(os.devnull).open("rb") as nothing:
            process = Forked(forking(), line[1:], str(here), given, (nothing.fileno(), write, write))
    os.close(write)
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    said, says = [], os.fdopen(read)
    for text in says:
        said.append(text)
        if found := re.search(r"http://127\.0\.0\.1:\d+", text):
            guard.cancel()
            return Demo(found[0], process, says)
    guard.cancel()
    process.wait()
    says.close()
    raise AssertionError("".join(said))


class InProcess:
    """Stands in for :class:`saltext.demo.predictor.Predictor`; answers without a process, or is too late."""

    about = About("outputs/run/stub", "cpu", reads_text=True, reads_condition=True, conditions=Stub.conditions)

    def call(self, question: Callable[["Model"], _Answer]) -> _Answer:
        asked = getattr(question, "keywords", {}).get("question")
        first = "" if asked is None else str(asked.queries[0].text)
        if first.startswith("slowly"):
            time.sleep(SLOWLY)
        if first in ("<b>slow</b>", "slowly in vain"):
            raise PredictionError(f"The text {first} took too long.\nTry another.")
        model: Any = Stub()
        return question(model)


def serve_stub(folder: Path, port: int = 0, *conditions: str) -> None:
    """Serve a page with a stub until the process is ended; the stub has the conditions, if any are named."""
    with confined(folder):
        from saltext.demo.examples import Example
        from saltext.demo.page import Downloads, Page
        from saltext.demo.server import served
        from saltext.prediction.texts import TextQuery

        example = Example(
            photo(folder / "example.png"), (TextQuery("left", "salient"), TextQuery("right", "non_salient"))
        )
        predictor: Any = InProcess()
        predictor.about = replace(predictor.about, conditions=conditions or Stub.conditions)
        settings = replace(SETTINGS, port=port)
        page = Page(predictor, settings, [example], Downloads(folder / "gradio" / "answers", KEPT))
        with served(page.blocks, settings) as address:
            print(address, flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    serve_stub(Path(sys.argv[1]), *map(int, sys.argv[2:3]), *sys.argv[3:])
