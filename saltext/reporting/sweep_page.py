"""The page of a sweep, or of whatever runs lie below a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.reporting import provenance, run_page, tables
from saltext.reporting.document import Block, Document, Heading, Paragraph
from saltext.reporting.grid import Grid
from saltext.reporting.run_page import Chosen, ShownRun
from saltext.results.comparison import differences, spread_over_runs
from saltext.results.run_record import monitored
from saltext.results.score_table import averaged_over_seeds, of_protocol


@dataclass(frozen=True)
class SweepRuns:
    """What a folder of several runs holds.

    Attributes:
        name: Of the folder.
        runs: Finished or not, with different names.
        scores: Of the finished ones, pooled, see :func:`saltext.results.score_table.pooled`; may be empty.
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

    def of_model(self, name: str) -> pd.DataFrame:
        """Its standard scores, seeds averaged."""
        return averaged_over_seeds(self.standard[self.standard["model"] == name])

    def ranked(self) -> list[tuple[ShownRun, float]]:
        """The finished runs with the best value of the metric that selected their epochs, best first; those without
        one are left out."""
        values = [(run, monitored(run.record)) for run in self.runs if run.record.folder.is_finished]
        known = [(run, value) for run, value in values if value is not None]
        return sorted(known, key=lambda one: one[1], reverse=self.runs[0].record.mode == "max")

    def leaders(self) -> list[str]:
        """The models by the mean of that metric over their runs, best first."""
        model_of = self.scores[self.scores["model"].isin(self.models)].groupby("run")["model"].first()
        values: dict[str, list[float]] = {}
        for run, value in self.ranked():
            values.setdefault(str(model_of[run.record.folder.root.name]), []).append(value)
        return sorted(values, key=lambda model: fmean(values[model]), reverse=self.runs[0].record.mode == "max")


def page(sweep: SweepRuns, best: ShownRun | None, chosen: Chosen) -> Document:
    """Everything about a sweep: what was found, the best run's pictures, tables, the runs.

    Args:
        sweep: Its runs and scores.
        best: The run whose maps are shown: the first of :meth:`SweepRuns.ranked`; None if no run was tested.
        chosen: By its scores.
    """
    done = sum(run.record.folder.is_finished for run in sweep.runs)
    blocks: list[Block] = [Paragraph(f"{done} of {len(sweep.runs)} runs are finished.")]
    if best is not None:
        selected = best.record.monitor
        blocks.append(
            Paragraph(f"Findings, pictures and calibration are of one run: {best.name}, the best by {selected}.")
        )
        blocks += run_page.found([best], chosen)
    blocks += _results(sweep)
    if best is not None:
        blocks += [*run_page.text([best]), *run_page.best_and_worst([best], chosen), *run_page.calibrated([best])]
        blocks += _pair_by_pair(sweep, best)
    blocks += [*run_page.by_epoch(sweep.runs), *_runs(sweep), *run_page.words(sweep.runs)]
    return Document(f"{sweep.name}: {len(sweep.runs)} runs", blocks, contents=True)


def _results(sweep: SweepRuns) -> list[Block]:
    """Pooled tables, the spread of repetitions, and every model minus the first, where they share test pairs."""
    if sweep.scores.empty:
        return [Heading("Results"), Paragraph("No run has finished yet.")]
    settings = " ".join(dict.fromkeys(run.record.setting for run in sweep.runs if len(run.own)))
    blocks: list[Block] = [
        Heading("Results"),
        Paragraph("Folds of a cross-validation are pooled, and seeds are averaged pair by pair."),
        *run_page.score_tables(sweep.scores, settings, any(run.record.generated for run in sweep.runs)),
    ]
    several = spread_over_runs(sweep.standard[sweep.standard["model"].isin(sweep.models)])
    blocks += [tables.spread(several)] if len(several) else []
    first, *others = sweep.models
    found = {}
    for name in others:
        try:
            found[name] = differences(sweep.of_model(name), sweep.of_model(first))
        except ConfigError:  # other test pairs: there is nothing to compare
            continue
    if found:
        note = f"Each model minus {first}, on the pairs that both were tested on: {tables.PAIRED}."
        blocks.append(tables.differences(found, f"model minus {first}", note))
    return blocks


def _pair_by_pair(sweep: SweepRuns, best: ShownRun) -> list[Block]:
    """The two leading models; a single one beside baselines."""
    leaders = sweep.leaders()
    if len(leaders) < 2:
        return run_page.beside_baselines(best)
    one, other = leaders[:2]
    texts = sweep.standard.drop_duplicates(["image_id", "task"])[["image_id", "task", "text"]]
    named = sweep.of_model(one).merge(texts, on=["image_id", "task"])
    plots = run_page.scatters(named, sweep.of_model(other), (one, other))
    return [Heading("The two leading models pair by pair"), *plots]


def _runs(sweep: SweepRuns) -> list[Block]:
    """Who ran when and where, and what became of it."""
    rows = []
    for run in sweep.runs:
        record = run.record
        took, best = provenance.minutes(record.folder), monitored(record)
        last = (provenance.starts(record.folder) or [{}])[-1]
        rows.append([
            run.name,
            "finished" if took is not None else f"failed: {record.failure}" if record.failure else "not finished",
            str(record.cfg.seed),
            provenance.input_size(record),
            provenance.epochs(record),
            record.monitor,
            "" if best is None else f"{best:.3f}",
            "" if took is None else f"{took:.1f}",
            provenance.commit(last),
            provenance.machine(last),
        ])  # fmt: skip
    headings = ["run", "state", "seed", "input", "epochs", "selected by", "its best", "minutes", "commit", "machine"]
    settings = " ".join(dict.fromkeys(run.record.setting for run in sweep.runs))
    return [Heading("Provenance"), Paragraph(settings), Grid(headings, rows, numbers=frozenset({2, 6, 7}), keys=1)]
