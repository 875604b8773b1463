"""The page of a run, or of two runs side by side: findings first, then pictures, tables and provenance.

A sweep's page shares its sections.
"""

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
from saltext.reporting import curves, document, figures, glossary, provenance, tables
from saltext.reporting.document import Block, Figure, Figures, Heading, Paragraph, Points
from saltext.reporting.figures import Series
from saltext.reporting.grid import Grid
from saltext.results import calibration, selection
from saltext.results.comparison import differences, estimate
from saltext.results.findings import findings, shown_metric
from saltext.results.means import published
from saltext.results.run_record import RunRecord, history
from saltext.results.score_table import RunScores, metric_names, of_protocol
from saltext.results.selection import Extreme, Key
from saltext.results.study import DATA_SET
from saltext.results.text_ablation import ablation_differences, short_title

_SAME_CC = 5e-4  # equal up to the third digit
_NUMBERED = 3  # pairs at either end of a scatter plot that get a number

NOTHING = RunScores(pd.DataFrame({"image_id": [], "task": [], "text": [], "model": [], "protocol": []}), pd.DataFrame())
"""Scores of a run that has not been tested."""


@dataclass(frozen=True)
class Predicted:
    """Maps that a run's network predicted again for a page.

    Attributes:
        pairs: The requested pairs that are test pairs of the run, with their CC, at the size a page shows.
        swaps: The requested images under both texts and without a text, by each stage that tests one of the two.
        coverage: See :mod:`saltext.results.calibration`; empty if it was not requested.
    """

    pairs: Mapping[Key, ImageRecord] = field(default_factory=dict)
    swaps: Sequence[ImageRecord] = ()
    coverage: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class ShownRun:
    """A run on a page, under a unique name.

    Attributes:
        record: Folder, configuration and log of the run.
        name: Its name on the page.
        scores: Of its test pairs; without rows until they are scored.
        predicted: Maps its network predicted again.
        missing: Why it predicted nothing again; empty if it did.
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
        return of_protocol(self.scores.pairs, STANDARD).query("model == @title")


@dataclass(frozen=True)
class Chosen:
    """The best and worst pairs that a page shows, the images under both texts -> a remark, and the rule for these."""

    extremes: Sequence[Extreme] = ()
    swaps: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""

    @classmethod
    def of(cls, run: ShownRun) -> "Chosen":
        """Choose by the scores of a run; empty if it has none."""
        swaps, rule = selection.images_under_both_texts(run.own, run.scores.text_ablation)
        return cls(selection.extremes(run.own), swaps, rule)

    @property
    def keys(self) -> Collection[Key]:
        """Image and condition of the best and worst pairs."""
        return {pair.key for pair in self.extremes}


def findings_section(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """The first screen: findings of each run, images under both texts, charts of accuracy and text ablation.

    A sentence says what a run was not scored with.
    """
    points = [(glossary.GENERATED, "")] if any(run.record.generated for run in runs) else []
    missing = [glossary.conditions(task for run in runs for task in run.scores.pairs["task"])]
    for run in runs:
        prefix = f"{run.name}: " if len(runs) > 1 else ""
        of_run = findings(run.scores.pairs, run.scores.text_ablation, run.record.label, run.record.setting)
        points += [(prefix + finding.sentence, finding.caveat) for finding in of_run]
        kinds = {finding.kind for finding in of_run}
        if not of_run:
            missing.append(f"{run.name}: no test pair of its own model is scored yet.")
        elif "text" not in kinds:
            missing.append(f"{prefix}No text ablation: the model reads no text, or evaluation.text_ablation is false.")
        elif "swap" not in kinds:
            missing.append(f"{prefix}No text-swap test: no test image has a salient and a non_salient text.")
    blocks: list[Block] = [Points(points, summary=True)] if points else []
    blocks += [Paragraph(text) for text in missing if text]
    blocks += _two_texts(runs, chosen)
    scored = [run for run in runs if len(run.own)]
    blocks += [Heading("Accuracy and text ablation"), _charts(scored)] if scored else []
    return blocks


def _charts(runs: Sequence[ShownRun]) -> Figures:
    """Means of the shown metric by condition, of the runs and of baselines, and the text ablations of the runs."""
    metric = shown_metric(runs[0].own)
    title = METRICS[metric].title
    models = [(run.name, run.own, "model") for run in runs]
    models += [(one.title, runs[0].of_model(one.title), "baseline") for one in BASELINES.values()]
    series, gains = [], []
    for name, scores, kind in models:
        means = {task: estimate(scores[scores["task"] == task], metric) for task in in_order(scores["task"])}
        means = {task: mean for task, mean in means.items() if not np.isnan(mean.mean)}
        series += [Series(name, means, kind)] if name != "uniform map" and means else []  # type: ignore[arg-type]
    for run in runs:
        for variant, effects in ablation_differences(run.own, run.scores.text_ablation).items():
            values = {gap.task: gap for gap in effects if gap.metric == metric and not np.isnan(gap.mean)}
            name = f"vs. {short_title(variant)}" if len(runs) == 1 else f"{run.name} vs. {short_title(variant)}"
            gains += [Series(name, values, "text")] if values else []
    charts = [estimates_chart(f"{title} by condition", f"{title}, mean with its 95 % interval", series)]
    if gains:
        charts.append(estimates_chart("Text ablation", f"{title}, own text minus another one", gains, gains=True))
    return Figures(charts)


def estimates_chart(title: str, xlabel: str, series: Sequence[Series], gains: bool = False) -> Figure:
    """Estimates by condition as a figure of a page, see :func:`saltext.reporting.figures.estimates`."""
    return Figure(figures.svg(figures.estimates(title, xlabel, series, gains), f"{title}: {xlabel}"))


def _two_texts(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """Images under both of their texts, with the maps of each."""
    blocks: list[Block] = [Heading("One image, two texts")]
    if not chosen.swaps:
        return [*blocks, Paragraph("Not shown: no image was tested under a salient and a non_salient text.")]
    groups = []
    for run in runs:
        for record in run.predicted.swaps:
            titles = (record.title, chosen.swaps[record.image_id], run.name if runs[1:] else "")
            groups.append(_picture_group(record, ", ".join(filter(None, titles))))
    blocks += [document.Pictures(groups), Paragraph(chosen.rule)] if groups else []
    silent = [run for run in runs if not run.missing and not run.predicted.swaps]
    return [*blocks, *_without_maps(runs), *(Paragraph(f"{run.name} reads no text.") for run in silent)]


def best_and_worst_section(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """The first run's pairs with the highest and lowest CC, with the maps of all runs."""
    blocks: list[Block] = [Heading("Best and worst pairs by CC")]
    if not chosen.extremes:
        return [*blocks, Paragraph(f"Not shown: {runs[0].name} has no CC of its test pairs.")]
    blocks += _without_maps(runs)
    if runs[0].missing:
        rows = [
            [one.task, f"{one.end} {one.position}", one.image_id, one.text, f"{one.cc:.3f}"] for one in chosen.extremes
        ]
        return [*blocks, Grid(["task", "rank", "image", "text", "CC"], rows, frozenset({4}), grouped=True)]
    for run in (run for run in runs if run.predicted.pairs):
        scored, again = run.own.set_index(["image_id", "task"])["cc"], run.predicted.pairs
        gap = max(abs(record.texts[0].scores["CC"] - float(scored[key])) for key, record in again.items())
        same = "the maps that were scored" if gap < _SAME_CC else "NOT the scored maps: data or weights changed"
        text = f"{run.name}: these {len(again)} maps were predicted again from its checkpoint."
        blocks.append(Paragraph(f"{text} Their CC is within {gap:.1g} of its scores, so they are {same}."))
    for task in dict.fromkeys(pair.task for pair in chosen.extremes):
        groups = []
        # Best 1, worst 1, best 2, worst 2, ...
        for pair in sorted((pair for pair in chosen.extremes if pair.task == task), key=lambda pair: pair.position):
            by_run = {run.name: run.predicted.pairs[pair.key] for run in runs if pair.key in run.predicted.pairs}
            # One image, one text, and a map of each run.
            texts = [replace(record.texts[0], name=name) for name, record in by_run.items()]
            record = replace(next(iter(by_run.values())), texts=texts)
            title = f"{pair.end} {pair.position}: CC {pair.cc:.3f}, image {pair.image_id}"
            groups.append(_picture_group(record, title))
        blocks += [Heading(task, level=3), document.Pictures(groups)]
    return blocks


def _without_maps(runs: Sequence[ShownRun]) -> list[Block]:
    """Why runs predicted nothing again, and what to do."""
    how = "To add them, run saltext report FOLDER --data DIR where the data set and the checkpoints are."
    return [Paragraph(f"No maps of {run.name}: {run.missing.rstrip('.')}. {how}") for run in runs if run.missing]


def _picture_group(record: ImageRecord, title: str) -> document.PictureGroup:
    """An image with its maps, and the text or texts that were read."""
    texts = {maps.text: maps.name for maps in reversed(record.texts) if maps.text}
    named = (quoted(text) if len(texts) == 1 else f"{name}: {quoted(text)}" for text, name in reversed(texts.items()))
    pictures = [document.Tile(tile.jpeg(), tile.caption, tile.alt) for row in tiles(record) for tile in row]
    return document.PictureGroup(title, " / ".join(named), pictures)


def results_section(runs: Sequence[ShownRun]) -> list[Block]:
    """Tables of all models and conditions, one per evaluation setting, then the means of the runs' own models."""
    scored = [run for run in runs if len(run.scores.pairs)]
    if not scored:
        return [Heading("Results"), Paragraph("No test pair was scored yet.")]
    groups: dict[tuple[str, str], list[ShownRun]] = {}
    for run in scored:
        groups.setdefault((run.record.split.digest, run.record.setting), []).append(run)
    blocks: list[Block] = [Heading("Results")]
    for group in groups.values():
        if len(groups) > 1:
            blocks.append(Paragraph(f"Same split and evaluation setting: {', '.join(run.name for run in group)}."))
        own, baselines = [], []
        for run in group:
            is_own = run.scores.pairs["model"] == run.record.label
            own.append(run.scores.pairs[is_own].assign(model=run.name))
            baselines.append(run.scores.pairs[~is_own])
        shared = pd.concat(baselines).drop_duplicates(["image_id", "task", "model", "protocol"])
        generated = any(run.record.generated for run in group)
        blocks += score_tables(pd.concat([*own, shared], ignore_index=True), group[0].record.setting, generated)
    own_means = {run.name: run.own for run in scored if len(run.own)}
    if own_means:
        blocks += [Heading("Own means with 95 % intervals", level=3), tables.intervals(own_means)]
    return blocks


def score_tables(scores: pd.DataFrame, setting: str, generated: bool) -> list[Block]:
    """A table for each protocol, with the published rows unless the data set is synthetic (``generated``)."""
    references = {} if generated else published(DATA_SET)
    return [tables.all_metrics(table) for table in tables.task_tables(scores, references, setting)]


def text_section(runs: Sequence[ShownRun]) -> list[Block]:
    """Text ablation and text-swap test of each run that was scored with other texts."""
    blocks: list[Block] = []
    for run in runs:
        effects, swaps = tables.text_tables(run.own, run.scores.text_ablation, metric_names(run.own))
        title = f"Text ablation: {run.name}" if runs[1:] else "Text ablation"
        blocks += [Heading(title), *effects, *swaps] if effects else []
    return blocks


def baseline_section(run: ShownRun) -> list[Block]:
    """Scatter plots of a run against the centre prior (needs no image) and the free-viewing map (needs no text)."""
    blocks: list[Block] = [Heading("Per-image scores vs. human references")]
    titles = [BASELINES[name].title for name in ("centre_prior_others", "human_pure")]
    scored = [title for title in titles if title in set(run.scores.pairs["model"])]
    for title in scored:
        blocks.append(Heading(f"{run.name} against: {title}", level=3))
        blocks += scatters(run.own, run.of_model(title), (run.name, title))
    if not scored:
        blocks.append(Paragraph(f"Not shown: the run scored none of {', '.join(titles)} (evaluation.baselines)."))
    return blocks


def comparison_section(one: ShownRun, other: ShownRun) -> list[Block]:
    """The first run minus the second, on the pairs both were tested on."""
    heading = Heading("The two runs pair by pair")
    if one.own.empty or other.own.empty:
        return [heading, Paragraph("Not shown: not both runs have scored test pairs.")]
    try:
        gaps = {f"{one.name} minus {other.name}": differences(one.own, other.own)}
    except ConfigError as error:
        return [heading, Paragraph(f"Not shown. {error}")]
    both = len(one.own.merge(other.own, on=["image_id", "task"]))
    note = f"On the {both} pairs that both were tested on. {tables.PAIRED}"
    plots = scatters(one.own, other.own, (one.name, other.name))
    return [heading, tables.differences(gaps, "difference", note), *plots]


def scatters(one: pd.DataFrame, other: pd.DataFrame, names: tuple[str, str], metric: str = "cc") -> list[Block]:
    """A scatter plot for each condition, and a table of the pairs that differ most.

    ``one`` and ``other`` are scores of two models, of one protocol; the first is drawn upwards, the other to the right.
    """
    title = METRICS[metric].title
    plots, rows = [], []
    for mean in (difference for difference in differences(one, other) if difference.metric == metric):
        ranked = selection.gaps(one, other, mean.task, metric)
        ends = [*ranked.index[:_NUMBERED], *ranked.index[-_NUMBERED:]]
        numbers = {index: str(n) for n, index in enumerate(dict.fromkeys(ends), start=1)}
        points = []
        for index, (image, text, y, x, gap) in enumerate(ranked.itertuples(index=False, name=None)):
            number = numbers.get(index, "")
            points.append((x, y, f"{image} {text}: {y:.3f} against {x:.3f}", number))
            rows += [[mean.task, number, image, text, f"{y:.3f}", f"{x:.3f}", f"{gap:+z.3f}"]] if number else []
        xlabel, ylabel = (f"{title} of {name}" for name in reversed(names))
        drawn = figures.scatter(
            f"{mean.task}: {mean.signed()}", xlabel, ylabel, pd.DataFrame(points, columns=["x", "y", "name", "number"])
        )
        plots.append(Figure(figures.svg(drawn, f"{mean.task}: {ylabel} against {xlabel}, {len(points)} pairs")))
    if not plots:
        return [Paragraph(f"Not shown: no pair has a {title} by both {names[0]} and {names[1]}.")]
    note = (
        f"Each point is a test pair; above the dashed line {names[0]} is better. Above each plot: {tables.PAIRED} "
        "Numbers mark the pairs that differ most, listed in the table; the mouse shows the name of any other."
    )
    headings = ["task", "number", "image", "text", *names, "difference"]
    return [Figures(plots), Grid(headings, rows, frozenset({1, 4, 5, 6}), grouped=True, note=note, keys=2)]


def curves_section(runs: Sequence[ShownRun]) -> list[Block]:
    """Learning curves of the runs; of several runs the mean over conditions alone."""
    panels = curves.of_runs({run.name: history(run.record) for run in runs})
    if not panels:
        return [Heading("Learning curves"), Paragraph("Nothing was logged by epoch.")]
    drawn = [Figure(figures.svg(figures.curves([panel]), f"{panel.title} by epoch")) for panel in panels]
    return [Heading("Learning curves"), Figures(drawn), Paragraph("As logged after each epoch, counted from 0.")]


def calibration_section(runs: Sequence[ShownRun]) -> list[Block]:
    """Calibration of the predicted densities, beside that of the human maps."""
    coverages = {run.name: run.predicted.coverage for run in runs if len(run.predicted.coverage)}
    blocks = [Heading("Calibration of the density"), *_without_maps([run for run in runs if run.name not in coverages])]
    if not coverages:
        return blocks
    by_name = {name: calibration.calibrations(coverage) for name, coverage in coverages.items()}
    by_name["human maps"] = calibration.calibrations(next(iter(coverages.values())), calibration.HUMAN)
    plots = []
    for task in in_order(curve.task for by_task in by_name.values() for curve in by_task):
        of_task = {name: curve for name, by_task in by_name.items() for curve in by_task if curve.task == task}
        drawn = figures.calibration(task, of_task)
        plots.append(Figure(figures.svg(drawn, f"Calibration on {task}: fraction of fixations by predicted mass")))
    return [*blocks, Figures(plots), tables.calibration(by_name)]


def provenance_section(runs: Sequence[ShownRun]) -> list[Block]:
    """Facts about the runs, and the commands that started them."""
    facts = {run.name: provenance.facts(run.record, run.own) for run in runs}
    rows = [[fact, *(of_run[fact] for of_run in facts.values())] for fact in next(iter(facts.values()))]
    commands = "\n".join(run.record.started_by for run in runs if run.record.started_by)
    blocks: list[Block] = [Heading("Provenance"), Grid(["", *facts] if runs[1:] else ["", "this run"], rows)]
    return [*blocks, document.Command(commands)] if commands else blocks


def glossary_section(runs: Sequence[ShownRun]) -> list[Block]:
    """The question in a paragraph, and the tasks, metrics and baselines of the page in a sentence each."""
    pairs = pd.concat([run.scores.pairs for run in runs])
    rows = glossary.sentences(pairs["task"].unique(), metric_names(pairs), pairs["model"].unique())
    grid = [Grid(["", "word", "meaning"], rows, grouped=True, keys=2)] if rows else []
    return [Heading("Glossary"), Paragraph(glossary.INTRODUCTION), *grid]


def page(runs: Sequence[ShownRun], chosen: Chosen) -> document.Document:
    """The page of one run, or of two side by side; pairs and images to show are chosen by the first run's scores."""
    first, *others = runs
    title = f"{first.record.cfg.name}: {first.name}" + "".join(f" beside {other.name}" for other in others)
    blocks = [
        *findings_section(runs, chosen),
        *results_section(runs),
        *text_section(runs),
        *(comparison_section(first, *others) if others else baseline_section(first)),
        *best_and_worst_section(runs, chosen),
        *calibration_section(runs),
        *curves_section(runs),
        *provenance_section(runs),
        *glossary_section(runs),
    ]
    return document.Document(title, blocks)
