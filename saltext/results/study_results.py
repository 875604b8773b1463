"""What the runs of a study measured, cell by cell and epoch by epoch, beside what was published."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from saltext.data.splits import any_fold, pooled_folds
from saltext.metrics import METRICS
from saltext.results.comparison import estimate
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
    """The mean of one metric over the pairs of a row; as text, with its interval.

    Attributes:
        row: Of the study's table.
        line: Its name.
        metric: A name of ``saltext.metrics.METRICS``.
        published: NaN where nothing was published.
        mean: Ours; NaN where it was not measured, like what follows.
        low, high: Ends of the 95 % interval: bootstrap over images.
        pairs: Image-text pairs.
        verdict: Of the comparison.
    """

    row: str
    line: str
    metric: str
    published: float
    mean: float
    low: float
    high: float
    pairs: int
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})" if self.pairs else "–"

    @property
    def difference(self) -> float:
        """Ours minus the published value; NaN where either is missing."""
        return self.mean - self.published

    @property
    def gap(self) -> str:
        """The difference with the interval of ours, as text; empty where either is missing."""
        if math.isnan(self.difference):
            return ""
        low, high = self.low - self.published, self.high - self.published
        return f"{self.difference:+z.3f} ({low:+z.3f} to {high:+z.3f})"

    @property
    def passed(self) -> bool | None:
        """Whether ours is better than the published value, by however little; None where they cannot be compared."""
        if self.verdict in (Verdict.UNPUBLISHED, Verdict.MISSING, Verdict.GENERATED):
            return None
        return self.difference > 0 if METRICS[self.metric].higher_is_better else self.difference < 0


def by_setting(runs: Sequence[RunRecord], lines: Sequence[Line]) -> dict[str, list[RunRecord]]:
    """The runs that lines are made from, apart by evaluation setting; folds of one cross-validation are together, and
    how many of them were scored is said."""
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

    Args:
        study: What is compared.
        scores: Of single pairs, see :class:`saltext.results.study_scores.StudyScores`; of one kind of split and
            choice of the epoch.
    """
    generated = bool(scores["generated"].any())
    measured = {line.name: scores[scores["line"] == line.name] for line in study.lines}
    found = [
        _cell(study, line, row, metric, measured[line.name], generated)
        for row in study.rows
        for line in study.lines
        if row in study.rows_of(line)
        for metric in study.metrics
    ]
    return [cell for cell in found if cell.pairs or not math.isnan(cell.published)]


def _cell(study: Study, line: Line, row: str, metric: str, table: pd.DataFrame, generated: bool) -> Cell:
    expected = study.expected(line, row, metric)
    part = table[table["task"].isin(study.rows[row])]
    known = part[part[metric].notna()]
    # A baseline that has not all tasks pooled in a row would stand beside models that do.
    known = known if set(known["task"]) == set(study.rows[row]) else known[:0]
    ours = estimate(known, metric)
    published = math.nan if expected is None else expected
    tolerance = study.tolerance.get(metric)
    within = tolerance.within if tolerance else 0.0
    verdict = _verdict(published, ours.mean, (ours.low, ours.high), within, generated)
    return Cell(row, line.name, metric, published, ours.mean, ours.low, ours.high, len(known), verdict)


def _verdict(published: float, mean: float, interval: tuple[float, float], within: float, generated: bool) -> Verdict:
    if math.isnan(mean):
        return Verdict.MISSING
    if math.isnan(published):
        return Verdict.UNPUBLISHED
    if generated:
        return Verdict.GENERATED
    # A difference of exactly the tolerance is within it, whatever its last binary digit.
    if abs(mean - published) <= within + 1e-12:
        return Verdict.WITHIN
    if interval[0] <= published <= interval[1]:
        return Verdict.COVERED
    return Verdict.ABOVE if mean > published else Verdict.BELOW


def frame(found: Mapping[str, Sequence[Cell]], study: Study) -> pd.DataFrame:
    """All cells as a table: one row a cell.

    Args:
        found: Split and choice of the epoch -> cells.
        study: Whose tolerances are written beside them.
    """
    records = [
        {**vars(cell), "ours": cell.mean, "difference": cell.difference, "verdict": str(cell.verdict),
         "tolerance": study.tolerance[cell.metric].within if cell.metric in study.tolerance else math.nan,
         "passed": cell.passed, "how": how}
        for how, part in found.items()
        for cell in part
    ]  # fmt: skip
    columns = ["row", "line", "metric", "published", "ours", "low", "high", "difference", "tolerance", "verdict",
               "passed", "pairs", "how"]  # fmt: skip
    return pd.DataFrame(records, columns=columns)


OURS, PUBLISHED = "ours", "published"

COLUMNS = ("line", "by", "how", "logged", "epoch", "value")


def values(study: Study, runs: Mapping[str, Sequence[RunRecord]]) -> pd.DataFrame:
    """Every point of the figure.

    Args:
        study: Whose panels are drawn.
        runs: Evaluation setting -> runs.

    Returns:
        One row a point, with ``line``, ``by`` (ours, published), ``how`` (ours: split and choice of the epoch),
        ``logged`` (a panel's key), ``epoch`` from 0 and ``value``; runs of several seeds or folds are averaged.
    """
    found = [_published(study)]
    found += [_ours(study, line, how, part) for how, part in runs.items() for line in study.lines]
    return pd.concat([table for table in found if len(table)] or [found[0]], ignore_index=True)[list(COLUMNS)]


def _published(study: Study) -> pd.DataFrame:
    parts = [study.curve(line, panel).assign(line=line.name) for line in study.lines for panel in study.panels]
    known = pd.concat([study.curves[:0], *(part for part in parts if len(part))])
    return known.rename(columns={"metric": "logged"}).assign(by=PUBLISHED, how="")


def _ours(study: Study, line: Line, how: str, runs: Sequence[RunRecord]) -> pd.DataFrame:
    parts = []
    for run in runs:
        if is_of(run, line) and not line.model:  # a baseline has no training of its own
            # A metric is logged under the part of the split that selects the epoch.
            names = {f"{run.cfg.data.selection_split}/{p}" if p in METRICS else p: p for p in study.panels}
            table = history(run)
            part = table[(table["stage"] == line.stage) & table["name"].isin(list(names))]
            parts.append(part.assign(logged=part["name"].map(names)))
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    pooled = pd.concat(parts).groupby(["logged", "epoch"], sort=False)["value"].mean().reset_index()
    return pooled.assign(line=line.name, by=OURS, how=how)


def numbered(how: str, ways: Sequence[str]) -> str:
    """What tells runs of one line apart: the number of their evaluation setting; nothing where there is one only."""
    return f" ({ways.index(how) + 1})" if len(ways) > 1 else ""


def best_and_last(points: pd.DataFrame) -> pd.DataFrame:
    """What each curve of a metric comes to.

    Args:
        points: See :func:`values`.

    Returns:
        One row a curve, with ``line``, ``by``, ``how``, ``logged``, ``best``, ``epoch`` of it, ``last`` and ``lost``
        (how much worse the last epoch is than the best one, at least 0).
    """
    records = []
    scored = points[points["logged"].isin(METRICS)]
    for (line, by, how, logged), part in scored.groupby(["line", "by", "how", "logged"], sort=False):
        sign = 1 if METRICS[str(logged)].higher_is_better else -1
        ordered = part.sort_values("epoch")
        scores = ordered["value"].to_numpy()
        index = int((sign * scores).argmax())
        best, last = float(scores[index]), float(scores[-1])
        epoch = int(ordered["epoch"].iloc[index])
        records.append((line, by, how, logged, best, epoch, last, sign * (best - last)))
    return pd.DataFrame(records, columns=["line", "by", "how", "logged", "best", "epoch", "last", "lost"])
