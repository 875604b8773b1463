"""Output on the terminal and in log files: robust streams, logging, progress bars, exit statuses."""

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

_Item = TypeVar("_Item")

MISTAKE = 2
"""Exit status of a command that its user can fix."""

INTERRUPTED = 130
"""Exit status of a command that was ended by Ctrl-C, as shells have it."""

PRINT_WIDTH = 120
"""Characters in a line of a printed table where there is no terminal: a log file has no width."""

# Warnings of libraries that a user can do nothing about, each with its origin.
_IGNORED_WARNINGS = (
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
    """Whether this process is rank 0 of its job, the one that logs and writes."""
    return int(os.environ.get("RANK", "0")) == 0


_IN_ASCII = {"↑": "^", "↓": "v", "→": "->", "–": "-", "−": "-", "±": "+-", "×": "x", "…": "...", "“": '"', "”": '"'}
_REPLACES = "saltext_replaces"


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: characters that the encoding lacks become similar ASCII characters, or ``?``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(character, "?") for character in missing), error.end


class _ErrorFreeOutput(io.RawIOBase):
    """A raw stream that never raises: once the terminal is gone or the disk full, output is silently dropped."""

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
    """Make stdout and stderr robust, so that output never fails a command; the first line of every entry point.

    Characters that the terminal's encoding lacks are replaced. After a closed pipe (``| head``) or on a full disk,
    output is dropped, and the command continues to its usual exit status. Files and their names are always UTF-8.
    """
    restart_with_environment(trains=False)
    codecs.register_error(_REPLACES, _in_ascii)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the start
            setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and stream is getattr(sys, f"__{name}__"):
            error_free = _error_free_stream(stream)
            setattr(sys, name, error_free)
            setattr(sys, f"__{name}__", error_free)
        elif isinstance(stream, io.TextIOWrapper):  # redirected by a caller who reads the output
            stream.reconfigure(errors=_REPLACES)


def _error_free_stream(stream: io.TextIOWrapper) -> TextIO:
    """A stream with the same file and settings that never raises; the old one is detached."""
    is_buffered = isinstance(stream.buffer, io.BufferedWriter)
    raw = stream.buffer.raw if isinstance(stream.buffer, io.BufferedWriter) else stream.buffer
    if not isinstance(raw, io.FileIO):  # set up before
        return stream
    stream.flush()
    encoding, line_buffering, write_through = stream.encoding, stream.line_buffering, stream.write_through
    buffered: Any = stream.detach()
    if is_buffered:
        buffered.detach()
    output: Any = io.BufferedWriter(_ErrorFreeOutput(raw)) if is_buffered else _ErrorFreeOutput(raw)
    return io.TextIOWrapper(output, encoding, _REPLACES, line_buffering=line_buffering, write_through=write_through)


@contextmanager
def not_essential(what: str) -> Iterator[None]:
    """Log any error in the block as one warning: for figures and pages of results that are already on disk."""
    try:
        yield
    except Exception as error:
        _log.warning("without %s: %s: %s", what, type(error).__name__, " ".join(str(error).split())[:300])


class _LogFile(logging.FileHandler):
    """A log file that drops lines on a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Drop the line, which is still shown on the terminal."""

    def close(self) -> None:
        """Close the file; unwritten lines are lost on a full disk."""
        with suppress(OSError):
            super().close()


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Log the suite's messages to the terminal and a file, and warnings and the final error to the file.

    Of several processes of one job, rank 0 logs everything, the others only errors. Loggers are restored at the end.
    """
    root, python_warnings = logging.getLogger("saltext"), logging.getLogger("py.warnings")
    old_level, old_propagate = root.level, root.propagate
    root.setLevel(logging.INFO if is_first() else logging.ERROR)
    root.propagate = False
    lines = _LogFile(path, encoding="utf-8")
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    terminal = logging.StreamHandler(sys.stdout)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    for handler in (lines, terminal):
        root.addHandler(handler)
    logging.captureWarnings(True)
    python_warnings.addHandler(lines)
    try:
        yield
    except SaltextError as error:
        lines.handle(_log_record(f"error: {error}"))
        raise
    except Exception:
        lines.handle(_log_record("the run failed", sys.exc_info()))
        raise
    finally:
        logging.captureWarnings(False)
        python_warnings.removeHandler(lines)
        for handler in (lines, terminal):
            root.removeHandler(handler)
        lines.close()
        root.setLevel(old_level)
        root.propagate = old_propagate


def _log_record(message: str, raised: Any = None) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, raised)


@contextmanager
def ending_in_words(interrupted: str = "interrupted") -> Iterator[None]:
    """End a command with one line and an exit status, without a traceback, after a user's mistake or an interruption.

    Errors of the system, such as a folder that cannot be written, end it in the same way; the log of a run has their
    traceback.

    Args:
        interrupted: The line printed after an interruption.
    """
    try:
        yield
    except (SaltextError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(INTERRUPTED)


def bar(items: Iterable[_Item], what: str, total: int) -> Iterator[_Item]:
    """Iterate with a progress bar on standard error; a terminal that fails ends the bar, not the iteration.

    Args:
        items: What to iterate over.
        what: Label of the bar.
        total: Number of items.
    """
    from rich.console import Console
    from rich.progress import Progress

    with ExitStack() as shown:
        advance: Callable[[], None] | None = None
        with suppress(Exception):  # a terminal that is gone, has no columns, or another encoding
            progress = Progress(console=Console(stderr=True))
            task = progress.add_task(what, total=total)
            progress.start()
            shown.callback(_succeeds, progress.stop)
            advance = partial(progress.advance, task)
        for item in items:
            yield item
            if advance is not None and not _succeeds(advance):
                advance = None


def progress(items: Iterable[_Item], what: str, total: int) -> Iterator[_Item]:
    """Iterate with a bar on a terminal, or with four lines elsewhere, both on standard error."""
    if sys.stderr.isatty():
        yield from bar(items, what, total)
        return
    step = max(1, total // 4)
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0:
            print(f"{what}: {done} of {total}", file=sys.stderr)


def _succeeds(call: Callable[[], None]) -> bool:
    """Call a function; whether it raised no error."""
    try:
        call()
    except Exception:
        return False
    return True


def quiet_libraries() -> None:
    """Silence tips and warnings of libraries that do not help a user of the suite."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in _IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
