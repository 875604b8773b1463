"""What the runs of a study measured, cell by cell and epoch by epoch, beside what was published."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from saltext.data.splits import any_fold, pooled_folds
from saltext.metrics import METRICS
from saltext.results.comparison import Estimate, estimate
from saltext.results.run_record import RunRecord, history
from saltext.results.study import Line, Study, is_of, part_of


class Verdict(StrEnum):
    """How a measured mean compares with the published value; the first that applies."""

    UNPUBLISHED = "–"
    MISSING = "not measured"
    GENERATED = "no verdict (synthetic data)"
    WITHIN = "within tolerance"
    COVERED = "covered by the interval"
    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True)
class Cell:
    """The mean of one metric over the pairs of a row and line of a study; as text, with its interval.

    ``published`` and ``ours`` are NaN where nothing was published or measured.
    """

    row: str
    line: str
    metric: str
    published: float
    ours: Estimate
    pairs: int
    verdict: Verdict

    def __str__(self) -> str:
        return str(self.ours)

    @property
    def difference(self) -> Estimate:
        """Ours minus the published value, with the interval of ours; NaN where either is missing."""
        ours, published = self.ours, self.published
        return Estimate(ours.mean - published, ours.low - published, ours.high - published, ours.images)

    @property
    def passed(self) -> bool | None:
        """Whether ours is better than the published value, by however little; None where they cannot be compared."""
        if self.verdict in (Verdict.UNPUBLISHED, Verdict.MISSING, Verdict.GENERATED):
            return None
        return self.difference.mean > 0 if METRICS[self.metric].higher_is_better else self.difference.mean < 0


def by_setting(runs: Sequence[RunRecord], lines: Sequence[Line]) -> dict[str, list[RunRecord]]:
    """The runs that lines are made from by evaluation setting; folds of a cross-validation are together and counted."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        if any(is_of(run, line) for line in lines):
            found.setdefault(any_fold(run.setting), []).append(run)
    settings = {}
    for alike in found.values():
        by_line = [(line, [run for run in alike if is_of(run, line)]) for line in lines]
        scored = {len({r.setting for r in own if part_of(r, line).scores.is_file()}) for line, own in by_line if own}
        settings[pooled_folds(alike[0].setting, scored)] = alike
    return dict(sorted(settings.items()))


def cells(study: Study, scores: pd.DataFrame) -> list[Cell]:
    """Every cell of a study's tables; those that were neither measured nor published are left out.

    ``scores`` are of single pairs, see :class:`saltext.results.study_scores.StudyScores`, of one evaluation setting.
    """
    generated = bool(scores["generated"].any())
    found = []
    for row, tasks in study.rows.items():
        for line in (line for line in study.lines if row in study.rows_of(line)):
            part = scores[(scores["line"] == line.name) & scores["task"].isin(tasks)]
            for metric in study.metrics:
                known = part.dropna(subset=metric)
                # A baseline that has not all tasks pooled in a row would stand beside models that do.
                known = known if set(known["task"]) == set(tasks) else known[:0]
                ours, expected = estimate(known, metric), study.expected(line, row, metric)
                published = math.nan if expected is None else expected
                within = study.tolerance[metric].within if metric in study.tolerance else 0.0
                verdict = _verdict(published, ours, within, generated)
                found.append(Cell(row, line.name, metric, published, ours, len(known), verdict))
    return [cell for cell in found if cell.pairs or not math.isnan(cell.published)]


def _verdict(published: float, ours: Estimate, within: float, generated: bool) -> Verdict:
    if math.isnan(ours.mean):
        return Verdict.MISSING
    if math.isnan(published):
        return Verdict.UNPUBLISHED
    if generated:
        return Verdict.GENERATED
    # A difference of exactly the tolerance is within it, whatever its last binary digit.
    if abs(ours.mean - published) <= within + 1e-12:
        return Verdict.WITHIN
    if ours.low <= published <= ours.high:
        return Verdict.COVERED
    return Verdict.ABOVE if ours.mean > published else Verdict.BELOW


def frame(found: Mapping[str, Sequence[Cell]], study: Study) -> pd.DataFrame:
    """All cells as a table: one row a cell, with the study's tolerance; ``found`` holds them by evaluation setting."""
    columns = ["row", "line", "metric", "published", "ours", "low", "high", "difference", "tolerance", "verdict",
               "passed", "pairs", "how"]  # fmt: skip
    records = []
    for how, part in found.items():
        for cell in part:
            ours, tolerance = cell.ours, study.tolerance.get(cell.metric)
            records.append([
                cell.row, cell.line, cell.metric, cell.published, ours.mean, ours.low, ours.high, cell.difference.mean,
                tolerance.within if tolerance else math.nan, str(cell.verdict), cell.passed, cell.pairs, how,
            ])  # fmt: skip
    return pd.DataFrame(records, columns=columns)


OURS, PUBLISHED = "ours", "published"

COLUMNS = ("line", "by", "how", "logged", "epoch", "value")


def values(study: Study, runs: Mapping[str, Sequence[RunRecord]]) -> pd.DataFrame:
    """Every point of the figure: ``line``, ``by`` (ours, published), ``how`` (ours: evaluation setting), ``logged`` (a
    panel's key), ``epoch`` from 0 and ``value``; runs of several seeds or folds are averaged.

    Args:
        study: Whose panels are drawn.
        runs: Evaluation setting -> runs.
    """
    ways = [(line, how, part) for how, part in runs.items() for line in study.lines if not line.model]
    found = [*(_published(study, line) for line in study.lines), *(_ours(study, *way) for way in ways)]
    points = pd.concat([table for table in found if len(table)] or found[:1], ignore_index=True)
    return points.reindex(columns=list(COLUMNS))


def _published(study: Study, line: Line) -> pd.DataFrame:
    known = pd.concat([study.curve(line, panel) for panel in study.panels] or [study.curves[:0]])
    return known.rename(columns={"metric": "logged"}).assign(line=line.name, by=PUBLISHED, how="")


def _ours(study: Study, line: Line, how: str, runs: Sequence[RunRecord]) -> pd.DataFrame:
    """Of a line that is no baseline, which has no training of its own."""
    parts = [pd.DataFrame(columns=["logged", "epoch", "value"])]
    for run in (run for run in runs if is_of(run, line)):
        # A metric is logged under the part of the split that selects the epoch.
        names = {f"{run.cfg.data.selection_split}/{p}" if p in METRICS else p: p for p in study.panels}
        table = history(run).query("stage == @line.stage")
        parts.append(table.assign(logged=table["name"].map(names)).dropna(subset="logged"))
    pooled = pd.concat(parts[1:] or parts).groupby(["logged", "epoch"], sort=False)["value"].mean().reset_index()
    return pooled.assign(line=line.name, by=OURS, how=how)


def numbered(how: str, ways: Sequence[str]) -> str:
    """What tells runs of one line apart: the number of their evaluation setting; nothing where there is one only."""
    return f" ({ways.index(how) + 1})" if len(ways) > 1 else ""


def best_and_last(points: pd.DataFrame) -> pd.DataFrame:
    """What each curve of a metric comes to, from the points of :func:`values`.

    Returns:
        One row a curve: ``line``, ``by``, ``how``, ``logged``, ``best``, ``epoch`` of it, ``last`` and ``lost`` (how
        much worse the last epoch is than the best one, at least 0).
    """
    records = []
    scored = points[points["logged"].isin(METRICS)]
    for (line, by, how, logged), part in scored.groupby(["line", "by", "how", "logged"], sort=False):
        sign = 1 if METRICS[str(logged)].higher_is_better else -1
        curve = part.set_index("epoch")["value"].sort_index()
        epoch: Any = (sign * curve).idxmax()
        best, last = float(curve[epoch]), float(curve.iloc[-1])
        records.append((line, by, how, logged, best, int(epoch), last, sign * (best - last)))
    return pd.DataFrame(records, columns=["line", "by", "how", "logged", "best", "epoch", "last", "lost"])
