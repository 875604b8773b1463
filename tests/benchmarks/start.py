"""How long commands take, in CPU time and in units of ``python -c "import torch"``.

  python -m tests.benchmarks.start
  python -m tests.benchmarks.start --rounds 5 --data data/sjtu-tis --only predict

Each command is started afresh ``--rounds`` times, in turns with the others, after one turn that does not count; the
median of user and system time of the process and of all that it waited for is shown. CPU time depends less on what else
the machine does than seconds of a clock; as a ratio to importing torch in the same run, it can be compared between
machines. Caches that a command fills are in folders of their own: a cold command finds them empty each time, the others
full.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.benchmarks.harness import command_line, describe_machine, positive

_YARDSTICK = "import torch"


@dataclass(frozen=True)
class Timed:
    """A command and what it is meant to take.

    Args:
        name: As it is shown.
        words: After ``python``.
        bound: Units of importing torch; None where nothing was set.
        status: What it has to end with.
        cold: Whether its caches are emptied before each start.
    """

    name: str
    words: Sequence[str]
    bound: float | None = None
    status: int = 0
    cold: bool = False


def commands(folder: Path, data: Path | None) -> list[Timed]:
    """What is timed; files that commands read are written into ``folder``.

    Args:
        folder: An empty folder.
        data: SJTU-TIS; without it nothing is scored.
    """
    photos = folder / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0)
    for number in range(20):
        pixels = noise.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(photos / f"{number}.jpg")
    saltext = ("-m", "saltext")
    predict = (*saltext, "predict", "--out", str(folder / "maps"))
    found = [
        Timed(_YARDSTICK, ("-c", "import torch"), 1),
        Timed("import saltext; saltext.metrics.nss", ("-c", "import saltext; saltext.metrics.nss"), 1.05),
        Timed("saltext", saltext, 0.25),
        Timed("saltext --help", (*saltext, "--help"), 0.25),
        Timed("saltext predict --help", (*saltext, "predict", "--help"), 0.25),
        Timed("a wrong option", (*saltext, "predict", "--txt", "a"), 0.25, status=2),
        Timed("saltext score --help", (*saltext, "score", "--help"), 0.25),
        Timed("saltext train --help", (*saltext, "train", "--help"), 0.75),
        Timed("a wrong key", (*saltext, "train", "+sede=3"), 0.6, status=2),
        Timed("a wrong group", (*saltext, "train", "modle=tranblend"), 0.6, status=2),
        Timed(
            "predict, one photo, two texts",
            (*predict, str(photos / "0.jpg"), "--text", "a lamp", "--text", "a dog"),
            5,
        ),
        Timed("predict, 20 photos", (*predict, str(photos), "--text", "a lamp"), 7),
        Timed("train preset=smoke", (*saltext, "train", "preset=smoke", f"output_dir={folder / 'outputs'}")),
        Timed("reproduce --list", (*saltext, "reproduce", "--list")),
    ]
    if data is not None:
        maps = _maps(data, folder / "predictions")
        score = (*saltext, "score", str(maps), str(data), "--allow-missing")
        found += [
            Timed("score, 20 maps, baselines kept", score, 2),
            Timed("score, 20 maps, nothing kept", score, 3.5, cold=True),
            Timed("data check", (*saltext, "data", "check", str(data))),
        ]
    return found


def _maps(data: Path, folder: Path) -> Path:
    """Twenty pictures as if they were maps of their images under one text."""
    folder.mkdir()
    for path in sorted((data / "map_1800").glob("*_3.png"))[:20]:
        shutil.copy(path, folder / path.name)
    return folder


def cpu_seconds(timed: Timed, cwd: Path, caches: Path) -> float:
    """User and system time of a command's process and of what it waited for.

    Args:
        timed: The command.
        cwd: Where it runs; what it caches itself is in ``outputs/cache`` there.
        caches: ``XDG_CACHE_HOME`` of the command.

    Raises:
        RuntimeError: It ended with another status than it should.
    """
    if timed.cold:
        for cache in (caches, cwd / "outputs" / "cache"):
            shutil.rmtree(cache, ignore_errors=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(caches), "PYTHONPATH": str(Path.cwd()), "WANDB_MODE": "disabled"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *timed.words], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != timed.status:
            said.seek(0)
            words = said.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{timed.name}: expected status {timed.status}, got {process.returncode}\n{words}")
    return usage.ru_utime + usage.ru_stime


def measure(timed: Sequence[Timed], rounds: int, run: Callable[[Timed], float]) -> dict[str, float]:
    """Median CPU seconds of each command; they take turns, after one turn that does not count."""
    seconds: dict[str, list[float]] = {command.name: [] for command in timed}
    for turn in range(rounds + 1):
        for command in timed:
            taken = run(command)
            if turn:
                seconds[command.name].append(taken)
    return {name: median(of_command) for name, of_command in seconds.items()}


def main() -> None:
    """Entry point; see the module's help."""
    parser = command_line("tests.benchmarks.start", __doc__)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument(
        "--data", type=Path, default=Path("data/sjtu-tis"), help="SJTU-TIS; without it nothing is scored"
    )
    parser.add_argument("--only", default="", help="commands whose name has this in it")
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for name in ("kept", "emptied"):
            (folder / name).mkdir()
        all_of_them = commands(folder, data if (data / "map_1800").is_dir() else None)
        timed = [c for c in all_of_them if arguments.only in c.name or c.name == _YARDSTICK]
        seconds = measure(
            timed, arguments.rounds, lambda c: cpu_seconds(c, folder / _cache(c), folder / _cache(c) / "cache")
        )
    for line in describe_machine(("torch", "lightning", "timm", "transformers")):
        print(line)
    table = Table(f"median of {arguments.rounds}", "CPU s", "in T", "to reach")
    for command in timed:
        units = seconds[command.name] / seconds[_YARDSTICK]
        bound = "" if command.bound is None else f"{command.bound:g}"
        table.add_row(command.name, f"{seconds[command.name]:.2f}", f"{units:.2f}", bound)
    Console(width=100).print(table)


def _cache(timed: Timed) -> str:
    return "emptied" if timed.cold else "kept"


if __name__ == "__main__":
    main()
