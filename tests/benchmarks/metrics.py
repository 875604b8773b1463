"""How fast the metrics are, next to pysaliency and to the papers' way of computing them, in the same run.

    python -m tests.benchmarks.metrics             # some minutes
    python -m tests.benchmarks.metrics --quick     # one size, few rounds
    python -m tests.benchmarks.metrics --threads 1 --rounds 15

Prints images per second of each metric and of the six standard ones together, at the size of the papers' input and at
that of the data set's images; how the time of all six grows with the image's size, its fixations and the batch; and the
memory a batch takes. Both sides take turns, several rounds, and the median counts, so that what else the machine does
meets both alike: the ratios are worth more than the rates.

saltext scores float32 maps in batches, on one thread and on all. pysaliency gets float64 maps, one image at a time, by
the fastest of its functions, on the one thread that it uses; scikit-learn likewise.
"""

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from saltext.metrics import METRICS, Fixations, score
from tests.benchmarks import harness
from tests.benchmarks.oracles import Image, PapersLoop, Points, PySaliency

Size = tuple[int, int]

SIX = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled")
PAPERS = {"top20_auc": "top20_auc", "top20_sauc": "top20_sauc_sampled"}
"""The papers' metrics, each with what their scripts compute: sAUC is sampled there, and its expectation is ours."""

FIXATIONS = 170
"""Of one pair of SJTU-TIS, about."""
NEGATIVES = 50_000
"""Fixations on the 299 other images of one condition, about."""
LOOP_IMAGES = 4
"""The scikit-learn loop takes so long that it gets a part of the batch."""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    sizes: Sequence[Size] = ((288, 384), (480, 640))
    batch: int = 32
    rounds: int = 7
    threads: int = field(default_factory=torch.get_num_threads)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    growth_sizes: Sequence[Size] = ((144, 192), (288, 384), (480, 640), (960, 1280))
    growth_fixations: Sequence[int] = (10, 170, 1000, 5000)
    growth_batches: Sequence[int] = (1, 8, 32, 128)


@dataclass(frozen=True)
class Inputs:
    """A batch as the metrics take it, and its images as the others take them."""

    pred: Tensor
    density: Tensor
    fixations: Fixations
    others: Fixations
    images: Sequence[tuple[Image, Image, Points, Points]]

    def score(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Scores of the batch."""
        return score(self.pred, self.density, self.fixations, names, others=self.others)


def generate(
    size: Size,
    batch: int,
    fixations: int = FIXATIONS,
    negatives: int = NEGATIVES,
    device: torch.device | str = "cpu",
) -> Inputs:
    """Smooth maps without ties, fixations drawn from the truth, and negatives drawn around the centre.

    Args:
        size: Height and width.
        batch: Number of images.
        fixations: Of each image.
        negatives: Of each image.
        device: Of the metrics' inputs.
    """
    random = torch.Generator().manual_seed(0)
    pred, density = (_smooth(size, batch, random) for _ in range(2))
    looked = [_drawn_from(image, fixations, random) for image in density[:, 0]]
    elsewhere = [_around_centre(size, negatives, random) for _ in range(batch)]
    return Inputs(
        pred.to(device),
        density.to(device),
        Fixations.from_points(looked, size).to(device),
        Fixations.from_points(elsewhere, size, "others").to(device),
        [
            (p.double().numpy(), g.double().numpy(), f.numpy(), o.numpy())
            for p, g, f, o in zip(pred[:, 0], density[:, 0], looked, elsewhere, strict=True)
        ],
    )


def _smooth(size: Size, batch: int, random: torch.Generator) -> Tensor:
    hills = torch.randn(batch, 1, 9, 12, generator=random)
    return torch.sigmoid(2 * F.interpolate(hills, size=size, mode="bicubic") - 2)


def _drawn_from(density: Tensor, number: int, random: torch.Generator) -> Tensor:
    pixel = torch.multinomial(density.flatten(), number, replacement=True, generator=random)
    return torch.stack([pixel // density.shape[1], pixel % density.shape[1]], dim=1)


def _around_centre(size: Size, number: int, random: torch.Generator) -> Tensor:
    extent = torch.tensor(size)
    place = (0.5 + 0.2 * torch.randn(number, 2, generator=random)).clamp(0, 1)
    return torch.minimum((place * extent).long(), extent - 1)


@dataclass(frozen=True)
class Row:
    """Images per second of one metric, or of several together.

    Attributes:
        title: What was computed.
        single: saltext on one thread.
        parallel: saltext on all threads.
        other: The other implementation.
    """

    title: str
    single: float
    parallel: float
    other: float

    def cells(self) -> list[str]:
        """The row of a table: rates, then how many times the other's."""
        rates = [f"{rate:,.0f}" for rate in (self.single, self.parallel, self.other)]
        return [self.title, *rates, *(f"{rate / self.other:.1f}" for rate in (self.single, self.parallel))]


def standard_rates(inputs: Inputs, plan: Plan) -> list[Row]:
    """The six standard metrics next to pysaliency, each and all together."""
    oracle = PySaliency()
    arguments: dict[str, Callable[[tuple[Image, Image, Points, Points]], tuple[Image | Points, ...]]] = {
        "density": lambda image: (image[0], image[1]),
        "fixations": lambda image: (image[0], image[2]),
        "others": lambda image: (image[0], image[2], image[3]),
    }

    def theirs(names: Iterable[str]) -> None:
        for image in inputs.images:
            for name in names:
                getattr(oracle, name)(*arguments[METRICS[name].needs[-1]](image))

    rows = [_row(METRICS[name].title, inputs, [name], partial(theirs, [name]), plan) for name in SIX]
    return [*rows, _row("all six", inputs, SIX, partial(theirs, SIX), plan)]


def papers_rates(inputs: Inputs, plan: Plan) -> list[Row]:
    """The papers' metrics next to a loop over scikit-learn's ROC curve."""
    loop = PapersLoop()
    part = inputs.images[:LOOP_IMAGES]

    def theirs(name: str) -> None:
        for pred, density, *_ in part:
            getattr(loop, name)(pred, density)

    return [
        _row(METRICS[ours].title, inputs, [ours], partial(theirs, other), plan, len(part))
        for ours, other in PAPERS.items()
    ]


def _row(
    title: str,
    inputs: Inputs,
    names: Sequence[str],
    theirs: Callable[[], object],
    plan: Plan,
    their_images: int | None = None,
) -> Row:
    calls = {
        "single": _on_threads(1, inputs, names),
        "other": theirs,
        "parallel": _on_threads(plan.threads, inputs, names),
    }
    seconds = harness.median_seconds(calls, plan.rounds)
    batch = len(inputs.images)
    return Row(
        title,
        single=batch / seconds["single"],
        parallel=batch / seconds["parallel"],
        other=(their_images or batch) / seconds["other"],
    )


def _on_threads(threads: int, inputs: Inputs, names: Sequence[str]) -> Callable[[], object]:
    def scored() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            inputs.score(names)
            if inputs.pred.is_cuda:
                torch.cuda.synchronize()
        finally:
            torch.set_num_threads(before)

    return scored


def growth(plan: Plan) -> dict[str, list[tuple[str, float]]]:
    """Milliseconds an image takes for all six metrics, by what is varied; the rest stays at the first size's values."""
    make = partial(generate, plan.sizes[0], plan.batch, device=plan.device)
    varied: dict[str, dict[str, Callable[[], Inputs]]] = {
        "image size": {
            f"{size[0]}x{size[1]}": partial(generate, size, plan.batch, device=plan.device)
            for size in plan.growth_sizes
        },
        "fixations": {str(number): partial(make, fixations=number) for number in plan.growth_fixations},
        "batch": {
            str(batch): partial(generate, plan.sizes[0], batch, device=plan.device) for batch in plan.growth_batches
        },
    }
    return {
        what: [(value, 1000 * _seconds_per_image(made(), plan)) for value, made in values.items()]
        for what, values in varied.items()
    }


def _seconds_per_image(inputs: Inputs, plan: Plan) -> float:
    call = _on_threads(plan.threads, inputs, SIX)
    return harness.median_seconds({"": call}, plan.rounds)[""] / len(inputs.images)


def peak_memory(size: Size, batch: int, threads: int) -> tuple[float, float] | None:
    """Memory in MiB of a batch's inputs, and what scoring all six metrics takes on top of that at most.

    Measured in a process of its own, since a process keeps its highest mark; None where the system does not tell.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (size, batch, threads))


def _peak_memory(size: Size, batch: int, threads: int) -> tuple[float, float] | None:
    torch.set_num_threads(threads)
    # The first call loads libraries and starts threads, which is no memory of the batch.
    generate((32, 32), 2 * threads).score(SIX)
    inputs = generate(size, batch)
    held = (inputs.pred, inputs.density, inputs.fixations.each.index, inputs.others.each.index)
    before = harness.peak_memory()
    inputs.score(SIX)
    after = harness.peak_memory()
    if before is None or after is None:
        return None
    return sum(t.numel() * t.element_size() for t in held) / 2**20, after - before


def synchronisations(size: Size, batch: int, device: torch.device) -> int:
    """How often scoring all six metrics of a batch waits for the GPU."""
    inputs = generate(size, batch, device=device)
    inputs.score(SIX)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            inputs.score(SIX)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    # The first use of the mode also says that it is a prototype, which "may not be fully effective at synchronizing".
    return sum("called a synchronizing CUDA operation" in str(warning.message) for warning in caught)


def report(plan: Plan, console: Console) -> None:
    """Measure everything and print it."""
    console.print(*_machine(plan), sep="\n", highlight=False)
    for size in plan.sizes:
        inputs = generate(size, plan.batch, device=plan.device)
        what = f"{size[0]}x{size[1]}, batch {plan.batch}, {FIXATIONS} fixations, {NEGATIVES} negatives"
        console.print(_rates_table(f"Images per second, {what}", "pysaliency", standard_rates(inputs, plan), plan))
        console.print(_rates_table(f"Images per second, {what}", "scikit-learn", papers_rates(inputs, plan), plan))
    for varied, values in growth(plan).items():
        table = Table(varied, "ms an image", title=f"All six metrics, by {varied}")
        for value, milliseconds in values:
            table.add_row(value, f"{milliseconds:.2f}")
        console.print(table)
    console.print(_gpu_table(plan) if plan.device.type == "cuda" else _memory_table(plan))


def _machine(plan: Plan) -> list[str]:
    return [
        *harness.describe_machine(("torch", "numpy", "pysaliency", "numba", "scikit-learn")),
        f"saltext on {plan.device}, 1 and {plan.threads} threads; the others on one; median of {plan.rounds} rounds",
    ]


def _rates_table(title: str, other: str, rows: Sequence[Row], plan: Plan) -> Table:
    ours = [f"saltext, {threads} thread{'s' * (threads > 1)}" for threads in (1, plan.threads)]
    table = Table(title=title)
    for heading in ("metric", *ours, other, "ratio, 1 thread", f"ratio, {plan.threads}"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for row in rows:
        table.add_row(*row.cells())
    return table


def _memory_table(plan: Plan) -> Table:
    table = Table("image size", "batch", "inputs, MiB", "on top, MiB", title="Peak memory of all six metrics")
    for size in plan.sizes:
        for batch in (1, plan.batch):
            measured = peak_memory(size, batch, plan.threads)
            cells = [f"{value:.0f}" for value in measured] if measured else ["not reported by this system"] * 2
            table.add_row(f"{size[0]}x{size[1]}", str(batch), *cells)
    return table


def _gpu_table(plan: Plan) -> Table:
    table = Table("image size", "batch", "waits for the GPU", "peak, MiB", title="All six metrics on the GPU")
    for size in plan.sizes:
        for batch in (1, plan.batch):
            torch.cuda.reset_peak_memory_stats(plan.device)
            waits = synchronisations(size, batch, plan.device)
            peak = torch.cuda.max_memory_allocated(plan.device) / 2**20
            table.add_row(f"{size[0]}x{size[1]}", str(batch), str(waits), f"{peak:.0f}")
    return table


def _plan(arguments: Sequence[str]) -> Plan:
    parser = harness.command_line("tests.benchmarks.metrics", __doc__)
    default = Plan()
    parser.add_argument("--quick", action="store_true", help="one size, few rounds, little growth")
    parser.add_argument("--batch", type=harness.positive, default=default.batch, help="images a batch (%(default)s)")
    parser.add_argument("--rounds", type=harness.positive, help=f"rounds of which the median counts ({default.rounds})")
    parser.add_argument(
        "--threads", type=harness.positive, default=default.threads, help="threads for saltext (%(default)s)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    given = parser.parse_args(arguments)
    plan = Plan(
        batch=given.batch,
        rounds=given.rounds or (3 if given.quick else default.rounds),
        threads=given.threads,
        device=torch.device(given.device),
    )
    return _shortened(plan) if given.quick else plan


def _shortened(plan: Plan) -> Plan:
    return replace(
        plan,
        sizes=plan.sizes[:1],
        growth_sizes=plan.growth_sizes[:2],
        growth_fixations=plan.growth_fixations[:2],
        growth_batches=plan.growth_batches[:2],
    )


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; the exit status."""
    plan = _plan(arguments)

    def on_one_thread(console: Console) -> None:
        PySaliency(), PapersLoop()  # says what is missing before anything is measured
        # numpy's BLAS waits for busy cores when it uses several threads. threadpoolctl comes with scikit-learn.
        with import_module("threadpoolctl").threadpool_limits(1, user_api="blas"):
            report(plan, console)

    return harness.exit_status(on_one_thread)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
