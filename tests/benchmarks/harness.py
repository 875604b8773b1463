"""What the benchmarks share: fair timing, memory, the machine they ran on, their command line."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median

from rich.console import Console

from saltext.console import set_up_streams
from saltext.errors import SaltextError
from saltext.runs import provenance

_STATUS = Path("/proc/self/status")
_MEMORY = Path("/proc/meminfo")


def median_seconds(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each call; the calls take turns, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: median(of_call) for name, of_call in times.items()}


def peak_memory() -> float | None:
    """Most memory this process has held so far, in MiB; None where the system does not tell.

    A process keeps its highest mark, so what is measured needs one of its own. ``ru_maxrss`` would not do: on Linux it
    starts at the mark of the process that started this one.
    """
    if not _STATUS.is_file():
        return None
    return _kibibytes(_STATUS, "VmHWM") / 1024


def available_memory() -> float:
    """Main memory that could be taken without swapping, in MiB; infinite where the system does not tell."""
    if not _MEMORY.is_file():
        return float("inf")
    return _kibibytes(_MEMORY, "MemAvailable") / 1024


def _kibibytes(path: Path, name: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def describe_machine(packages: Sequence[str]) -> list[str]:
    """Lines that say on which hardware, with which versions of some packages and at which commit numbers were taken."""
    about = provenance.describe()
    changes = " with uncommitted changes" if about["uncommitted_changes"] else ""
    return [
        f"{about['cpu']}, {about['cores']} cores, GPU: {', '.join(about['gpus']) or 'none'}; {about['platform']}",
        f"Python {about['python']}, " + ", ".join(f"{name} {metadata.version(name)}" for name in packages),
        f"commit {about['commit']}{changes}",
    ]


def command_line(module: str, documentation: str | None) -> argparse.ArgumentParser:
    """Give a parser whose help is a module's docstring: a summary, examples, and an explanation."""
    summary, examples, explanation = (documentation or "").split("\n\n", 2)
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=summary,
        epilog=f"examples:\n{examples}\n\n{explanation}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def positive(text: str) -> int:
    """Read a whole number of at least 1 from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number of at least 1")
    return int(text)


def output() -> Console:
    """The terminal, or plain lines wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120, color_system=None)


def exit_status(report: Callable[[Console], None]) -> int:
    """Print a report; 1 after an error, which is printed too, otherwise 0."""
    set_up_streams()
    console = output()
    try:
        report(console)
    except SaltextError as error:
        console.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    return 0
