"""What a page says of runs by the maps their networks predict."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from saltext.reporting import calibration, extremes, swap_strips
from saltext.reporting.calibration import Calibration, calibrations
from saltext.reporting.extremes import Extreme
from saltext.reporting.page import Block, Charts, Grid, Heading, Paragraph, Strips
from saltext.reporting.predicted import Key
from saltext.reporting.shown_run import ShownRun

_SAME = 5e-4  # CC up to the third digit
_PEOPLE = "people's maps themselves"


@dataclass(frozen=True)
class Chosen:
    """What a page shows of a run's test pairs, chosen by its scores.

    Attributes:
        extremes: The best and worst pairs.
        swaps: Images under both texts -> what is said of each.
        rule: By which the images in ``swaps`` were chosen.
    """

    extremes: Sequence[Extreme]
    swaps: Mapping[str, str]
    rule: str

    @classmethod
    def of(cls, run: ShownRun) -> "Chosen":
        """By the scores of a run; nothing where it has none."""
        ends = extremes.extremes(run.own) if "cc" in run.own else []
        return cls(ends, *swap_strips.chosen(run.own, run.scores.text_effect))

    @property
    def keys(self) -> Collection[Key]:
        """The best and worst pairs."""
        return {one.key for one in self.extremes}


def best_and_worst(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """Pairs of the first run at the ends of its scores, with the maps of all runs."""
    found: list[Block] = [Heading("Best and worst pairs by CC")]
    if not chosen.extremes:
        return [*found, Paragraph(f"Not shown: {runs[0].name} has no CC of its test pairs.")]
    maps = {run.name: run.predicted.pairs for run in runs if run.predicted.pairs}
    ranks = f"Ranked by the CC of {runs[0].name}. " if len(runs) > 1 else ""
    found += _remarks(runs, ranks + "Maps are shown over the image in grey, each up to its own maximum.")
    if runs[0].missing:
        rows = [[one.task, one.rank, one.image_id, one.text, f"{one.cc:.3f}"] for one in chosen.extremes]
        return [*found, Grid(["task", "rank", "image", "text", "CC"], rows, frozenset({4}), grouped=True)]
    return [*found, *(_checked(run) for run in runs if run.predicted.pairs), *extremes.blocks(chosen.extremes, maps)]


def _remarks(runs: Sequence[ShownRun], said: str) -> list[Block]:
    """What is said of maps, and of which runs there are none."""
    lacking = [Paragraph(_lacking(run)) for run in runs if run.missing]
    return [*([Paragraph(said)] if len(lacking) < len(runs) else []), *lacking]


def _lacking(run: ShownRun) -> str:
    return (
        f"The maps of {run.name} are not here: {run.missing.rstrip('.')}. Where its data set and checkpoints are, "
        "saltext report FOLDER --data DIR adds them."
    )


def _checked(run: ShownRun) -> Block:
    """How far the maps shown are from those that were scored."""
    scored = run.own.set_index(["image_id", "task"])["cc"]
    gaps = [abs(maps.cc - float(scored[key])) for key, maps in run.predicted.pairs.items()]
    same = (
        "the maps that were scored" if max(gaps) < _SAME else "NOT the maps that were scored: data or weights changed"
    )
    return Paragraph(
        f"{run.name}: these {len(gaps)} maps were predicted again from its checkpoint. Their CC is within "
        f"{max(gaps):.1g} of its scores, so they are {same}."
    )


def exchanged_texts(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """Images under both texts and under none."""
    found: list[Block] = [Heading("One image, other texts")]
    if not chosen.swaps:
        return [*found, Paragraph("Not shown: no image was tested under a salient and a non_salient text.")]
    found += _remarks(runs, f"{chosen.rule} Predictions of one image share their colours.")
    for run in runs:
        name = run.name if len(runs) > 1 else ""
        strips = [swap_strips.strip(maps, chosen.swaps[maps.image_id], name) for maps in run.predicted.swaps]
        found += [Strips(strips)] if strips else []
        found += [Paragraph(f"{run.name} reads no text.")] if not strips and not run.missing else []
    return found


def calibrated(runs: Sequence[ShownRun]) -> list[Block]:
    """Whether predicted densities mean what they say."""
    known = {run.name: run.predicted.coverage for run in runs if len(run.predicted.coverage)}
    lacking = [Paragraph(_lacking(run)) for run in runs if run.missing and run.name not in known]
    blocks: list[Block] = [Heading("Calibration of the density"), *lacking]
    if not known:
        return blocks
    found = {name: calibrations(coverage) for name, coverage in known.items()}
    found[_PEOPLE] = calibrations(next(iter(known.values())), calibration.PEOPLE)
    by_task: dict[str, list[tuple[str, Calibration]]] = {}
    for name, several in found.items():
        for one in several:
            by_task.setdefault(one.task, []).append((name, one))
    charts = Charts([calibration.chart(task, several) for task, several in by_task.items()])
    rows = [row for task, several in by_task.items() for row in calibration.table_rows(task, several)]
    grid = Grid(calibration.HEADINGS, rows, frozenset(range(2, len(calibration.HEADINGS))), grouped=True)
    return [*blocks, Paragraph(calibration.NOTE), charts, grid]
