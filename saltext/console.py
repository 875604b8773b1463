"""What a run says, on the terminal and in its log file."""

import codecs
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar

from saltext.errors import SaltextError
from saltext.system.environment import restart_with_environment

_Thing = TypeVar("_Thing")

MISTAKE = 2
"""Exit status of a command that its user can fix."""

INTERRUPTED = 130
"""Exit status of a command that was ended by Ctrl-C, as shells have it."""

PRINT_WIDTH = 120
"""Characters in a line of a printed table where there is no terminal: a log file has no width."""

# Messages of libraries that a user can do nothing about, each with where it comes from.
_KNOWN = (
    r".*LeafSpec.*",  # lightning 2.6 with torch 2.14: its own use of a renamed class
    r".*`srun` command is available.*",  # hydra/launcher=slurm is how jobs are started
    r".*does not have many workers.*",  # inputs are memory-mapped; see data/cache.py
    r".*module\(s\) in eval mode at the start of training.*",  # frozen parts are meant to be
    r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
    r".*Trying to infer the `batch_size`.*",
    r".*number of training batches .* is smaller than the logging interval.*",
)


_log = logging.getLogger(__name__)


def is_first() -> bool:
    """Whether this process is the one of its job that speaks and writes."""
    return int(os.environ.get("RANK", "0")) == 0


_IN_ASCII = {"↑": "^", "↓": "v", "→": "->", "–": "-", "−": "-", "±": "+-", "×": "x", "…": "...", "“": '"', "”": '"'}
_REPLACES = "saltext_replaces"


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What is written for characters that a terminal's encoding lacks: something like them, or ``?``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(character, "?") for character in lacking), error.end


class _Tolerant(io.RawIOBase):
    """A terminal, pipe or file that takes what it can: once it is gone or full, the rest is dropped without a word."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._is_gone = False

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self._raw.isatty())

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def write(self, data: Any, /) -> int:
        if not self._is_gone:
            try:
                return int(self._raw.write(data) or 0)
            except OSError:
                self._is_gone = True
        return len(data)


def set_up_streams() -> None:
    """Let nothing that is shown fail a command: the first line of every entry point.

    Characters that the terminal's encoding lacks are replaced, and a closed pipe (``| head``) or a full disk behind
    the output takes no more, while the command goes on to its usual exit status. What the terminal lacks may still
    stand in files and their names, which are in UTF-8 whatever it shows.
    """
    restart_with_environment(trains=False)
    codecs.register_error(_REPLACES, _in_ascii)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the start
            setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and stream is getattr(sys, f"__{name}__"):
            tolerant = _tolerant(stream)
            setattr(sys, name, tolerant)
            setattr(sys, f"__{name}__", tolerant)
        elif isinstance(stream, io.TextIOWrapper):  # somebody else's, who looks at what is written
            stream.reconfigure(errors=_REPLACES)


def _tolerant(stream: io.TextIOWrapper) -> TextIO:
    is_buffered = isinstance(stream.buffer, io.BufferedWriter)
    raw = stream.buffer.raw if isinstance(stream.buffer, io.BufferedWriter) else stream.buffer
    if not isinstance(raw, io.FileIO):  # set up before
        return stream
    stream.flush()
    encoding, line_buffering, write_through = stream.encoding, stream.line_buffering, stream.write_through
    buffered: Any = stream.detach()
    if is_buffered:
        buffered.detach()
    below: Any = io.BufferedWriter(_Tolerant(raw)) if is_buffered else _Tolerant(raw)
    return io.TextIOWrapper(below, encoding, _REPLACES, line_buffering=line_buffering, write_through=write_through)


@contextmanager
def not_essential(what: str) -> Iterator[None]:
    """Around what shows results that are on disk: whatever goes wrong inside is one line of the log."""
    try:
        yield
    except Exception as error:
        _log.warning("without %s: %s: %s", what, type(error).__name__, " ".join(str(error).split())[:300])


class _LogFile(logging.FileHandler):
    """A log that leaves out what a full disk does not take."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Do without the line, which is shown on the terminal."""

    def close(self) -> None:
        """Close the file; what a full disk does not take is lost."""
        with suppress(OSError):
            super().close()


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Send the suite's messages to the terminal and to a file, and warnings and the error that ends it to the file.

    Of several processes of one job, the first one speaks; the others are heard when something goes wrong. Afterwards,
    the loggers are as they were.
    """
    root, of_warnings = logging.getLogger("saltext"), logging.getLogger("py.warnings")
    before = root.level, root.propagate
    root.setLevel(logging.INFO if is_first() else logging.ERROR)
    root.propagate = False
    lines = _LogFile(path, encoding="utf-8")
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    terminal = logging.StreamHandler(sys.stdout)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    for handler in (lines, terminal):
        root.addHandler(handler)
    logging.captureWarnings(True)
    of_warnings.addHandler(lines)
    try:
        yield
    except SaltextError as error:
        lines.handle(_record(f"error: {error}"))
        raise
    except Exception:
        lines.handle(_record("the run failed", sys.exc_info()))
        raise
    finally:
        logging.captureWarnings(False)
        of_warnings.removeHandler(lines)
        for handler in (lines, terminal):
            root.removeHandler(handler)
        lines.close()
        root.setLevel(before[0])
        root.propagate = before[1]


def _record(message: str, raised: Any = None) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, raised)


@contextmanager
def ending_in_words(interrupted: str = "interrupted") -> Iterator[None]:
    """Around a command: a mistake of its user, and an interruption, end it with a line and the usual exit status.

    So does what the system refuses, such as a folder that cannot be written; a run's log has its traceback.

    Args:
        interrupted: That line.
    """
    try:
        yield
    except (SaltextError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(INTERRUPTED)


def bar(things: Iterable[_Thing], what: str, total: int) -> Iterator[_Thing]:
    """The things, with a bar on standard error; a terminal that fails ends the bar and nothing else.

    Args:
        things: See above.
        what: Is done with them.
        total: How many there are.
    """
    from rich.console import Console
    from rich.progress import Progress

    with ExitStack() as shown:
        advance: Callable[[], None] | None = None
        with suppress(Exception):  # a terminal that is gone, without columns, or of another encoding
            progress = Progress(console=Console(stderr=True))
            task = progress.add_task(what, total=total)
            progress.start()
            shown.callback(_quietly, progress.stop)
            advance = partial(progress.advance, task)
        for thing in things:
            yield thing
            if advance is not None and not _quietly(advance):
                advance = None


def progress(things: Iterable[_Thing], what: str, total: int) -> Iterator[_Thing]:
    """The things, with a bar on a terminal and four lines elsewhere, both on standard error."""
    if sys.stderr.isatty():
        yield from bar(things, what, total)
        return
    step = max(1, total // 4)
    for done, thing in enumerate(things, start=1):
        yield thing
        if done % step == 0:
            print(f"{what}: {done} of {total}", file=sys.stderr)


def _quietly(call: Callable[[], None]) -> bool:
    """Call what shows something; whether it could."""
    try:
        call()
    except Exception:
        return False
    return True


def quiet_libraries() -> None:
    """Leave out tips and notices that do not help a user of the suite."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in _KNOWN:
        warnings.filterwarnings("ignore", message=pattern)
