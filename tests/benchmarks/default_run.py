"""How long the default run takes from nothing, and a fold with text and without, next to an earlier commit.

    python -m tests.benchmarks.default_run                        # beside commit 6fbce6a, once a side
    python -m tests.benchmarks.default_run --commit HEAD~1 --data data/sjtu-tis
    python -m tests.benchmarks.default_run --quick                # generated data, tiny networks: does it run here?

Each side trains the default run in a process of its own with empty caches, then the same network without text with the
caches of the first: together they are one fold of `saltext reproduce embedded`. The test is what a run does after its
last checkpoint (test, text ablation, baselines, tables, pictures). Memory is the largest anonymous memory of all
processes of a run together, sampled every five seconds; a page that several processes share (a loader's process is
forked) counts once. Needs the machine for itself.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.table import Table

from tests.benchmarks import harness

ROOT = Path(__file__).resolve().parents[2]
BASE = "6fbce6a"
_SAMPLED_EVERY = 5.0  # seconds; the system takes a tenth of a second to count the pages of a large process
QUICK = ("preset=smoke", "model=grounded_gaze", "data=synthetic")


@dataclass(frozen=True)
class Measured:
    """What one run took.

    Attributes:
        clock: Seconds by the clock, the command's start included.
        processor: Seconds of the processor, user and system, of all processes.
        test: Seconds from the last checkpoint to the end.
        memory: Largest anonymous memory of all processes together, in MiB, shared pages counted once.
        caches: MB on the disk below the cache folder at the end.
        scores: Mean CC by condition, under the run's first protocol.
    """

    clock: float
    processor: float
    test: float
    memory: float
    caches: float
    scores: dict[str, float]


def measure(source: Path, folder: Path, caches: Path, overrides: Sequence[str]) -> Measured:
    """Train and test once with the code below ``source``."""
    command = [sys.executable, "-m", "saltext.run", f"hydra.run.dir={folder}", f"data.cache_dir={caches}", *overrides]
    environment = {**os.environ, "PYTHONPATH": str(source), "WANDB_MODE": "disabled"}
    before, start = os.times(), time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=subprocess.DEVNULL) as process,
    ):
        sampled = [0.0]
        done = threading.Event()
        sampler = threading.Thread(target=_sample_memory, args=(process.pid, sampled, done))
        sampler.start()
        status = process.wait()
        done.set()
        sampler.join()
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    clock, ended, after = time.perf_counter() - start, time.time(), os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    last = max(file.stat().st_mtime for file in folder.rglob("*.ckpt"))
    table = pd.read_csv(next(folder.rglob("scores.csv")))
    own = table[(table["model"] == table["model"].iloc[0]) & (table["protocol"] == table["protocol"].iloc[0])]
    disk = sum(file.stat().st_size for file in caches.rglob("*") if file.is_file()) / 1e6
    means = {str(task): float(value) for task, value in own.groupby("task")["cc"].mean().items()}
    return Measured(clock, processor, ended - last, max(sampled), disk, means)


def _sample_memory(root: int, sampled: list[float], done: threading.Event) -> None:
    while not done.wait(_SAMPLED_EVERY):
        sampled.append(sum(map(_anonymous_mebibytes, _with_children(root))))


def _with_children(root: int) -> Iterator[int]:
    yield root
    for tasks in Path(f"/proc/{root}/task").glob("*/children"):
        try:
            children = tasks.read_text().split()
        except OSError:  # it has ended
            continue
        for child in children:
            yield from _with_children(int(child))


def _anonymous_mebibytes(process: int) -> float:
    """A process's share of it: of pages that others have, too, its part of them."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")) / 1024


def report(sides: dict[str, tuple[Measured, Measured]]) -> Table:
    """A row for each quantity, a column for each side, and the ratio of the first side to the second."""
    (before, (old, old_untexted)), (now, (new, new_untexted)) = sides.items()
    table = Table("", before, now, "ratio")
    rows = {
        "default run from nothing, s by the clock": (old.clock, new.clock),
        "default run from nothing, s of the processor": (old.processor, new.processor),
        "a fold with text and without, s by the clock": (
            old.clock + old_untexted.clock,
            new.clock + new_untexted.clock,
        ),
        "a fold with text and without, s of the processor": (
            old.processor + old_untexted.processor,
            new.processor + new_untexted.processor,
        ),
        "test of the default run, s by the clock": (old.test, new.test),
        "test of the run without text": (old_untexted.test, new_untexted.test),
        "peak anonymous memory of the default run, MiB": (old.memory, new.memory),
        "caches on the disk, MB": (old_untexted.caches, new_untexted.caches),
    }
    for name, (one, other) in rows.items():
        table.add_row(name, f"{one:,.1f}", f"{other:,.1f}", f"{one / other:.2f}")
    for task, score in old.scores.items():
        table.add_row(f"CC, {task}", f"{score:.4f}", f"{new.scores[task]:.4f}", "")
    return table


def main() -> None:
    """Entry point; see the module's help."""
    parser = harness.command_line("tests.benchmarks.default_run", __doc__)
    parser.add_argument("--commit", default=BASE, help="the earlier commit (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/sjtu-tis"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("overrides", nargs="*", help="of the configuration, which both sides know")
    given = parser.parse_args()
    overrides = [*(QUICK if given.quick else [f"data.root={given.data.resolve()}"]), *given.overrides]
    console = harness.output()
    for line in harness.describe_machine(("torch", "timm", "transformers", "lightning")):
        console.print(line, markup=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = folder / "before"
        subprocess.run(["git", "worktree", "add", "--detach", str(before), given.commit], cwd=ROOT, check=True)
        try:
            sides = {}
            for label, source in ((given.commit, before), ("now", ROOT)):
                runs = folder / "runs" / label.replace("/", "-")
                texted = measure(source, runs / "texted", runs / "caches", overrides)
                console.print(f"{label}: {texted}", markup=False)
                without = [*overrides, "model/text_encoder=none"]
                untexted = measure(source, runs / "untexted", runs / "caches", without)
                console.print(f"{label}, without text: {untexted}", markup=False)
                sides[label] = texted, untexted
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(before)], cwd=ROOT, check=True)
    console.print(report(sides))


if __name__ == "__main__":
    main()
