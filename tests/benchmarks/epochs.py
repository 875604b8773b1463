"""How long epochs of the default run take with the feature cache, and without it or at another commit.

    python -m tests.benchmarks.epochs data.root=data/sjtu-tis                    # with the cache and without it
    git worktree add ../base 6fbce6a
    python -m tests.benchmarks.epochs --against ../base data.root=data/sjtu-tis  # this commit and that one
    python -m tests.benchmarks.epochs --steps 16 --batches 4 data.root=...       # shorter epochs

The sides take turns, each with --epochs epochs (3) in a process of its own, of which the first is not counted: it fills
the caches. Prints seconds by the clock and of the processor (user and system, without the loader's process), and a
digest of the weights. Needs the machine for itself.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WITH, WITHOUT, AGAINST = "with the cache", "without the cache", "the other checkout"


def measure(folder: Path, epochs: int, steps: int, batches: int, overrides: list[str]) -> None:
    """Train in this process and print a JSON line an epoch."""
    import lightning as L
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf, open_dict

    try:
        from saltext.runs import build_training
        from saltext.system.run_folder import RunFolder
    except ImportError:  # a checkout of an earlier layout
        build_training, RunFolder = import_module("saltext.build"), import_module("saltext.run_folder").RunFolder

    # Not by a function of the suite: the other checkout may have none of its name.
    with initialize_config_dir(str(Path(os.environ["PYTHONPATH"]).absolute() / "conf"), version_base="1.3"):
        whole = compose("config", [*overrides, f"trainer.max_epochs={epochs}"], return_hydra_config=True)
    HydraConfig.instance().cfg = whole  # type: ignore[assignment]
    cfg = OmegaConf.masked_copy(whole, [key for key in whole if key != "hydra"])
    OmegaConf.resolve(cfg)
    with open_dict(cfg):
        cfg.trainer.update({"limit_train_batches": steps or 1.0, "limit_val_batches": batches or 1.0})
        cfg.callbacks = {}
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    module, data = build_training.module(cfg), build_training.datamodule(cfg)
    data.prepare_data()
    data.setup()
    if module is None:
        raise SystemExit("expected a model with a network, got model=baselines")

    class Clock(L.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            self.start = time.perf_counter(), _processor()

        def on_train_epoch_end(self, *_: Any) -> None:
            clock, processor = self.start
            print(json.dumps([time.perf_counter() - clock, _processor() - processor]), flush=True)

    trainer = build_training.trainer(cfg, RunFolder(folder), validates=True)
    trainer.callbacks.append(Clock())  # type: ignore[attr-defined]
    trainer.fit(module, datamodule=data)
    digest = hashlib.sha256()
    for name, value in sorted(module.network.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    print(json.dumps(digest.hexdigest()[:12]), flush=True)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(side: str, options: argparse.Namespace, folder: Path, epochs: int) -> tuple[list[list[float]], str]:
    """Seconds of each epoch of a side, and the digest of its weights."""
    from saltext.system.environment import KEEP_MEMORY, SPIN_BRIEFLY  # the other checkout may not have it

    source = options.against if side == AGAINST else ROOT
    caches = folder / ("other" if side == AGAINST else "own")
    overrides = [*options.overrides, f"output_dir={folder}", f"data.cache_dir={caches}"]
    overrides += ["cache_features=false"] if side == WITHOUT else []
    command = [sys.executable, __file__, "--measure", str(epochs), "--steps", str(options.steps)]
    command += ["--batches", str(options.batches), *overrides]
    # What the command of each side sets: that of the other commit has kept memory from early on, but let threads spin.
    environment = {**KEEP_MEMORY, **({} if side == AGAINST else SPIN_BRIEFLY), **os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", '"'))]
    return lines[:-1], lines[-1]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="a checkout of another commit, in place of the run without cache")
    parser.add_argument("--rounds", type=int, default=2, help="times each side is measured")
    parser.add_argument("--epochs", type=int, default=3, help="of each side, the first of which is not counted")
    parser.add_argument("--steps", type=int, default=0, help="training batches an epoch; 0: all")
    parser.add_argument("--batches", type=int, default=0, help="validation batches; 0: all")
    parser.add_argument("--measure", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    options = parser.parse_args()
    if options.measure:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), options.measure, options.steps, options.batches, options.overrides)
        return
    sides = [WITH, WITHOUT if options.against is None else AGAINST]
    seconds: dict[str, list[list[float]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for side in sides:
                epochs, weights = run(side, options, Path(folder), options.epochs)
                seconds[side] += epochs[1:]
                print(f"round {number + 1}, {side}: {epochs} weights {weights}", flush=True)
    medians = {
        side: [statistics.median(column) for column in zip(*found, strict=True)] for side, found in seconds.items()
    }
    for side, (clock, processor) in medians.items():
        print(f"{side}: {clock:.1f} s an epoch, {processor:.1f} s of the processor")
    ratios = [other / own for own, other in zip(*(medians[side] for side in sides), strict=True)]
    print(f"{sides[1]} takes {ratios[0]:.2f} times as long ({ratios[1]:.2f} times as much of the processor)")


if __name__ == "__main__":
    main()
