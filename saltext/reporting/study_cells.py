"""What runs measured, cell by cell beside what was published."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from saltext.data.splits import Split, any_fold, pooled_folds
from saltext.errors import SaltextError
from saltext.metrics import METRICS
from saltext.reporting.compare import interval
from saltext.reporting.origin import circumstances
from saltext.reporting.study_expected import Line, Study
from saltext.runs.trust import record
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)

_GENERATED = "saltext.data.SyntheticDataModule"
_SHOWN = ("name", "label", "seed", "data._target_", "data.choose_on", "schedule.stages")


class Verdict(StrEnum):
    """How a measured mean compares with the published value; the first that applies."""

    UNPUBLISHED = "–"
    MISSING = "not measured"
    GENERATED = "generated data"
    WITHIN = "within tolerance"
    COVERED = "covered by the interval"
    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True)
class Job:
    """A run that has started, whether it has finished or not.

    Attributes:
        folder: Its files.
        cfg: Its resolved configuration.
        how: The split, and what chose the epoch; runs for which more of it differs than the fold share no table.
    """

    folder: RunFolder
    cfg: DictConfig
    how: str

    @property
    def generated(self) -> bool:
        """Whether its data set is a generated one, whose scores say nothing about published values."""
        return bool(self.cfg.data._target_ == _GENERATED)

    def is_of(self, line: Line) -> bool:
        """Whether a line is made from it."""
        return bool(self.cfg.name == line.experiment) and all(
            OmegaConf.select(self.cfg, key) == value for key, value in line.where.items()
        )

    def part(self, line: Line) -> RunFolder:
        """The folder that holds what a line shows: the run's, or a stage's."""
        return self.folder.stage(line.stage) if line.stage else self.folder


@dataclass(frozen=True)
class Cell:
    """The mean of one metric over the pairs of a row; as text, with its interval.

    Attributes:
        row: Of the study's table.
        line: Its name.
        metric: A name of ``saltext.metrics.METRICS``.
        published: NaN where nothing was published.
        mean: Ours; NaN where it was not measured, like what follows.
        low: Lower end of the 95 % interval: bootstrap over images.
        high: Upper end.
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
    def passed(self) -> bool | None:
        """Whether ours is better than the published value, by however little; None where they cannot be compared."""
        if self.verdict in (Verdict.UNPUBLISHED, Verdict.MISSING, Verdict.GENERATED):
            return None
        return self.difference > 0 if METRICS[self.metric].higher_is_better else self.difference < 0


def read_jobs(folders: Iterable[RunFolder]) -> list[Job]:
    """The runs among some folders that got as far as having a split; damaged ones are named in the log and left out."""
    found = []
    for folder in folders:
        if folder.config.is_file() and folder.split.is_file():
            try:
                found.append(read_job(folder))
            except SaltextError as error:
                _log.warning("left out: %s", error)
    return found


def read_job(folder: RunFolder) -> Job:
    """A run that got as far as having a split.

    Raises:
        SaltextError: Its configuration or its split is damaged.
    """
    cfg = record(folder, _SHOWN)
    return Job(folder, cfg, circumstances(Split.load(folder.split), cfg.data.choose_on))


def by_circumstances(jobs: Sequence[Job], lines: Sequence[Line]) -> dict[str, list[Job]]:
    """The jobs that lines are made from, apart by split and choice of the epoch; folds of one cross-validation are
    together, and how many of them were scored is said."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        if any(job.is_of(line) for line in lines):
            found.setdefault(any_fold(job.how), []).append(job)
    return dict(sorted((_in_common(part, lines), part) for part in found.values()))


def _in_common(jobs: Sequence[Job], lines: Sequence[Line]) -> str:
    """What jobs that share a table are said to be."""
    by_line = [(line, [job for job in jobs if job.is_of(line)]) for line in lines]
    scored = {len({job.how for job in own if job.part(line).scores.is_file()}) for line, own in by_line if own}
    return pooled_folds(jobs[0].how, scored)


def cells(study: Study, scores: pd.DataFrame) -> list[Cell]:
    """Every cell of a study's tables; those that were neither measured nor published are left out.

    Args:
        study: What is compared.
        scores: Of single pairs, see :class:`saltext.reporting.study_scores.StudyScores`; of one kind of split and
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
    mean, low, high = _estimate(known, metric) if len(known) else (math.nan,) * 3
    published = math.nan if expected is None else expected
    tolerance = study.tolerance.get(metric)
    verdict = _verdict(published, mean, (low, high), tolerance.within if tolerance else 0.0, generated)
    return Cell(row, line.name, metric, published, mean, low, high, len(known), verdict)


def _estimate(part: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    values = part[metric].to_numpy(np.float64)
    return float(values.mean()), *interval(values, part["image_id"].to_numpy())


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
        {
            "row": cell.row,
            "line": cell.line,
            "metric": cell.metric,
            "published": cell.published,
            "ours": cell.mean,
            "low": cell.low,
            "high": cell.high,
            "difference": cell.difference,
            "tolerance": study.tolerance[cell.metric].within if cell.metric in study.tolerance else math.nan,
            "verdict": str(cell.verdict),
            "passed": cell.passed,
            "pairs": cell.pairs,
            "how": how,
        }
        for how, part in found.items()
        for cell in part
    ]
    return pd.DataFrame(records)
