"""What a run says, on the terminal and in its log file."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from saltext.launch import is_first

_Thing = TypeVar("_Thing")

PRINT_WIDTH = 260
"""Columns of a printed table where there is no terminal: a log file has no width, and a folded table is unreadable."""

# Messages of libraries that a user can do nothing about, each with where it comes from.
_KNOWN = (
    r".*LeafSpec.*",  # lightning 2.6 with torch 2.14: its own use of a renamed class
    r".*does not have many workers.*",  # inputs are memory-mapped; see data/cache.py
    r".*module\(s\) in eval mode at the start of training.*",  # frozen parts are meant to be
    r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
    r".*Trying to infer the `batch_size`.*",
    r".*number of training batches .* is smaller than the logging interval.*",
)


def log_to(path: Path) -> None:
    """Send the suite's messages to the terminal and to a file, and warnings to the file as well.

    Of several processes of one job, the first one speaks; the others are heard when something goes wrong.
    """
    root = logging.getLogger("saltext")
    root.setLevel(logging.INFO if is_first() else logging.ERROR)
    root.propagate = False
    lines = logging.FileHandler(path, encoding="utf-8")
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    terminal = logging.StreamHandler(sys.stdout)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    for handler in (lines, terminal):
        root.addHandler(handler)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(lines)


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
