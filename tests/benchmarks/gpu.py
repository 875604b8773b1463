"""What a GPU does with saltext: the default run, waits in a training batch, the fastest training step.

    python -m tests.benchmarks.gpu                        # about eight minutes, a third of it for compiling
    python -m tests.benchmarks.gpu --only run waits
    python -m tests.benchmarks.gpu --quick --device cpu   # tiny, also without a GPU: does it run here?

The default run (GroundedGaze, five epochs, test with text ablation and baselines) starts from nothing on 900 generated
pairs of 640 pixels, with trainer=gpu; its target is 60 s in all. Waits are operations for which the host waits for the
device, in each training batch of two epochs, as torch warns of them; on the CPU the stand-in device of the tests counts
them. Once features are cached the target is 0. A step of TranSalNet-Dense at 288x384 in bfloat16, channels last, is
timed by batch size, compiled, and compiled with CUDA graphs; the target is 500 images/s.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from rich.console import Console

from saltext.console import quiet_libraries
from saltext.data.synthetic import generate
from saltext.runs import build_training
from tests import standin
from tests.benchmarks import harness
from tests.benchmarks.default_run import QUICK, ROOT, measure
from tests.benchmarks.steps import Model, Outcome, Way
from tests.benchmarks.steps import measure as measure_step
from tests.benchmarks.training import AUTHORS, Plan, Say, best_batch, try_batches
from tests.small_runs import composed
from tests.waits import Waits

PARTS = ("run", "waits", "steps")
PAIRS_AN_IMAGE = 3
BATCHES = (32, 64, 128)
FASTEST = Way("bfloat16", channels_last=True)
WAITING = {
    "GroundedGaze": ("model=grounded_gaze",),
    "TranBlend, embedded": ("model=tranblend", "preset=embedded"),
    "TranSalNet": ("model=transalnet", "preset=paper"),
}
"""Network -> overrides."""


def time_default_run(data: Path, folder: Path, overrides: Sequence[str], say: Say) -> None:
    """Train and test in a process of its own; says how long it took."""
    found = measure(ROOT, folder / "run", folder / "caches", [f"data.root={data}", *overrides])
    say(f"default run: {found.clock:.1f} s in all, {found.test:.1f} s of it for the test (target: 60 s)")


def count_waits(data: Path, folder: Path, overrides: Sequence[str], device: torch.device) -> dict[int, int]:
    """Most waits of a training batch by epoch, but for the last: after that losses and weights are looked at."""
    quiet_libraries()
    cfg = composed(f"data.root={data}", f"data.cache_dir={folder / 'caches'}", "data.val_fraction=0", *overrides)
    module, waits = build_training.module(cfg), Waits()
    if module is None:
        raise ValueError(f"expected a model with a network, got {overrides}")
    on_gpu = device.type == "cuda"
    with nullcontext() if on_gpu else standin.device("cuda"):
        trainer = Trainer(
            **({"accelerator": "gpu", "devices": 1} if on_gpu else standin.TRAINER),
            max_epochs=2, limit_val_batches=0, num_sanity_val_steps=0, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
            default_root_dir=folder, callbacks=[waits], gradient_clip_val=cfg.trainer.gradient_clip_val,
        )  # fmt: skip
        trainer.fit(module, datamodule=build_training.datamodule(cfg))
    last = {epoch: max(batch for of, batch in waits.of_batches if of == epoch) for epoch, _ in waits.of_batches}
    return {
        epoch: max(len(found) for (of, batch), found in waits.of_batches.items() if of == epoch and batch < last[epoch])
        for epoch in last
    }


def time_steps(plan: Plan, say: Say) -> None:
    """Say images per second of the authors' way and of ours, and the highest."""
    (model,) = plan.models
    authors = measure_step(plan.trial(model, AUTHORS, plan.images))
    say(f"{AUTHORS.title}: {authors.failure or f'{authors.rate:.1f} images/s'}")

    def tell(way: Way, batch: int, outcome: Outcome) -> None:
        rate = f"{outcome.rate:.1f} images/s, {outcome.rate / authors.rate:.1f} times the authors'"
        say(f"{way.title}, batch {batch}: {outcome.failure or rate}")

    tried = {FASTEST: try_batches(plan, model, FASTEST, partial(tell, FASTEST))}
    batch = best_batch(tried[FASTEST])
    if batch is None:
        return
    if plan.compiles:
        for graphs in (False, True):
            way = replace(FASTEST, compiled=True, graphs=graphs)
            tried[way] = {batch: measure_step(plan.trial(model, way, batch))}
            tell(way, batch, tried[way][batch])
    worked = [outcome.rate for outcomes in tried.values() for outcome in outcomes.values() if not outcome.failure]
    say(f"{model.title}: {max(worked):.1f} images/s at most (target: 500)")


def report(parts: Sequence[str], quick: bool, device: torch.device, console: Console) -> None:
    """Measure and print, each figure as soon as it is there."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    for line in harness.describe_machine(("torch", "timm", "transformers", "lightning")):
        say(line)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, size = (8, 160) if quick else (300, 640)
        if {"run", "waits"} & {*parts}:
            generate(folder / "data", images=images, size_range=(size, size))
            say(f"{images * PAIRS_AN_IMAGE} generated pairs, longer side {size} pixels")
        trained = "trainer=gpu" if device.type == "cuda" else "trainer=default"
        small = [part for part in QUICK if not part.startswith("data=")] if quick else []
        if "run" in parts:
            time_default_run(folder / "data", folder, [trained, *small], say)
        if "waits" in parts:
            for network, overrides in WAITING.items():
                sizes = ("preset=smoke",) if quick else ()
                kept = [part for part in overrides if not (quick and part.startswith("preset="))]
                counts = count_waits(folder / "data", folder, [*kept, *sizes], device)
                described = ", ".join(f"at most {count} in epoch {epoch + 1}" for epoch, count in counts.items())
                say(f"{network}: waits in a training batch: {described} (target: 0 once features are cached)")
    if "steps" in parts:
        plan = Plan(models=[Model("transalnet")], batches=BATCHES, images=8, device=device)
        if quick:
            plan = replace(plan, models=[Model("transalnet", "smoke")], batches=(1, 2), images=2, compiles=False)
        time_steps(plan, say)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; the exit status."""
    parser = harness.command_line("tests.benchmarks.gpu", __doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="some of the parts")
    parser.add_argument("--quick", action="store_true", help="few small images, tiny networks, not compiled")
    parser.add_argument("--device", default="cuda", help="(%(default)s)")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU, found none; --quick --device cpu shows whether the script runs")
    measured: Callable[[Console], None] = partial(report, given.only, given.quick, torch.device(given.device))
    return harness.exit_status(measured)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
