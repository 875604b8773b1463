"""How fast networks train, next to the authors' way of training them, in the same run.

    python -m tests.benchmarks.training                  # a quarter of an hour on a few cores
    python -m tests.benchmarks.training --quick          # tiny networks: does it run here?
    python -m tests.benchmarks.training --blip --network tranblend
    python -m tests.benchmarks.training --batches 1 2 4 8 --rounds 3    # two hours

For TranSalNet-Dense and TranBlend at 288x384 and for CLIP-SalGAN at 256x256: images per second and peak memory of a
training step (forward, all terms of the loss, backward, the optimizer), as the authors take it, and in one batch in
float32 and bfloat16, channels first and last, and compiled. Each ratio is printed when it is known, and tables at the
end of each network; then what arithmetic the step needs next to what the machine does at best, where the time goes, and
how far the gradients are from the authors'. What frozen encoders cost the embedded model, computed and read back, comes
second.

Each number comes from a process of its own, so that peak memory is that of one way alone, the loaded libraries (about
1 GiB) included. With several rounds the ways take turns and the median counts; batch sizes and compiled ways are tried
once. A batch that would not fit into the memory that is free is left out. The text feature is a given one unless --blip
is, so that the saliency network is what is measured. --quick measures all in one process.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks import harness
from tests.benchmarks.frozen import ALL_COMPUTED, FrozenCost, frozen_cost
from tests.benchmarks.steps import (
    KINDS,
    Model,
    Outcome,
    Precision,
    Trial,
    Way,
    available_memory,
    count_flop,
    gradient_difference,
    matmul_peak,
    measure,
    time_by_kind,
)

AUTHORS = Way(authors=True)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
EAGER = tuple(Way(precision, last) for precision in reversed(PRECISIONS) for last in (True, False))
"""The fastest ones first."""

NETWORKS = (Model("transalnet"), Model("tranblend"), Model("clip_salgan"))
EMBEDDED = Model("tranblend", "embedded", reads=True)

GRADIENT_IMAGES = 2
"""Of the batch whose gradients are compared."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        models: Networks.
        frozen: Network with frozen encoders.
        frozen_batch: Its batch size.
        batches: Sizes of the batch to choose from, ascending.
        images: Images to time in each process; the authors' way takes them as one step.
        rounds: Of which the median counts.
        compiles: Whether the fastest way is also measured compiled.
        matmul_size: Side of the matrices whose product measures the machine's best rate.
        threads: Of PyTorch.
        device: Where.
        alone: Whether each number comes from a process of its own.
    """

    models: Sequence[Model] = NETWORKS
    frozen: Model = EMBEDDED
    frozen_batch: int = 16
    batches: Sequence[int] = (4,)
    images: int = 4
    rounds: int = 1
    compiles: bool = True
    matmul_size: int = 4096
    threads: int = field(default_factory=torch.get_num_threads)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    alone: bool = True

    def trial(self, model: Model, way: Way, batch: int) -> Trial:
        """Take a way with a batch size."""
        return Trial(model, way, batch, max(batch, self.images), self.device, self.threads, self.alone)


Sizes = dict[int, Outcome]
"""Outcomes by batch size."""


Say = Callable[[str], None]
"""Prints a line."""


def try_batches(plan: Plan, model: Model, way: Way, say: Callable[[int, Outcome], None]) -> Sizes:
    """Outcome of each batch size, also said; what would not fit into the free memory is not tried."""
    outcomes: Sizes = {}
    needed = 0.0
    for batch in plan.batches:
        free = available_memory(plan.device)
        if needed * batch > free:
            outcomes[batch] = Outcome(failure=f"{needed * batch:,.0f} MiB expected, {free:,.0f} MiB free")
        else:
            outcomes[batch] = measure(plan.trial(model, way, batch))
            # More than in proportion to the batch it will not be.
            needed = (outcomes[batch].memory or 0.0) / batch
        say(batch, outcomes[batch])
    return outcomes


def best_batch(outcomes: Mapping[int, Outcome]) -> int | None:
    """Size with the highest rate; None if all failed."""
    worked = [batch for batch, outcome in outcomes.items() if not outcome.failure]
    return max(worked, key=lambda batch: outcomes[batch].rate, default=None)


def fastest(measured: Mapping[Trial, Outcome]) -> Trial | None:
    """The trial with the highest rate; None if all failed."""
    worked = [trial for trial, outcome in measured.items() if not outcome.failure]
    return max(worked, key=lambda trial: measured[trial].rate, default=None)


def take_turns(first: Mapping[Trial, Outcome], rounds: int) -> dict[Trial, Outcome]:
    """Outcomes with the median rate of several rounds, the given first one included, and the highest memory.

    What failed once is not tried again.
    """
    seen = {trial: [outcome] for trial, outcome in first.items()}
    for _ in range(rounds - 1):
        for trial, outcomes in seen.items():
            if not any(outcome.failure for outcome in outcomes):
                outcomes.append(measure(trial))
    return {trial: _together(outcomes) for trial, outcomes in seen.items()}


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    failed = next((outcome for outcome in outcomes if outcome.failure), None)
    memories = [outcome.memory for outcome in outcomes if outcome.memory is not None]
    return failed or Outcome(median(outcome.rate for outcome in outcomes), max(memories, default=None))


def report(plan: Plan, console: Console) -> None:
    """Measure everything and print it, each ratio and each table as soon as it is there."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    for line in _machine(plan):
        say(line)
    measured = {model: _rates(plan, model, say) for model in plan.models[:1]}
    with tempfile.TemporaryDirectory() as folder:
        cost = frozen_cost(plan.frozen, plan.frozen_batch, plan.rounds, plan.device, Path(folder))
    console.print(_frozen_table(plan, cost))
    measured |= {model: _rates(plan, model, say) for model in plan.models[1:]}
    if plan.compiles:  # last, for compiling takes minutes
        for model, (_, outcomes) in measured.items():
            _measure_compiled(model, outcomes, say)
    peaks = {precision: matmul_peak(precision, plan.matmul_size, plan.device) for precision in PRECISIONS}
    for model, (tried, outcomes) in measured.items():
        for table in _tables(plan, model, tried, outcomes, peaks):
            console.print(table)


def _machine(plan: Plan) -> list[str]:
    return [
        *harness.describe_machine(("torch", "numpy", "timm", "transformers")),
        f"on {plan.device}, {plan.threads} thread{'s' * (plan.threads > 1)}; median of {plan.rounds} rounds",
    ]


def _rates(plan: Plan, model: Model, say: Say) -> tuple[dict[Way, Sizes], dict[Trial, Outcome]]:
    """Outcomes by way and batch size, of one round, and those of each way's best size, of all rounds."""
    authors = plan.trial(model, AUTHORS, plan.images)
    measured = {authors: measure(authors)}

    said = partial(_say_ratio, say, model, measured[authors])
    said(AUTHORS, plan.images, measured[authors])
    tried = {way: try_batches(plan, model, way, partial(said, way)) for way in EAGER}
    for way, outcomes in tried.items():
        batch = best_batch(outcomes)
        if batch is not None:
            measured[plan.trial(model, way, batch)] = outcomes[batch]
    return tried, take_turns(measured, plan.rounds)


def _say_ratio(say: Say, model: Model, authors: Outcome, way: Way, batch: int, outcome: Outcome) -> None:
    ratio = f"{outcome.rate:.2f} images/s, {outcome.rate / authors.rate:.2f} times the authors'"
    say(f"{model.title}: {way.title}, batch {batch}: {outcome.failure or ratio}")


def _measure_compiled(model: Model, measured: dict[Trial, Outcome], say: Say) -> None:
    """Add the fastest of our ways, compiled; the first trial is the authors'."""
    authors, *ours = measured
    eager = fastest({trial: measured[trial] for trial in ours})
    if eager is not None:
        compiled = replace(eager, way=replace(eager.way, compiled=True))
        measured[compiled] = measure(compiled)
        _say_ratio(say, model, measured[authors], compiled.way, compiled.batch, measured[compiled])


def _tables(
    plan: Plan,
    model: Model,
    tried: Mapping[Way, Sizes],
    measured: Mapping[Trial, Outcome],
    peaks: Mapping[Precision, float],
) -> Iterator[Table]:
    if len(plan.batches) > 1:
        yield _batches_table(plan, model, tried)
    yield _rates_table(model, list(measured), list(measured.values()), peaks)
    best = fastest({trial: outcome for trial, outcome in measured.items() if not trial.way.compiled})
    if best is not None:
        yield _time_table(model, list(dict.fromkeys([*[*measured][:1], best])))
    if model.name != "clip_salgan":  # whose authors' step has the same gradients
        yield _gradients_table(plan, model)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left")
    return table


def _batches_table(plan: Plan, model: Model, tried: Mapping[Way, Sizes]) -> Table:
    sizes = [f"batch {batch}" for batch in plan.batches]
    table = _table(f"{model.title}: images per second by batch size, one round", "way", *sizes)
    for way, outcomes in tried.items():
        table.add_row(way.title, *(outcome.failure or f"{outcome.rate:.2f}" for outcome in outcomes.values()))
    return table


def _rates_table(
    model: Model, trials: Sequence[Trial], outcomes: Sequence[Outcome], peaks: Mapping[Precision, float]
) -> Table:
    flop = count_flop(trials[0])
    table = _table(
        f"{model.title}: a training step, {flop / 1e9:,.0f} GFLOP an image in convolutions and matrix products",
        *("way", "images a step", "images/s", "times the authors'", "peak, MiB"),
        *("GFLOP/s", "GFLOP/s of a matrix product", "share"),
    )
    for trial, outcome in zip(trials, outcomes, strict=True):
        speed, peak = flop * outcome.rate, peaks[trial.way.precision]
        rates = [f"{outcome.rate:.2f}", f"{outcome.rate / outcomes[0].rate:.2f}", _mebibytes(outcome.memory)]
        speeds = [f"{speed / 1e9:,.0f}", f"{peak / 1e9:,.0f}", f"{speed / peak:.0%}"]
        cells = [f"skipped: {outcome.failure}"] if outcome.failure else [*rates, *speeds]
        table.add_row(trial.way.title, str(trial.batch), *cells)
    return table


def _mebibytes(memory: float | None) -> str:
    return "not reported by this system" if memory is None else f"{memory:,.0f}"


def _time_table(model: Model, trials: Sequence[Trial]) -> Table:
    table = _table(f"{model.title}: share of a step's time by kind of operation", "way", *KINDS)
    for trial in trials:
        shares = time_by_kind(trial)
        table.add_row(trial.way.title, *(f"{shares[kind]:.0%}" for kind in KINDS))
    return table


def _gradients_table(plan: Plan, model: Model) -> Table:
    table = _table(
        f"{model.title}: relative difference of gradients, one batch of {GRADIENT_IMAGES} against one image at a time "
        "(BatchNorm in evaluation mode: in training mode the authors' one sees one image)",
        "precision",
        "of all gradients",
        "largest of a parameter tensor",
    )
    for precision in ("float64", *PRECISIONS):
        off = gradient_difference(plan.trial(model, Way(precision), GRADIENT_IMAGES))
        table.add_row(precision, f"{off.whole:.1e}", f"{off.worst:.1e}")
    return table


def _frozen_table(plan: Plan, cost: FrozenCost) -> Table:
    table = _table(
        f"{plan.frozen.title}, frozen encoders, batch {plan.frozen_batch}: an epoch's time by image",
        "what",
        "ms an image",
        "speed-up",
    )
    for way, seconds in cost.steps.items():
        table.add_row(way, f"{1000 * seconds:.2f}", f"{cost.steps[ALL_COMPUTED] / seconds:.2f}")
    table.add_section()
    for part, seconds in cost.parts.items():
        table.add_row(part, f"{1000 * seconds:.2f}")
    table.add_section()
    table.add_row("once: image features computed and kept", f"{1000 * cost.first:.2f}")
    table.caption = f"{cost.disk / 2**20:.2f} MiB an image on disk"
    return table


def _plan(arguments: Sequence[str]) -> Plan:
    parser = harness.command_line("tests.benchmarks.training", __doc__)
    default = Plan()
    names = [model.name for model in default.models]
    parser.add_argument("--quick", action="store_true", help="tiny networks, small images, one round, not compiled")
    parser.add_argument("--network", choices=names, help="one of the networks (default: all)")
    parser.add_argument("--blip", action="store_true", help="TranBlend with BLIP-large, nine tenths of it fixed")
    parser.add_argument(
        "--batches", type=harness.positive, nargs="+", metavar="SIZE", help=f"sizes to try {default.batches}"
    )
    parser.add_argument("--rounds", type=harness.positive, help=f"rounds of which the median counts ({default.rounds})")
    parser.add_argument("--no-compile", dest="compiles", action="store_false", help="leave compiled steps out")
    parser.add_argument("--threads", type=harness.positive, default=default.threads, help="(%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    given = parser.parse_args(arguments)
    plan = _shortened(default) if given.quick else default
    models = [model for model in plan.models if given.network in (None, model.name)]
    return replace(
        plan,
        models=[replace(model, reads=given.blip and model.name == "tranblend") for model in models],
        batches=sorted(given.batches or plan.batches),
        rounds=given.rounds or plan.rounds,
        compiles=given.compiles and plan.compiles,
        threads=given.threads,
        device=torch.device(given.device),
    )


def _shortened(plan: Plan) -> Plan:
    return replace(
        plan,
        models=[replace(model, preset="smoke") for model in plan.models],
        frozen=replace(plan.frozen, preset="smoke"),
        frozen_batch=4,
        batches=(1, 2),
        images=2,
        rounds=1,
        compiles=False,
        matmul_size=256,
        alone=False,
    )


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; the exit status."""
    plan = _plan(arguments)
    torch.set_num_threads(plan.threads)
    return harness.exit_status(partial(report, plan))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
