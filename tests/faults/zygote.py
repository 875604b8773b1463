"""A process that has imported everything and forks for each run, so that a run costs no import.

Reads requests from standard input, a line of JSON each, and answers each with a line on standard output. Runs are
started as the command's worker starts them, with one fault: a kill, or a disk that is full, at a chosen write.
"""

import ctypes
import errno
import gc
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openpyxl  # noqa: F401 - what generates and reads data imports it
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from saltext import storage
from saltext.results.run_record import read_history
from saltext.runs import jobs, trust, worker
from saltext.runs.targets import own_targets
from saltext.runs.trust import record
from saltext.system.run_folder import RunFolder
from saltext.training import checkpoint_io
from tests.small_runs import composed

_REAL = storage.replacing
_CLONE_NEWNS = 0x00020000  # of Linux' sched.h; os.unshare is there from Python 3.12 on


class Fault:
    """What goes wrong at the n-th write of a kind.

    Args:
        kind: A file's name, or ``cache:WORD`` for whatever is opened, renamed or connected to below ``data.cache_dir``
            with the word in its path.
        number: Which write of that kind, from 1.
        moment: ``before``, ``half`` (of it is written), ``written`` (and not yet in its place), ``between`` (the old
            file has its other name, the new one not yet its place) or ``after``.
        full: Whether the disk is full instead of the process killed; it stays so.
    """

    def __init__(self, kind: str, number: int, moment: str, full: bool, cache: str) -> None:
        self.kind, self.number, self.moment, self.full, self.cache = kind, number, moment, full, cache
        self.seen: Counter[str] = Counter()

    def strike(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.kill(os.getpid(), signal.SIGKILL)

    def is_due(self, name: str) -> bool:
        self.seen[name] += 1
        if self.full:
            return self.kind == name and self.seen[name] >= self.number
        return self.kind == name and self.seen[name] == self.number

    @contextmanager
    def replacing(self, path: Path | str, **how: Any) -> Iterator[Path]:
        due = self.is_due(Path(path).name)
        if due and self.moment == "before":
            self.strike()
        if due and self.moment == "between":
            self._strike_before_replacing(Path(path))
        with _REAL(path, **how) as part:
            yield part
            if due and self.moment == "half":
                os.truncate(part, part.stat().st_size // 2)
                self.strike()
            if due and self.moment == "written":
                self.strike()
        if due and self.moment == "after":
            self.strike()

    def _strike_before_replacing(self, target: Path) -> None:
        real = Path.replace

        def replace(path: Path, to: Path) -> Path:
            if Path(to) == target:
                self.strike()
            return real(path, to)

        Path.replace = replace  # type: ignore[method-assign, assignment]

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename", "sqlite3.connect") or not isinstance(arguments[0], str | bytes | Path):
            return
        path = os.fsdecode(arguments[0])
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        word = self.kind.removeprefix("cache:")
        if path.startswith(self.cache) and word in path and self.is_due(self.kind):
            self.strike()

    def install(self) -> None:
        if self.kind.startswith("cache:"):
            sys.addaudithook(self.audit)
        storage.replacing = self.replacing  # type: ignore[assignment]
        checkpoint_io.replacing = self.replacing  # type: ignore[assignment]


def _work(request: dict[str, Any]) -> None:
    """In the child: a run, or what is left of it."""
    folder = RunFolder(Path(request["folder"]))
    with (folder.root / "terminal.log").open("ab") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    if request["tmpdir"]:
        os.environ["TMPDIR"], tempfile.tempdir = request["tmpdir"], None
    if request["fault"]:
        Fault(**request["fault"], cache=str(record(folder).data.cache_dir)).install()
    sys.argv = ["worker", str(folder.root)]
    with jobs.held(folder, wait=False):
        worker.main()


def _run(request: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _work(request)
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException as error:
            Path(request["folder"], "broken.txt").write_text(repr(error))
        finally:
            os._exit(status)
    after = request["kill_after"]
    ended = 0
    while after is not None and not ended and time.monotonic() - started < after:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.005)
    if not ended:
        if after is not None:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - started}


def _digest(content: Any) -> Any:
    """Equal exactly if every number of a checkpoint is, to the last bit."""
    if isinstance(content, torch.Tensor):
        return hashlib.sha256(content.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(content, dict):
        return {str(key): _digest(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_digest(value) for value in content]
    return repr(content)


def _findings(request: dict[str, Any]) -> dict[str, Any]:
    """What a finished run came to, without what may differ: paths, times, how often it was started."""
    folder = RunFolder(Path(request["folder"]))
    found: dict[str, Any] = {"result": folder.read_result()["test"]}
    for path in sorted(folder.root.rglob("*.ckpt")):
        content = torch.load(path, weights_only=True)
        found[str(path.relative_to(folder.root))] = _digest(
            {key: content[key] for key in ("state_dict", "optimizer_states", "epoch", "global_step") if key in content}
        )
    for path in sorted(folder.root.rglob("*.csv")):
        if path.name in ("scores.csv", "text_ablation.csv", "text_swap.csv"):
            found[str(path.relative_to(folder.root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    curves = read_history(folder).sort_values(["stage", "epoch", "name"])
    found["curves"] = [list(row) for row in curves.astype({"value": float}).itertuples(index=False)]
    return {
        "found": found,
        "epochs": len(re.findall(r" epoch \d+/", folder.log.read_text())),
        "left": [path.name for path in folder.root.rglob(".*.part")],
        "names": sorted(str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file()),
    }


def _prepare(request: dict[str, Any]) -> dict[str, Any]:
    """A folder with the configuration of a run that has not begun."""
    folder = RunFolder(Path(request["folder"]))
    folder.root.mkdir(parents=True)
    trust.write(composed(*request["overrides"]), folder)  # as what was started here: paths lead where they say
    return {}


def _mount(request: dict[str, Any]) -> dict[str, Any]:
    """A small file system that this process and its children alone see."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={request['size']}", "none", request["at"]], check=True)
    return {}


def _fill(request: dict[str, Any]) -> dict[str, Any]:
    """Leave so many bytes of a file system free; None: as many as there are."""
    filler = Path(request["at"], "filler")
    filler.unlink(missing_ok=True)
    if request["free"] is not None:
        with filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(request["at"]).free - request["free"])
    return {}


def _read(request: dict[str, Any]) -> dict[str, Any]:
    path = Path(request["path"])
    return {"text": path.read_text() if path.is_file() else None}


def _draw_something() -> None:
    """Matplotlib looks for its fonts once a process."""
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    figure.subplots().set_title("anything")
    figure.savefig(io.BytesIO(), format="png")


_ANSWERS = {"run": _run, "findings": _findings, "prepare": _prepare, "mount": _mount, "fill": _fill, "read": _read}


def main() -> None:
    """Answer requests until there are no more."""
    torch.set_num_threads(1)
    _draw_something()
    Image.init()
    own_targets({})  # reads the files of the package, once
    gc.freeze()  # no run looks through what all share
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer = _ANSWERS[request.pop("do")](request)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
