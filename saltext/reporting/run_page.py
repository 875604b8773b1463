"""The pages of a run, of two runs side by side, and of a sweep."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
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
from saltext.reporting import figures, glossary, provenance, tables
from saltext.reporting.document import Block, Command, Document, Figure, Heading, PictureGroup, Points, Section, Tile
from saltext.reporting.figures import Series
from saltext.reporting.grid import Grid
from saltext.results import calibration, selection
from saltext.results.comparison import Difference, differences, estimate, spread_over_runs
from saltext.results.findings import findings
from saltext.results.means import published
from saltext.results.run_record import RunRecord, history, monitored
from saltext.results.score_table import RunScores, averaged_over_seeds, metric_names, of_protocol, shown_metric
from saltext.results.selection import Extreme, Key
from saltext.results.study import DATA_SET
from saltext.results.text_ablation import ablation_differences, short_title

_SAME_CC = 5e-4  # equal up to the third digit
_NUMBERED = 3  # pairs at either end of a scatter plot that get a number
_MODELS_IN_FINDINGS = 5  # of a sweep

NOTHING = RunScores(pd.DataFrame({"image_id": [], "task": [], "text": [], "model": [], "protocol": []}), pd.DataFrame())
"""Scores of a run that has not been tested."""


@dataclass(frozen=True)
class Predicted:
    """Maps that a run's network predicted again for a page, and the calibration's coverages.

    ``pairs`` are those of the test pairs that were asked for, with their CC, ``swaps`` images under both texts and
    without a text, by each stage that tests one of the two.
    """

    pairs: Mapping[Key, ImageRecord] = field(default_factory=dict)
    swaps: Sequence[ImageRecord] = ()
    coverage: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class ShownRun:
    """A run on a page, under a unique name; ``missing`` says why its network predicted nothing again, if so."""

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


def opening(runs: Sequence[ShownRun], chosen: Chosen) -> list[Section]:
    """The first screen: findings of each run and what it was not scored with, images under both texts, charts."""
    points = [(glossary.GENERATED, "")] if any(run.record.generated for run in runs) else []
    missing = [glossary.conditions(task for run in runs for task in run.scores.pairs["task"])]
    for run in runs:
        prefix = f"{run.name}: " if len(runs) > 1 else ""
        of_run = findings(run.scores.pairs, run.scores.text_ablation, run.record.label, run.record.setting)
        points += [(prefix + finding.sentence, finding.caveat) for finding in of_run]
        kinds = {finding.kind for finding in of_run}
        if not of_run:
            missing.append(f"{run.name}: no test pair of the model is scored yet.")
        elif "text" not in kinds:
            missing.append(f"{prefix}No text ablation: the model reads no text, or evaluation.text_ablation is false.")
        elif "swap" not in kinds:
            missing.append(f"{prefix}No text-swap test: no test image has a salient and a non_salient text.")
    return [
        ("", [*([Points(points, summary=True)] if points else []), *filter(None, missing)]),
        ("One image, two texts", _two_texts(runs, chosen)),
        ("Accuracy and text ablation", _charts([run for run in runs if len(run.own)])),
    ]


def _charts(runs: Sequence[ShownRun]) -> list[Block]:
    """Means of the shown metric by condition, of the runs and of baselines, and the text ablations of the runs."""
    if not runs:
        return []
    metric = shown_metric(metric_names(runs[0].own))
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
    return [charts]


def estimates_chart(title: str, xlabel: str, series: Sequence[Series], gains: bool = False) -> Figure:
    """Estimates by condition as a figure of a page, see :func:`saltext.reporting.figures.estimates`."""
    return Figure(figures.svg(figures.estimates(title, xlabel, series, gains), f"{title}: {xlabel}"))


def _two_texts(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """Images under both of their texts, with the maps of each."""
    if not chosen.swaps:
        return ["Not shown: no image was tested under a salient and a non_salient text."]
    groups = []
    for run in runs:
        for record in run.predicted.swaps:
            titles = (record.title, chosen.swaps[record.image_id], run.name if runs[1:] else "")
            groups.append(_picture_group(record, ", ".join(filter(None, titles))))
    silent = [run for run in runs if not run.missing and not run.predicted.swaps]
    shown: list[Block] = [groups, chosen.rule] if groups else []
    return [*shown, *_without_maps(runs), *(f"{run.name} reads no text." for run in silent)]


def best_and_worst(runs: Sequence[ShownRun], chosen: Chosen) -> list[Block]:
    """The first run's pairs with the highest and lowest CC, with the maps of all runs."""
    if not chosen.extremes:
        return [f"Not shown: {runs[0].name} has no CC of its test pairs."]
    blocks = _without_maps(runs)
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
        blocks.append(f"{text} Their CC is within {gap:.1g} of its scores, so they are {same}.")
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
        blocks += [Heading(task), groups]
    return blocks


def _without_maps(runs: Sequence[ShownRun]) -> list[Block]:
    """Why runs predicted nothing again, and what to do."""
    how = "To add them, run saltext report FOLDER --data DIR where the data set and the checkpoints are."
    return [f"No maps of {run.name}: {run.missing.rstrip('.')}. {how}" for run in runs if run.missing]


def _picture_group(record: ImageRecord, title: str) -> PictureGroup:
    """An image with its maps, and the text or texts that were read."""
    texts = {maps.text: maps.name for maps in reversed(record.texts) if maps.text}
    named = (quoted(text) if len(texts) == 1 else f"{name}: {quoted(text)}" for text, name in reversed(texts.items()))
    rows = [[Tile(tile.jpeg(), tile.caption, tile.alt) for tile in row] for row in tiles(record)]
    return PictureGroup(title, " / ".join(named), rows)


def results(runs: Sequence[ShownRun]) -> list[Block]:
    """Tables of all models and conditions, one per evaluation setting, then the means of the runs' own models."""
    scored = [run for run in runs if len(run.scores.pairs)]
    if not scored:
        return ["No test pair was scored yet."]
    groups: dict[tuple[str, str], list[ShownRun]] = {}
    for run in scored:
        groups.setdefault((run.record.split.digest, run.record.setting), []).append(run)
    blocks: list[Block] = []
    for group in groups.values():
        if len(groups) > 1:
            blocks.append(f"Same split and evaluation setting: {', '.join(run.name for run in group)}.")
        own, baselines = [], []
        for run in group:
            is_own = run.scores.pairs["model"] == run.record.label
            own.append(run.scores.pairs[is_own].assign(model=run.name))
            baselines.append(run.scores.pairs[~is_own])
        shared = pd.concat(baselines).drop_duplicates(["image_id", "task", "model", "protocol"])
        generated = any(run.record.generated for run in group)
        blocks += score_tables(pd.concat([*own, shared], ignore_index=True), group[0].record.setting, generated)
    own_means = {run.name: run.own for run in scored if len(run.own)}
    return [*blocks, Heading("Own means with 95 % intervals"), tables.intervals(own_means)] if own_means else blocks


def score_tables(scores: pd.DataFrame, setting: str, generated: bool) -> list[Block]:
    """A table for each protocol, with the published rows unless the data set is synthetic (``generated``)."""
    references = {} if generated else published(DATA_SET)
    return [tables.all_metrics(table) for table in tables.task_tables(scores, references, setting)]


def details(runs: Sequence[ShownRun], chosen: Chosen, pairwise: Section) -> list[Section]:
    """What stands below the results: text ablation, two models pair by pair, best and worst pairs, calibration."""
    return [
        ("Text ablation", text_ablation(runs)),
        pairwise,
        ("Best and worst pairs by CC", best_and_worst(runs, chosen)),
        ("Calibration of the density", calibration_of(runs)),
    ]


def text_ablation(runs: Sequence[ShownRun]) -> list[Block]:
    """Text ablation and text-swap test of each run that was scored with other texts."""
    blocks: list[Block] = []
    for run in runs:
        effects, swaps = tables.text_tables(run.scores)
        blocks += [*([Heading(run.name)] if runs[1:] and effects else []), *effects, *swaps]
    return blocks


def against_baselines(run: ShownRun) -> Section:
    """Scatter plots of a run against the centre prior (needs no image) and the free-viewing map (needs no text)."""
    titles = [BASELINES[name].title for name in ("centre_prior_others", "human_pure")]
    scored = [title for title in titles if title in set(run.scores.pairs["model"])]
    blocks: list[Block] = []
    for title in scored:
        blocks.append(Heading(f"{run.name} against: {title}"))
        blocks += scatters(run.own, run.of_model(title), (run.name, title))
    missing = f"Not shown: the run scored none of {', '.join(titles)} (evaluation.baselines)."
    return "Per-image scores vs. human references", blocks or [missing]


def comparison(one: ShownRun, other: ShownRun) -> list[Block]:
    """The first run minus the second, on the pairs both were tested on."""
    if one.own.empty or other.own.empty:
        return ["Not shown: not both runs have scored test pairs."]
    try:
        gaps = {f"{one.name} minus {other.name}": differences(one.own, other.own)}
    except ConfigError as error:
        return [f"Not shown. {error}"]
    both = len(one.own.merge(other.own, on=["image_id", "task"]))
    note = f"On the {both} pairs that both were tested on. {tables.PAIRED}"
    plots = scatters(one.own, other.own, (one.name, other.name))
    return [tables.differences(gaps, "difference", note), *plots]


def scatters(one: pd.DataFrame, other: pd.DataFrame, names: tuple[str, str], metric: str = "cc") -> list[Block]:
    """A scatter plot for each condition, and a table of the pairs that differ most.

    ``one`` and ``other`` are scores of two models, of one protocol; the first is drawn upwards, the other to the right.
    """
    title = METRICS[metric].title
    xlabel, ylabel = (f"{title} of {name}" for name in reversed(names))
    plots, rows = [], []
    for mean in (difference for difference in differences(one, other) if difference.metric == metric):
        ranked = selection.gaps(one, other, mean.task, metric)
        ends = dict.fromkeys([*ranked.index[:_NUMBERED], *ranked.index[-_NUMBERED:]])
        points = ranked.rename(columns={"one": "y", "other": "x"}).assign(number="")
        points["name"] = [f"{p.image_id} {p.text}: {p.y:.3f} against {p.x:.3f}" for p in points.itertuples()]
        for number, (index, p) in enumerate(points.loc[list(ends)].iterrows(), start=1):
            points.loc[index, "number"] = str(number)
            rows.append([mean.task, str(number), p.image_id, p.text, f"{p.y:.3f}", f"{p.x:.3f}", f"{p.gap:+z.3f}"])
        drawn = figures.scatter(f"{mean.task}: {mean.signed()}", xlabel, ylabel, points)
        plots.append(Figure(figures.svg(drawn, f"{mean.task}: {ylabel} against {xlabel}, {len(points)} pairs")))
    if not plots:
        return [f"Not shown: no pair has a {title} by both {names[0]} and {names[1]}."]
    note = (
        f"Each point is a test pair; above the dashed line {names[0]} is better. Above each plot: {tables.PAIRED} "
        "Numbers mark the pairs that differ most, listed in the table; the mouse shows the name of any other."
    )
    headings = ["task", "number", "image", "text", *names, "difference"]
    return [plots, Grid(headings, rows, frozenset({1, 4, 5, 6}), grouped=True, note=note, keys=2)]


def learning_curves(runs: Sequence[ShownRun]) -> list[Block]:
    """Learning curves of the runs; of several runs the mean over conditions alone."""
    panels = figures.panels_of_runs({run.name: history(run.record) for run in runs})
    drawn = [Figure(figures.svg(figures.curves([panel]), f"{panel.title} by epoch")) for panel in panels]
    return [drawn, "As logged after each epoch, counted from 0."] if drawn else ["Nothing was logged by epoch."]


def calibration_of(runs: Sequence[ShownRun]) -> list[Block]:
    """Calibration of the predicted densities, beside that of the human maps."""
    coverages = {run.name: run.predicted.coverage for run in runs if len(run.predicted.coverage)}
    missing = _without_maps([run for run in runs if run.name not in coverages])
    if not coverages:
        return missing
    by_name = {name: calibration.calibrations(coverage) for name, coverage in coverages.items()}
    by_name["human maps"] = calibration.calibrations(next(iter(coverages.values())), calibration.HUMAN)
    plots = []
    for task in in_order(curve.task for by_task in by_name.values() for curve in by_task):
        of_task = {name: curve for name, by_task in by_name.items() for curve in by_task if curve.task == task}
        drawn = figures.calibration(task, of_task)
        plots.append(Figure(figures.svg(drawn, f"Calibration on {task}: fraction of fixations by predicted mass")))
    return [*missing, plots, tables.calibration(by_name)]


def provenance_of(runs: Sequence[ShownRun]) -> list[Block]:
    """Facts about the runs, and the commands that started them."""
    facts = {run.name if runs[1:] else "this run": provenance.facts(run.record, run.own) for run in runs}
    commands = "\n".join(run.record.started_by for run in runs if run.record.started_by)
    rows = [[fact, *texts] for fact, *texts in pd.DataFrame(facts).itertuples(name=None)]
    return [Grid(["", *facts], rows), *([Command(commands)] if commands else [])]


def glossary_of(runs: Sequence[ShownRun]) -> list[Block]:
    """The question in a paragraph, and the tasks, metrics and baselines of the page in a sentence each."""
    pairs = pd.concat([run.scores.pairs for run in runs])
    rows = glossary.sentences(pairs["task"].unique(), metric_names(pairs), pairs["model"].unique())
    return [glossary.INTRODUCTION, *([Grid(["", "word", "meaning"], rows, grouped=True, keys=2)] if rows else [])]


def page(runs: Sequence[ShownRun], chosen: Chosen) -> Document:
    """The page of one run, or of two side by side; pairs and images to show are chosen by the first run's scores."""
    first, *others = runs
    title = f"{first.record.cfg.name}: {' beside '.join(run.name for run in runs)}"
    pairwise = ("The two runs pair by pair", comparison(first, *others)) if others else against_baselines(first)
    sections: list[Section] = [
        *opening(runs, chosen),
        ("Results", results(runs)),
        *details(runs, chosen, pairwise),
        ("Learning curves", learning_curves(runs)),
        ("Provenance", provenance_of(runs)),
        ("Glossary", glossary_of(runs)),
    ]
    return Document(title, sections)


# Sweeps


@dataclass(frozen=True)
class SweepRuns:
    """The runs of a sweep or below a folder, at least one, with different names.

    ``scores`` of the finished ones are pooled, see :mod:`saltext.results.score_table`; ``models`` are the runs' own.
    """

    name: str
    runs: Sequence[ShownRun]
    scores: pd.DataFrame
    models: Sequence[str]

    @property
    def standard(self) -> pd.DataFrame:
        """Scores of the standard protocol."""
        return of_protocol(self.scores, STANDARD) if len(self.scores) else self.scores

    def of_model(self, name: str) -> pd.DataFrame:
        """Scores of one model, standard protocol, seeds averaged."""
        return averaged_over_seeds(self.standard[self.standard["model"] == name])

    def ranked(self) -> list[tuple[ShownRun, float]]:
        """The finished runs that validated, with the best value of what selected their epochs, best run first."""
        finished = [(run, monitored(run.record)) for run in self.runs if run.record.folder.is_finished]
        validated = [(run, value) for run, value in finished if value is not None]
        return sorted(validated, key=lambda pair: pair[1], reverse=self.runs[0].record.mode == "max")

    def leaders(self) -> list[str]:
        """The models by the mean of that metric over their runs, best first."""
        model_of = self.scores[self.scores["model"].isin(self.models)].groupby("run")["model"].first()
        ranked = pd.Series({run.record.folder.root.name: value for run, value in self.ranked()}, dtype=float)
        means = ranked.groupby(model_of).mean().sort_values(ascending=self.runs[0].record.mode != "max", kind="stable")
        return [str(model) for model in means.index]


def sweep_page(sweep: SweepRuns, best: ShownRun | None, chosen: Chosen) -> Document:
    """The page of a sweep: findings and pictures of the best run, tables of all models, provenance of all runs.

    ``best`` is the first of :meth:`SweepRuns.ranked`, None if no run was tested; pairs are ``chosen`` by its scores.
    """
    finished = sum(run.record.folder.is_finished for run in sweep.runs)
    about = f"{finished} of {len(sweep.runs)} runs are finished."
    gaps = _sweep_gaps(sweep)
    sections: list[Section] = [("Results", _sweep_results(sweep, gaps))]
    if best is not None:
        about += f" Findings, pictures and calibration are of one run: {best.name}, the best by {best.record.monitor}."
        sections = [*opening([best], chosen), *sections, *details([best], chosen, _pairwise(sweep, best))]
    first: Section = ("", [*_sweep_findings(sweep, gaps), about])
    sections = [first, *sections, ("Learning curves", learning_curves(sweep.runs))]
    sections += [("Provenance", _sweep_provenance(sweep)), ("Glossary", glossary_of(sweep.runs))]
    return Document(f"{sweep.name}: {len(sweep.runs)} runs", sections)


def _sweep_gaps(sweep: SweepRuns) -> dict[str, list[Difference]]:
    """Every later model minus the first, where they share test pairs."""
    gaps = {}
    for name in sweep.models[1:]:
        with suppress(ConfigError):  # no test pair in common
            gaps[name] = differences(sweep.of_model(name), sweep.of_model(sweep.models[0]))
    return gaps


def _sweep_findings(sweep: SweepRuns, gaps: Mapping[str, Sequence[Difference]]) -> list[Block]:
    """The first models minus the first of all, under the last conditions."""
    if not gaps:
        return []
    metric = shown_metric(metric_names(sweep.of_model(sweep.models[0])))
    points = []
    for name, of_name in list(gaps.items())[:_MODELS_IN_FINDINGS]:
        sentence = f"“{name}” minus “{sweep.models[0]}”: {METRICS[metric].title} {on_last_conditions(of_name, metric)}."
        points.append((sentence, tables.PAIRED))
    return [Points(points, summary=True)]


def on_last_conditions(gaps: Sequence[Difference], metric: str) -> str:
    """Differences under the last two conditions, under which the text says most."""
    of_metric = [gap for gap in gaps if gap.metric == metric]
    return " and ".join(f"{gap.signed()} on {gap.task}" for gap in of_metric[:-3:-1])


def _sweep_results(sweep: SweepRuns, gaps: Mapping[str, Sequence[Difference]]) -> list[Block]:
    """Pooled tables, the spread over folds and seeds, and every model minus the first."""
    if sweep.scores.empty:
        return ["No run has finished yet."]
    settings = " ".join(dict.fromkeys(run.record.setting for run in sweep.runs if len(run.own)))
    several_runs = len(sweep.models) < sum(run.record.folder.is_finished for run in sweep.runs)
    blocks: list[Block] = [
        *(["Folds of a cross-validation are pooled, and seeds are averaged pair by pair."] if several_runs else []),
        *score_tables(sweep.scores, settings, any(run.record.generated for run in sweep.runs)),
    ]
    several = spread_over_runs(sweep.standard[sweep.standard["model"].isin(sweep.models)])
    blocks += [tables.spread(several)] if len(several) else []
    if gaps:
        first = sweep.models[0]
        note = f"Each model minus {first}, on the pairs that both were tested on. {tables.PAIRED}"
        blocks.append(tables.differences(gaps, f"model minus {first}", note))
    return blocks


def _pairwise(sweep: SweepRuns, best: ShownRun) -> Section:
    """The two leading models pair by pair; a single one beside human references."""
    leaders = sweep.leaders()[:2]
    if len(leaders) < 2:
        return against_baselines(best)
    texts = sweep.standard.drop_duplicates(["image_id", "task"])[["image_id", "task", "text"]]
    one, other = map(sweep.of_model, leaders)
    plots = scatters(one.merge(texts, on=["image_id", "task"]), other, (leaders[0], leaders[1]))
    return "The two leading models pair by pair", plots


def _sweep_provenance(sweep: SweepRuns) -> list[Block]:
    """The evaluation settings, and a row per run: its state, settings, best value, commit and machine."""
    rows = []
    for run in sweep.runs:
        best = monitored(run.record)
        state = f"failed: {run.record.failure}" if run.record.failure else "not finished"
        rows.append({
            "run": run.name,
            "state": "finished" if run.record.folder.is_finished else state,
            "selected by": run.record.monitor,
            "its best": "" if best is None else f"{best:.3f}",
            **provenance.row(run.record),
        })  # fmt: skip
    settings = " ".join(dict.fromkeys(run.record.setting for run in sweep.runs))
    return [settings, Grid(list(rows[0]), [list(row.values()) for row in rows], frozenset({3, 6, 7}), keys=1)]
