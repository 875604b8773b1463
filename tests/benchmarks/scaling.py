"""What training and testing cost with more pairs, larger images, other batches and two processes.

    python -m tests.benchmarks.scaling                    # half an hour, half of it for 18,000 pairs
    python -m tests.benchmarks.scaling --only pairs --most 1800
    python -m tests.benchmarks.scaling --quick            # tiny: does it run here?

Each line is a whole run of GroundedGaze (preset=embedded, two epochs) on generated data, from nothing: decoding,
features of the frozen encoders, training, test with text ablation. Image sizes are varied at 900 pairs, batches and
processes at 900 pairs of 128x160 pixels. Memory is the largest anonymous memory of all processes of a run together.
"""

import tempfile
from pathlib import Path

from rich.table import Table

from saltext.data.synthetic import generate
from tests.benchmarks import harness
from tests.benchmarks.default_run import ROOT, measure

PAIRS = (300, 900, 1800, 18_000)
PAIRS_AN_IMAGE = 3
SMALL = (128, 160)
GROUPS: dict[str, dict[str, tuple[int, tuple[str, ...]]]] = {
    "pairs": {f"{number:,} pairs": (number, ()) for number in PAIRS},
    "sizes": {
        f"{rows}x{columns} pixels": (
            900,
            (f"data.image_size=[{rows},{columns}]", f"data.map_size=[{rows // 8},{columns // 8}]"),
        )
        for rows, columns in ((256, 320), (512, 640))
    },
    "batches": {f"batch {size}": (900, (f"data.batch_size={size}",)) for size in (4, 64)},
    "processes": {
        "2 processes": (900, ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "data.batch_size=8"))
    },
}
"""Group -> what is varied -> pairs, and overrides."""


def main() -> None:
    """Entry point; see the module's help."""
    parser = harness.command_line("tests.benchmarks.scaling", __doc__)
    parser.add_argument("--only", choices=GROUPS, help="one of the groups")
    parser.add_argument("--most", type=harness.positive, default=max(PAIRS), help="leave out runs of more pairs")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    console = harness.output()
    for line in harness.describe_machine(("torch", "timm", "transformers", "lightning")):
        console.print(line, markup=False)
    base = [f"data.image_size=[{SMALL[0]},{SMALL[1]}]", f"data.map_size=[{SMALL[0] // 8},{SMALL[1] // 8}]"]
    base += ["trainer.max_epochs=2", "data.batch_size=16", "evaluation.baselines=[]"]
    columns = ("total, s", "ms a pair", "processor, s", "test, s", "memory, MiB", "caches, MB")
    table = Table("", *columns, title="a run of two epochs from nothing")
    with tempfile.TemporaryDirectory() as name:
        for group in GROUPS if given.only is None else (given.only,):
            for place, (label, (pairs, overrides)) in enumerate(GROUPS[group].items()):
                if pairs > given.most:
                    continue
                number = 120 if given.quick else pairs
                data = Path(name) / f"data-{number}"
                if not data.is_dir():
                    generate(data, images=number // PAIRS_AN_IMAGE)
                small = ["preset=smoke", "model=grounded_gaze"] if given.quick else base
                run = Path(name) / f"{group}-{place}"
                found = measure(ROOT, run / "run", run / "caches", [f"data.root={data}", *small, *overrides])
                row = (
                    found.clock,
                    1000 * found.clock / number,
                    found.processor,
                    found.test,
                    found.memory,
                    found.caches,
                )
                console.print(
                    f"{label}: " + ", ".join(f"{value:,.0f} ({what})" for what, value in zip(columns, row, strict=True))
                )
                table.add_row(label, *(f"{value:,.1f}" for value in row))
    console.print(table)


if __name__ == "__main__":
    main()
