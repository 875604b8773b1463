"""The page of a sweep, or of all runs below a folder."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """The runs of a sweep, or below a folder, with their pooled scores.

    Attributes:
        name: Of the folder.
        runs: Finished or not, with different names; at least one.
        scores: Of the finished runs, see :func:`saltext.results.score_table.pooled`; may be empty.
        models: Names of the runs' own models in ``scores``.
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


def page(sweep: SweepRuns, best: ShownRun | None, chosen: Chosen) -> Document:
    """The page of a sweep: findings and pictures of the best run, tables of all models, provenance of all runs.

    ``best`` is the first of :meth:`SweepRuns.ranked` (None if no run was tested), by whose scores pairs and images are
    ``chosen``.
    """
    finished = sum(run.record.folder.is_finished for run in sweep.runs)
    about = f"{finished} of {len(sweep.runs)} runs are finished."
    if best is not None:
        about += f" Findings, pictures and calibration are of one run: {best.name}, the best by {best.record.monitor}."
    blocks: list[Block] = [Paragraph(about), *(run_page.findings_section([best], chosen) if best is not None else [])]
    blocks += _results_section(sweep)
    if best is not None:
        blocks += run_page.text_section([best])
        blocks += run_page.best_and_worst_section([best], chosen)
        blocks += run_page.calibration_section([best])
        leaders = sweep.leaders()
        if len(leaders) < 2:
            blocks += run_page.baseline_section(best)
        else:
            texts = sweep.standard.drop_duplicates(["image_id", "task"])[["image_id", "task", "text"]]
            with_texts = sweep.of_model(leaders[0]).merge(texts, on=["image_id", "task"])
            blocks.append(Heading("The two leading models pair by pair"))
            blocks += run_page.scatters(with_texts, sweep.of_model(leaders[1]), (leaders[0], leaders[1]))
    blocks += run_page.curves_section(sweep.runs)
    blocks += _provenance_section(sweep)
    blocks += run_page.glossary_section(sweep.runs)
    return Document(f"{sweep.name}: {len(sweep.runs)} runs", blocks)


def _results_section(sweep: SweepRuns) -> list[Block]:
    """Pooled tables, the spread over folds and seeds, and every model minus the first where they share test pairs."""
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
    gaps = {}
    for name in others:
        try:
            gaps[name] = differences(sweep.of_model(name), sweep.of_model(first))
        except ConfigError:  # no test pair in common
            continue
    if gaps:
        note = f"Each model minus {first}, on the pairs that both were tested on. {tables.PAIRED}"
        blocks.append(tables.differences(gaps, f"model minus {first}", note))
    return blocks


def _provenance_section(sweep: SweepRuns) -> list[Block]:
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
    grid = Grid(list(rows[0]), [list(row.values()) for row in rows], numbers=frozenset({3, 6, 7}), keys=1)
    return [Heading("Provenance"), Paragraph(settings), grid]
