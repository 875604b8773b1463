"""How much faster scoring, decoding and predicting are than at an earlier commit, measured in turns in one run.

    python -m tests.benchmarks.before                        # beside commit 6fbce6a, medians of three
    python -m tests.benchmarks.before --only scoring --rounds 5
    python -m tests.benchmarks.before --commit HEAD~1 --data data/sjtu-tis

The other commit is checked out into a temporary worktree. Every measurement is a process of its own. Scoring is timed
by the clock, on one thread and on two; decoding and predicting by the processor's time, which depends less on what else
the machine does.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
SIX = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled")
SIZE = (288, 384)
BASE = "6fbce6a"
PHOTOS = 20
TEXTS = ("a lamp", "a dog")


def scoring(threads: int) -> float:
    """Milliseconds that six metrics of a map of 288x384 take, in a batch of 32 with 50,000 negatives each."""
    import torch
    from torch.nn import functional as F

    metrics = import_module("saltext.metrics")
    torch.set_num_threads(threads)
    random = torch.Generator().manual_seed(0)
    pred, density = (
        torch.sigmoid(2 * F.interpolate(torch.randn(32, 1, 9, 12, generator=random), SIZE, mode="bicubic") - 2)
        for _ in range(2)
    )
    extent = torch.tensor(SIZE)
    fixations, others = (
        metrics.Fixations.from_points(
            [(torch.rand(number, 2, generator=random) * extent).long() for _ in range(32)], SIZE, name
        )
        for number, name in ((170, "fixations"), (50_000, "others"))
    )
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        metrics.score(pred, density, fixations, SIX, others=others)
        seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[1:]) / 32


def decoding(data: Path) -> tuple[float, float]:
    """Seconds of the processor that decoding SJTU-TIS takes, and the MB that the arrays take on the disk."""
    if find_spec("saltext.data.sources") is None:
        pairs = import_module("saltext.data.sjtu_tis").read_index(data)
    else:
        pairs = import_module("saltext.data.sources.sjtu_tis").SjtuTis(data).read().pairs
    cache = import_module("saltext.data.cache")
    with tempfile.TemporaryDirectory() as folder:
        before = _processor(resource.RUSAGE_SELF)
        decoded = cache.open_cache(pairs, cache.CacheSettings(SIZE, SIZE), Path(folder))
        seconds = _processor(resource.RUSAGE_SELF) - before
        files = list(Path(decoded.folder).iterdir())
        return seconds, sum(path.stat().st_size for path in files) / 1e6


def predicting(source: Path, photos: Path, options: Sequence[str]) -> float:
    """Seconds of the processor that predicting 20 photos with two texts takes, all of the command."""
    module = "saltext" if (source / "saltext" / "commands").is_dir() else "saltext.predict"
    words = ["-m", module, *(["predict"] if module == "saltext" else []), str(photos), *options]
    with tempfile.TemporaryDirectory() as folder:
        for text in TEXTS:
            words += ["--text", text]
        before = _processor(resource.RUSAGE_CHILDREN)
        _python(source, [*words, "--out", folder])
        return _processor(resource.RUSAGE_CHILDREN) - before


def _processor(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def _python(source: Path, words: Sequence[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(source), "WANDB_MODE": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with status {done.returncode} in {source}")
    return done.stdout


def _in_process(source: Path, *what: object) -> list[float]:
    """What ``--measure`` prints in a process with the code of a side."""
    said = _python(source, [__file__, "--measure", *map(str, what)])
    found: list[float] = json.loads(said.splitlines()[-1])
    return found


def measure(now: Path, before: Path, data: Path | None, photos: Path, only: str) -> dict[str, tuple[float, float]]:
    """Measure both sides once: what is measured -> its number at the earlier commit, and now."""
    found = {}
    for threads in (1, 2) if only in "scoring" else ():
        (old,), (new,) = (_in_process(source, "scoring", threads) for source in (before, now))
        found[f"scoring: six metrics, ms a map, {threads} thread{'s' * (threads > 1)}"] = old, new
    if only in "decoding" and data is not None:
        (old, old_size), (new, new_size) = (_in_process(source, "decoding", data) for source in (before, now))
        found["decoding: SJTU-TIS, s of the processor"] = old, new
        found["decoding: SJTU-TIS, MB on the disk"] = old_size, new_size
    if only in "predicting":
        old = predicting(before, photos, ())
        for inference in ("reference", "fp32"):
            new = predicting(now, photos, ("--inference", inference))
            found[f"predicting: 20 photos, two texts, s of the processor, {inference}"] = old, new
    return found


def main() -> None:
    """Entry point; see the module's help."""
    if sys.argv[1:2] == ["--measure"]:
        what, argument = sys.argv[2:]
        print(json.dumps([scoring(int(argument))] if what == "scoring" else decoding(Path(argument))))
        return
    from rich.table import Table

    from tests.benchmarks import harness, start

    parser = harness.command_line("tests.benchmarks.before", __doc__)
    parser.add_argument("--commit", default=BASE, help="the earlier commit (%(default)s)")
    parser.add_argument("--rounds", type=harness.positive, default=3)
    parser.add_argument("--data", type=Path, default=Path("data/sjtu-tis"), help="without it nothing is decoded")
    parser.add_argument("--only", default="", choices=("scoring", "decoding", "predicting"), help="one of them alone")
    given = parser.parse_args()
    data = given.data.resolve() if (given.data / "map_1800").is_dir() else None
    for line in harness.describe_machine(("torch", "numpy", "pillow", "timm")):
        print(line)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = folder / "before"
        subprocess.run(["git", "worktree", "add", "--detach", str(before), given.commit], cwd=ROOT, check=True)
        try:
            start.commands(folder, None)  # writes the photos
            turns = [measure(ROOT, before, data, folder / "photos", given.only) for _ in range(given.rounds)]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(before)], cwd=ROOT, check=True)
    table = Table(f"median of {given.rounds}", given.commit, "now", "times as fast")
    for what in turns[0]:
        old, new = (median(turn[what][side] for turn in turns) for side in (0, 1))
        table.add_row(what, f"{old:.2f}", f"{new:.2f}", f"{old / new:.2f}")
    harness.output().print(table)


if __name__ == "__main__":
    main()
