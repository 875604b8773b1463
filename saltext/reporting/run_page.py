"""The page of a run, or of two runs beside each other: what was found first, then pictures, tables, and
provenance. Its sections are those of a sweep's page, too."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from saltext.baselines import BASELINES
from saltext.data.tasks import in_order
from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.prediction.captions import quoted
from saltext.prediction.pictures import ImageRecord, tiles
from saltext.reporting import curves, figures, glossary, provenance, tables
from saltext.reporting.document import (
    Block,
    Command,
    Document,
    Figure,
    Figures,
    Heading,
    Paragraph,
    PictureGroup,
    Pictures,
    Subheading,
    Summary,
    Tile,
)
from saltext.reporting.figures import Point, Series
from saltext.reporting.grid import Grid
from saltext.results import calibration, selection, text_effect
from saltext.results.comparison import Difference, differences, estimate
from saltext.results.findings import findings, shown_metric
from saltext.results.means import published
from saltext.results.run_record import RunRecord, history
from saltext.results.score_table import RunScores, metric_names, of_protocol
from saltext.results.selection import Extreme, Key
from saltext.results.study import DATA_SET
from saltext.results.text_effect import TITLES, text_effects

GENERATED = "The data set is a generated one: these scores say nothing about real images or published values."
_HUMAN_MAPS = "human maps"
_SAME = 5e-4  # CC up to the third digit
_NUMBERED = 3  # pairs at either end of a scatter plot that get a number


NOTHING = RunScores(pd.DataFrame({"image_id": [], "task": [], "text": [], "model": [], "protocol": []}), pd.DataFrame())
"""Scores of a run that has not been tested."""


@dataclass(frozen=True)
class Predicted:
    """What was predicted again.

    Attributes:
        pairs: The pairs asked for that are test pairs of the run, with their CC, as a page needs them: small.
        swaps: The images asked for under both texts and under none, by each stage that tests one of the two.
        coverage: See :mod:`saltext.results.calibration`; empty if it was not asked for.
    """

    pairs: Mapping[Key, ImageRecord] = field(default_factory=dict)
    swaps: Sequence[ImageRecord] = ()
    coverage: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class ShownRun:
    """A run on a page.

    Attributes:
        record: Of the run.
        name: What it is called there; unique on the page.
        scores: Of its test pairs; without rows as long as there are none.
        predicted: What its network predicted again.
        missing: Why nothing was; empty if it was.
    """

    record: RunRecord
    name: str
    scores: RunScores
    predicted: Predicted = field(default_factory=Predicted)
    missing: str = ""

    @property
    def own(self) -> pd.DataFrame:
        """Scores of its own model, standard protocol."""
        return self.of_model(self.record.label)

    def of_model(self, title: str) -> pd.DataFrame:
        """Scores of a model or baseline, standard protocol."""
        pairs = of_protocol(self.scores.pairs, STANDARD)
        found: pd.DataFrame = pairs[pairs["model"] == title]
        return found


@dataclass(frozen=True)
class Chosen:
    """What a page shows of a run's test pairs, chosen by its scores.

    Attributes:
        extremes: The best and worst pairs.
        swaps: Images under both texts -> what is said of each.
        rule: By which the images in ``swaps`` were chosen.
    """

    extremes: Sequence[Extreme] = ()
    swaps: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""

    @classmethod
    def of(cls, run: ShownRun) -> "Chosen":
        """By the scores of a run; nothing where it has none."""
        swaps, rule = selection.images_under_both_texts(run.own, run.scores.text_effect)
        return cls(selection.extremes(run.own), swaps, rule)

    @property
    def keys(self) -> Collection[Key]:
        """The best and worst pairs."""
        return {one.key for one in self.extremes}


def found(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """The first screen: the findings of each run, images under both texts, and charts of accuracy and of the worth of
    the text. What a run was not scored with is said instead of shown.
    """
    said: list[tuple[str, str]] = []
    missing: list[str] = []
    for run in runs:
        before = f"{run.name}: " if len(runs) > 1 else ""
        several = findings(run.scores.pairs, run.scores.text_effect, run.record.label, run.record.setting)
        said += [(before + one.sentence, one.caveat) for one in several]
        kinds = {one.kind for one in several}
        if not several:
            missing.append(f"{run.name}: no test pair of its own model is scored yet.")
        elif "text" not in kinds:
            missing.append(f"{before}The text was not ablated: the model reads none, or evaluation.text_effect is off.")
        elif "swap" not in kinds:
            missing.append(
                f"{before}The text-swap test needs images with a salient and a non_salient text; here are none."
            )
    blocks: list[Block] = [Summary(said)] if said else []
    blocks += [Paragraph(GENERATED)] if any(run.record.generated for run in runs) else []
    blocks += [Paragraph(text) for text in missing]
    blocks += pictures(runs, chosen)
    scored = [run for run in runs if len(run.own)]
    if scored:
        blocks += [Heading("Accuracy and text ablation"), _accuracy(scored)]
    return blocks


def _accuracy(runs: Sequence[ShownRun]) -> Figures:
    metric = shown_metric(runs[0].own)
    title = METRICS[metric].title
    series, gains = [], []
    for run in runs:
        series.append(_series(run.name, run.own, metric, "model"))
        for variant, several in _text_effects(run).items():
            values = {one.task: one for one in several if one.metric == metric and not np.isnan(one.mean)}
            other = variant.partition(" (")[0]
            name = f"vs. {other}" if len(runs) == 1 else f"{run.name} vs. {other}"
            gains += [Series(name, values, "text")] if values else []
    for baseline in BASELINES.values():
        own = runs[0].of_model(baseline.title)
        series += (
            [_series(baseline.title, own, metric, "baseline")] if len(own) and baseline.title != "uniform map" else []
        )
    drawn = figures.estimates(f"{title} by condition", f"{title}, mean with its 95 % interval", series)
    shown = [Figure(figures.svg(drawn, f"{title} of the model and of baselines by condition, with 95 % intervals"))]
    if gains:
        drawn = figures.estimates("Text ablation", f"{title}, own text minus another one", gains, gains=True)
        shown.append(Figure(figures.svg(drawn, f"Differences in {title} of own and other texts, with 95 % intervals")))
    return Figures(shown)


def _series(name: str, scores: pd.DataFrame, metric: str, kind: figures.Kind) -> Series:
    by_task = {task: estimate(scores[scores["task"] == task], metric) for task in in_order(scores["task"])}
    return Series(name, {task: one for task, one in by_task.items() if not np.isnan(one.mean)}, kind)


def _text_effects(run: ShownRun) -> dict[str, list[Difference]]:
    variants = run.scores.text_effect
    if variants.empty or run.own.empty:
        return {}
    return {TITLES.get(name, name): several for name, several in text_effects(run.own, variants).items()}


def pictures(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """Images under both texts, whose maps show what the text does."""
    blocks: list[Block] = [Heading("One image, two texts")]
    if not chosen.swaps:
        return [*blocks, Paragraph("Not shown: no image was tested under a salient and a non_salient text.")]
    groups = [
        _group(
            record, ", ".join(filter(None, (record.title, chosen.swaps[record.image_id], run.name if runs[1:] else "")))
        )
        for run in runs
        for record in run.predicted.swaps
    ]
    blocks += [Pictures(groups), Paragraph(chosen.rule)] if groups else []
    for run in runs:
        if run.missing:
            blocks.append(Paragraph(_lacking(run)))
        elif not run.predicted.swaps:
            blocks.append(Paragraph(f"{run.name} reads no text."))
    return blocks


def best_and_worst(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """Pairs of the first run at the ends of its scores, with the maps of all runs."""
    blocks: list[Block] = [Heading("Best and worst pairs by CC")]
    first = runs[0]
    if not chosen.extremes:
        return [*blocks, Paragraph(f"Not shown: {first.name} has no CC of its test pairs.")]
    blocks += [Paragraph(_lacking(run)) for run in runs if run.missing]
    if first.missing:
        rows = [[one.task, one.rank, one.image_id, one.text, f"{one.cc:.3f}"] for one in chosen.extremes]
        return [*blocks, Grid(["task", "rank", "image", "text", "CC"], rows, frozenset({4}), grouped=True)]
    for run in (run for run in runs if run.predicted.pairs):
        scored = run.own.set_index(["image_id", "task"])["cc"]
        gap = max(abs(one.texts[0].scores["CC"] - float(scored[key])) for key, one in run.predicted.pairs.items())
        same = "the maps that were scored" if gap < _SAME else "NOT the maps that were scored: data or weights changed"
        blocks.append(
            Paragraph(
                f"{run.name}: these {len(run.predicted.pairs)} maps were predicted again from its checkpoint. Their CC "
                f"is within {gap:.1g} of its scores, so they are {same}."
            )
        )
    for task in dict.fromkeys(one.task for one in chosen.extremes):
        in_turns = sorted((one for one in chosen.extremes if one.task == task), key=lambda one: one.position)
        groups = []
        for one in in_turns:
            of_runs = {run.name: run.predicted.pairs[one.key] for run in runs if one.key in run.predicted.pairs}
            # One image, one text, and a map of each run.
            texts = [replace(record.texts[0], name=name) for name, record in of_runs.items()]
            record = replace(next(iter(of_runs.values())), texts=texts)
            groups.append(_group(record, f"{one.rank}: CC {one.cc:.3f}, image {one.image_id}"))
        blocks += [Subheading(task), Pictures(groups)]
    return blocks


def _lacking(run: ShownRun) -> str:
    return (
        f"The maps of {run.name} are not here: {run.missing.rstrip('.')}. Where its data set and checkpoints are, "
        "saltext report FOLDER --data DIR adds them."
    )


def results(runs: Sequence[ShownRun]) -> list[Block]:
    """Tables of all models and conditions, runs that were tested alike together, then the runs' own means."""
    scored = [run for run in runs if len(run.scores.pairs)]
    if not scored:
        return [Heading("Results"), Paragraph("No test pair was scored yet.")]
    groups: dict[tuple[str, str], list[ShownRun]] = {}
    for run in scored:
        groups.setdefault((run.record.split.digest, run.record.setting), []).append(run)
    blocks: list[Block] = [Heading("Results")]
    for alike in groups.values():
        blocks += [Paragraph(f"Tested alike: {', '.join(run.name for run in alike)}.")] if len(groups) > 1 else []
        pairs = [run.scores.pairs for run in alike]
        own = [
            table[table["model"] == run.record.label].assign(model=run.name)
            for run, table in zip(alike, pairs, strict=True)
        ]
        others = pd.concat(
            [table[table["model"] != run.record.label] for run, table in zip(alike, pairs, strict=True)]
        ).drop_duplicates(["image_id", "task", "model", "protocol"])
        generated = any(run.record.generated for run in alike)
        blocks += score_tables(pd.concat([*own, others], ignore_index=True), alike[0].record.setting, generated)
    own_means = {run.name: run.own for run in scored if len(run.own)}
    if own_means:
        blocks += [Subheading("Own means with 95 % intervals"), tables.intervals(own_means)]
    return blocks


def score_tables(scores: pd.DataFrame, setting: str, generated: bool) -> list[Block]:
    """A table for each protocol, with the published rows unless the data set is a generated one."""
    known = {} if generated else published(DATA_SET)
    return [tables.all_metrics(table) for table in tables.task_tables(scores, known, setting)]


def text(runs: Sequence[ShownRun]) -> list[Block]:
    """Text ablation and text-swap test of each run that was scored with other texts."""
    blocks: list[Block] = []
    for run in runs:
        effects = _text_effects(run)
        if effects:
            title = f"Text ablation: {run.name}" if runs[1:] else "Text ablation"
            note = "Score with a pair's own text minus score with another one, same weights, same human map: "
            blocks += [Heading(title), tables.differences(effects, "own text vs.", f"{note}{tables.PAIRED}.")]
            if text_effect.has_swaps(run.scores.text_effect):
                blocks += tables.swaps(text_effect.swap_accuracies(run.own, run.scores.text_effect))
    return blocks


def beside_baselines(run: ShownRun) -> list[Block]:
    """A run's scores pair by pair beside what needs no image, and what needs no text."""
    blocks: list[Block] = [Heading("Per-image scores vs. human references")]
    wanted = [BASELINES[name].title for name in ("centre_prior_others", "human_pure")]
    shown = [title for title in wanted if title in set(run.scores.pairs["model"])]
    for title in shown:
        blocks += [
            Subheading(f"{run.name} against: {title}"),
            *scatters(run.own, run.of_model(title), (run.name, title)),
        ]
    if not shown:
        blocks.append(Paragraph(f"Not shown: the run scored none of {', '.join(wanted)} (evaluation.baselines)."))
    return blocks


def beside_each_other(one: ShownRun, other: ShownRun) -> list[Block]:
    """The first run minus the second, on the pairs both were tested on."""
    heading = Heading("The two runs pair by pair")
    if one.own.empty or other.own.empty:
        return [heading, Paragraph("Not shown: both runs have to have scored their test pairs.")]
    try:
        gaps = {f"{one.name} minus {other.name}": differences(one.own, other.own)}
    except ConfigError as error:
        return [heading, Paragraph(f"Not shown. {error}")]
    both = len(one.own.merge(other.own, on=["image_id", "task"]))
    note = f"On the {both} pairs that both were tested on: {tables.PAIRED}."
    return [
        heading,
        tables.differences(gaps, "difference", note),
        *scatters(one.own, other.own, (one.name, other.name)),
    ]


def scatters(one: pd.DataFrame, other: pd.DataFrame, names: tuple[str, str], metric: str = "cc") -> list[Block]:
    """A scatter plot for each condition, and the pairs that differ most."""
    title = METRICS[metric].title
    plots, rows = [], []
    means = {d.task: d for d in differences(one, other) if d.metric == metric}
    for task, mean in means.items():
        ranked = selection.gaps(one, other, task, metric)
        ends = dict.fromkeys([*ranked[:_NUMBERED], *ranked[-_NUMBERED:]])
        numbers = {gap: str(n) for n, gap in enumerate(ends, start=1)}
        points = [
            Point(g.other, g.one, f"{g.image_id} {g.text}: {g.one:.3f} against {g.other:.3f}", numbers.get(g, ""))
            for g in ranked
        ]
        xlabel, ylabel = (f"{title} of {name}" for name in reversed(names))
        drawn = figures.scatter(f"{task}: {mean.signed()}", xlabel, ylabel, points)
        plots.append(Figure(figures.svg(drawn, f"{task}: {ylabel} against {xlabel}, {len(points)} pairs")))
        for gap, n in numbers.items():
            rows.append([task, n, gap.image_id, gap.text, f"{gap.one:.3f}", f"{gap.other:.3f}", f"{gap.size:+z.3f}"])
    if not plots:
        return [Paragraph(f"Not shown: no pair has a {title} by both {names[0]} and {names[1]}.")]
    note = (
        f"Each point is a test pair; above the dashed line {names[0]} is better. Above each plot: {tables.PAIRED}. The "
        "pairs that differ most have the numbers of the table; the others say what they are when pointed at."
    )
    headings = ["task", "number", "image", "text", *names, "difference"]
    return [Figures(plots), Grid(headings, rows, frozenset({1, 4, 5, 6}), grouped=True, note=note, keys=2)]


def by_epoch(runs: Sequence[ShownRun]) -> list[Block]:
    """What the runs logged; of several runs the mean over conditions alone."""
    panels = curves.of_runs({run.name: history(run.record) for run in runs})
    if not panels:
        return [Heading("Learning curves"), Paragraph("Nothing was logged by epoch.")]
    drawn = [Figure(figures.svg(figures.curves([panel]), f"{panel.title} by epoch")) for panel in panels]
    return [Heading("Learning curves"), Figures(drawn), Paragraph("As logged after each epoch, counted from 0.")]


def calibrated(runs: Sequence[ShownRun]) -> list[Block]:
    """Whether predicted densities mean what they say."""
    known = {run.name: run.predicted.coverage for run in runs if len(run.predicted.coverage)}
    blocks: list[Block] = [Heading("Calibration of the density")]
    blocks += [Paragraph(_lacking(run)) for run in runs if run.missing and run.name not in known]
    if not known:
        return blocks
    by_name = {name: calibration.calibrations(coverage) for name, coverage in known.items()}
    by_name[_HUMAN_MAPS] = calibration.calibrations(next(iter(known.values())), calibration.HUMAN)
    plots = []
    for task in in_order(one.task for several in by_name.values() for one in several):
        shown = {name: one for name, several in by_name.items() for one in several if one.task == task}
        drawn = figures.calibration(task, shown)
        plots.append(Figure(figures.svg(drawn, f"Calibration on {task}: fraction of fixations by predicted mass")))
    return [*blocks, Figures(plots), tables.calibration(by_name)]


def origin(runs: Sequence[ShownRun]) -> list[Block]:
    """Where the numbers come from, and what the words mean."""
    facts = {run.name: provenance.facts(run.record, run.own) for run in runs}
    rows = [[what, *(of_run[what] for of_run in facts.values())] for what in next(iter(facts.values()))]
    commands = "\n".join(run.record.started_by for run in runs if run.record.started_by)
    blocks: list[Block] = [Heading("Provenance"), Grid(["", *facts] if runs[1:] else ["", "this run"], rows)]
    return [*blocks, *([Command(commands)] if commands else []), *words(runs)]


def words(runs: Sequence[ShownRun]) -> list[Block]:
    """What this is about, and what the words mean."""
    pairs = [run.scores.pairs for run in runs]
    tasks, models = ([name for table in pairs for name in table[column].unique()] for column in ("task", "model"))
    metrics = [name for table in pairs for name in metric_names(table)]
    rows = glossary.sentences(tasks, metrics, models)
    grid = [Grid(["", "word", "meaning"], rows, grouped=True, keys=2)] if rows else []
    return [Heading("Glossary"), Paragraph(glossary.INTRODUCTION), *grid]


def _group(record: ImageRecord, title: str) -> PictureGroup:
    texts = dict.fromkeys((of.name, of.text) for of in record.texts if of.text)
    read = list(dict.fromkeys(text for _, text in texts))
    said = quoted(read[0]) if len(read) == 1 else " / ".join(f"{name}: {quoted(text)}" for name, text in texts)
    return PictureGroup(
        title,
        said if read else "",
        [Tile(tile.jpeg(), tile.caption, tile.alt) for row in tiles(record) for tile in row],
    )


def page(runs: Sequence[ShownRun], chosen: Chosen) -> Document:
    """Everything about a run, or about two beside each other: what was found, pictures, tables, provenance.

    Args:
        runs: One or two, with different names.
        chosen: By the scores of the first.
    """
    first, *others = runs
    title = f"{first.record.cfg.name}: {first.name}" + "".join(f" beside {other.name}" for other in others)
    blocks = [
        *found(runs, chosen),
        *results(runs),
        *text(runs),
        *(beside_each_other(first, *others) if others else beside_baselines(first)),
        *best_and_worst(runs, chosen),
        *calibrated(runs),
        *by_epoch(runs),
        *origin(runs),
    ]
    return Document(title, blocks, contents=True)
