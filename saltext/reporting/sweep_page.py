"""The page of a sweep, or of whatever runs lie below a folder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.reporting import glossary, origin, score_grids, spread
from saltext.reporting.compare import compare
from saltext.reporting.curve_charts import curve_charts
from saltext.reporting.network_sections import Chosen, best_and_worst, calibrated, exchanged_texts
from saltext.reporting.page import Block, Charts, Grid, Heading, Paragraph, Report
from saltext.reporting.run_page import GENERATED, meanings
from saltext.reporting.score_sections import beside_baselines, scatters, tables_of, worth_of_text
from saltext.reporting.scores import averaged_over_seeds, of_protocol
from saltext.reporting.shown_run import ShownRun
from saltext.runs.jobs import failure
from saltext.runs.monitored import monitored


@dataclass(frozen=True)
class SweepRuns:
    """What a folder of several runs holds.

    Attributes:
        name: Of the folder.
        runs: Finished or not, with different names.
        scores: Of the finished ones, pooled, see :func:`saltext.reporting.collect.pooled`; may be empty.
        models: The runs' own models among them.
    """

    name: str
    runs: Sequence[ShownRun]
    scores: pd.DataFrame
    models: Sequence[str]

    @property
    def standard(self) -> pd.DataFrame:
        """Scores of the standard protocol."""
        return of_protocol(self.scores, STANDARD) if len(self.scores) else self.scores

    def ranked(self) -> list[ShownRun]:
        """The runs by the metric that chose their epochs, best first; those without it are left out."""
        tested = [run for run in self.runs if run.folder.is_finished]
        values = {run.name: value for run in tested if (value := monitored(run.folder)) is not None}
        known = [run for run in tested if run.name in values]
        return sorted(known, key=lambda run: values[run.name], reverse=self._highest)

    def leaders(self) -> list[str]:
        """The models by the mean of that metric over their runs, best first."""
        model_of = self.scores[self.scores["model"].isin(self.models)].groupby("run")["model"].first()
        values: dict[str, list[float]] = {}
        for run in self.ranked():
            value = monitored(run.folder)
            values.setdefault(str(model_of[run.folder.root.name]), []).append(math.nan if value is None else value)
        return sorted(values, key=lambda model: fmean(values[model]), reverse=self._highest)

    @property
    def _highest(self) -> bool:
        """Whether the metric that chose the epochs is better the higher it is."""
        return bool(self.runs[0].cfg.evaluation.mode == "max")


def report(sweep: SweepRuns, best: ShownRun | None, chosen: Chosen) -> Report:
    """Everything about a sweep.

    Args:
        sweep: Its runs and scores.
        best: The run whose maps are shown: the first of :meth:`SweepRuns.ranked`; None if no run was tested.
        chosen: By its scores.
    """
    blocks = [*_opening(sweep), *_results(sweep), *_by_epoch(sweep)]
    if best is not None:
        blocks += [*_about(best), *worth_of_text(best, f"What the text is worth: {best.name}")]
        blocks += [*best_and_worst([best], chosen), *exchanged_texts([best], chosen), *calibrated([best])]
        blocks += _pair_by_pair(sweep, best)
    return Report(f"{sweep.name}: {len(sweep.runs)} runs", [*blocks, *meanings(sweep.runs)], contents=True)


def _opening(sweep: SweepRuns) -> list[Block]:
    done = sum(run.folder.is_finished for run in sweep.runs)
    headings = ["run", "state", "seed", "input", "epochs", "chosen by", "its best", "minutes", "commit", "machine"]
    rows = [_row(run) for run in sweep.runs]
    generated = any(run.job.generated for run in sweep.runs)
    hows = dict.fromkeys(run.job.how for run in sweep.runs)
    return [
        Paragraph(glossary.INTRODUCTION),
        *([Paragraph(GENERATED)] if generated else []),
        Heading("The runs"),
        Paragraph(f"{done} of {len(sweep.runs)} runs are finished. {' '.join(hows)}"),
        Grid(headings, rows, numbers=frozenset({2, 6, 7})),
    ]


def _row(run: ShownRun) -> list[str]:
    took, best = origin.minutes(run.folder), monitored(run.folder)
    last = (origin.starts(run.folder) or [{}])[-1]
    reason = failure(run.folder)
    return [
        run.name,
        "finished" if took is not None else f"failed: {reason}" if reason else "not finished",
        str(run.cfg.seed),
        origin.input_size(run.cfg),
        origin.epochs(run.cfg, run.folder),
        str(run.cfg.evaluation.monitor),
        origin.UNKNOWN if best is None else f"{best:.3f}",
        origin.UNKNOWN if took is None else f"{took:.1f}",
        origin.commit(last),
        origin.machine(last),
    ]


def _results(sweep: SweepRuns) -> list[Block]:
    if sweep.scores.empty:
        return [Heading("Results"), Paragraph("No run has finished yet.")]
    hows = dict.fromkeys(run.job.how for run in sweep.runs if len(run.own))
    tables = tables_of(sweep.scores, " ".join(hows), any(run.job.generated for run in sweep.runs))
    pooled = Paragraph("Folds of a cross-validation are pooled, and seeds are averaged pair by pair.")
    return [Heading("Results"), pooled, *tables, *_spread(sweep), *_differences(sweep)]


def _spread(sweep: SweepRuns) -> list[Block]:
    own = sweep.standard[sweep.standard["model"].isin(sweep.models)]
    table = spread.over_runs(own)
    if table.empty:
        return []
    cells = [f"{row.mean:.3f} ± {row.error:.3f}" for row in table.itertuples()]
    wide = table.assign(cell=cells).pivot(index=["task", "model", "runs"], columns="metric", values="cell")
    names = list(dict.fromkeys(table["metric"]))
    rows = [[str(value) for value in row] for row in wide[names].reset_index().itertuples(index=False)]
    headings = ["task", "model", "runs", *(METRICS[name].title for name in names)]
    said = "Runs of one model: mean of their means ± standard error over runs."
    return [Paragraph(said), Grid(headings, rows, frozenset(range(2, len(headings))), grouped=True)]


def _differences(sweep: SweepRuns) -> list[Block]:
    """Every model minus the first, where they share test pairs."""
    first, *others = sweep.models
    tables = {name: _of_model(sweep, name) for name in sweep.models}
    found = {}
    for name in others:
        try:
            found[name] = compare(tables[name], tables[first])
        except ConfigError:  # other test pairs: there is nothing to compare
            continue
    if not found:
        return []
    said = (
        f"Each model minus {first}, on the pairs that both were tested on: mean difference with its 95 % interval "
        "(paired bootstrap over images); bold where it excludes zero."
    )
    return [Paragraph(said), score_grids.differences(found, "model")]


def _of_model(sweep: SweepRuns, name: str) -> pd.DataFrame:
    return averaged_over_seeds(sweep.standard[sweep.standard["model"] == name])


def _by_epoch(sweep: SweepRuns) -> list[Block]:
    charts = curve_charts({run.name: run.folder for run in sweep.runs})
    said = "As logged after each epoch, counted from 0." if charts else "Nothing was logged by epoch."
    return [Heading("Learning curves"), Paragraph(said), *([Charts(charts)] if charts else [])]


def _about(best: ShownRun) -> list[Block]:
    said = f"What follows is of one run: {best.name}, the best by {best.cfg.evaluation.monitor}."
    return [Heading("The best run"), Paragraph(said)]


def _pair_by_pair(sweep: SweepRuns, best: ShownRun) -> list[Block]:
    """The two leading models; a single one beside baselines."""
    leaders = sweep.leaders()
    if len(leaders) < 2:
        return beside_baselines(best)
    one, other = leaders[:2]
    texts = sweep.standard.drop_duplicates(["image_id", "task"])[["image_id", "task", "text"]]
    named = _of_model(sweep, one).merge(texts, on=["image_id", "task"])
    blocks = scatters(named, _of_model(sweep, other), (one, other))
    return [Heading("The two leading models pair by pair"), *blocks]
