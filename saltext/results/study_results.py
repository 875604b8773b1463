"""What the runs of a study measured, pair by pair, cell by cell and epoch by epoch, beside what was published.

Scores of single pairs are kept as small files beside the results: ``scores.csv.gz`` has every line with each pair's own
text, ``text_ablation.csv.gz`` the lines of ``text_ablation`` with other texts, ``scores_by_seed.csv.gz`` the lines that
were trained with several seeds, seed by seed. They are read back before anything is computed, so that the same tables
come out of the files alone, without any run.
"""

import gzip
import io
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from saltext import storage
from saltext.data.splits import any_fold, pooled_folds
from saltext.errors import ConfigError, DamagedFileError
from saltext.metrics import METRICS
from saltext.results.comparison import Difference, Estimate, differences, estimate
from saltext.results.run_record import RunRecord, history
from saltext.results.score_table import averaged_over_seeds, of_protocol, read_all, read_scores, without_absent
from saltext.results.study import Line, Study, is_of, part_of
from saltext.results.text_ablation import ablation_differences

_log = logging.getLogger(__name__)

OWN_FILE, VARIANTS_FILE, SEEDS_FILE = "scores.csv.gz", "text_ablation.csv.gz", "scores_by_seed.csv.gz"

_OWN = ("setting", "generated", "line", "task", "image_id")
_VARIANTS = ("setting", "line", "variant", "task", "image_id")
_SEEDS = ("setting", "line", "seed", "task", "image_id")
_DIGITS = "%.5g"  # a score's error by rounding is far below what a table shows of a mean


class StudyScores(NamedTuple):
    """Scores of single pairs with their own texts and with other ones, folds pooled and seeds averaged pair by pair.

    Beside the study's metrics there are ``setting`` (evaluation setting), ``generated`` (whether the data set is) or
    ``variant``, ``line``, ``task`` and ``image_id``.

    ``seeds`` has the same as ``own`` for networks that were trained with several seeds, not averaged, with ``seed``.
    """

    own: pd.DataFrame
    variants: pd.DataFrame
    seeds: pd.DataFrame

    @property
    def settings(self) -> list[str]:
        """Every evaluation setting; each has its own tables."""
        return sorted(set(self.own["setting"]))

    def of(self, setting: str) -> "StudyScores":
        """Those of one evaluation setting."""
        return StudyScores(*(table[table["setting"] == setting] for table in self))


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


def pooled_scores(study: Study, runs: Mapping[str, Sequence[RunRecord]]) -> StudyScores:
    """The scores of a study's runs, as far as they are there; see :func:`by_setting`."""
    own, variants, seeds = [], [], []
    for setting, part in runs.items():
        generated = any(run.generated for run in part)
        for line in study.lines:
            scores = _of_line(study, line, part, "scores")
            own.append(_averaged(scores).assign(setting=setting, generated=generated))
            if not line.model and len(scores) and scores["seed"].nunique() > 1:
                of_seeds = [_averaged(of_seed).assign(seed=seed) for seed, of_seed in scores.groupby("seed")]
                seeds.append(pd.concat(of_seeds).assign(setting=setting))
            if line.name in study.text_ablation:
                read = _of_line(study, line, part, "text_ablation_scores")
                variants.append(_averaged(read).assign(setting=setting))
    return StudyScores(_joined(own, _OWN, study), _joined(variants, _VARIANTS, study), _joined(seeds, _SEEDS, study))


def _of_line(study: Study, line: Line, runs: Sequence[RunRecord], kind: str) -> pd.DataFrame:
    """The scores of a line's runs, a row for each pair and run."""
    own = {run.folder: run for run in runs if is_of(run, line) and getattr(part_of(run, line), kind).is_file()}
    try:
        read = read_all({folder: getattr(part_of(run, line), kind) for folder, run in own.items()})
    except DamagedFileError as error:  # of all of them: the line is shown as not measured
        _log.warning("left out: %s", error)
        return pd.DataFrame()
    tables = []
    for folder, scores in read.items():
        table = of_protocol(scores, study.protocol)
        tables.append(table[table["model"] == (line.model or own[folder].label)].assign(model=line.name))
    return pd.concat(tables).assign(line=line.name) if tables else pd.DataFrame()


def _averaged(scores: pd.DataFrame) -> pd.DataFrame:
    """Seeds of a line averaged pair by pair."""
    return averaged_over_seeds(scores).assign(line=scores["line"].iloc[0]) if len(scores) else scores


def _joined(tables: Iterable[pd.DataFrame], keys: Sequence[str], study: Study) -> pd.DataFrame:
    columns = [*keys, *study.metrics]
    parts = [table.reindex(columns=columns) for table in tables if len(table)]
    return pd.concat(parts).sort_values(list(keys), ignore_index=True) if parts else pd.DataFrame(columns=columns)


def write_kept(to: Path, scores: StudyScores) -> None:
    """Write the files into a folder, the same bytes whenever the scores are the same; all but the first if they have
    rows."""
    write_packed(to / OWN_FILE, scores.own)
    for name, table in ((VARIANTS_FILE, scores.variants), (SEEDS_FILE, scores.seeds)):
        if table.empty:
            (to / name).unlink(missing_ok=True)
        else:
            write_packed(to / name, table)


def write_packed(path: Path, table: pd.DataFrame) -> None:
    """Write a score table as gzipped CSV, the same bytes whenever the scores are the same."""
    text = table.to_csv(index=False, float_format=_DIGITS, lineterminator="\n")
    packed = io.BytesIO()
    with gzip.GzipFile(path.name, "wb", fileobj=packed, mtime=0) as stream:
        stream.write(text.encode())
    storage.write_bytes(path, packed.getvalue(), durable=True)


def kept_file(path: Path) -> Path | None:
    """The scores kept at a path, which is that file or the folder that holds it; None where there are none."""
    return next((file for file in (path, path / OWN_FILE) if file.is_file()), None)


def read_kept(study: Study, file: Path) -> StudyScores:
    """Read what :func:`write_kept` wrote: ``scores.csv.gz``, and of the other files those that lie beside it.

    Raises:
        ConfigError: A file is no score table, or not one of this study.
    """
    variants, seeds = (
        _read_table(study, beside, keys) if (beside := file.with_name(name)).is_file() else _joined([], keys, study)
        for name, keys in ((VARIANTS_FILE, _VARIANTS), (SEEDS_FILE, _SEEDS))
    )
    return StudyScores(_read_table(study, file, _OWN), variants, seeds)


def _read_table(study: Study, file: Path, keys: Sequence[str]) -> pd.DataFrame:
    try:
        table = read_scores(file)
    except DamagedFileError as error:
        raise ConfigError(f"{file} is no score table ({error}). Expected what a study writes: {OWN_FILE}") from error
    missing = [column for column in (*keys, *study.metrics) if column not in table]
    names = {line.name for line in study.lines}
    unknown = sorted(set(table["line"]) - names) if "line" in table else []
    problems = [f"it lacks the columns {', '.join(missing)}"] if missing else []
    problems += [f"it has the lines {', '.join(unknown)} (known: {', '.join(sorted(names))})"] if unknown else []
    if problems:
        raise ConfigError(
            f"{file} does not hold scores of the study {study.name!r}: {'; '.join(problems)}. Write it again from the "
            f"runs: saltext reproduce {study.name} --from FOLDER"
        )
    return table


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
    """The mean of one metric over the pairs of a row and line; ``published`` and ``ours`` are NaN where unknown."""

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


def cells(study: Study, scores: pd.DataFrame) -> list[Cell]:
    """Every cell of a study's tables that was measured or published; ``scores`` are of one evaluation setting."""
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


def compared_lines(study: Study, scores: StudyScores, subset: str = "") -> dict[str, dict[str, list[Difference]]]:
    """Line named in ``against`` -> model -> the model minus that line, on the pairs of both; of one setting's rows, of
    all images or those of a subset of the study."""
    table = scores.own
    if subset:
        table = table[table["image_id"].str.fullmatch(study.subsets[subset])]
    own = {line.name: without_absent(table[table["line"] == line.name]) for line in study.lines}
    found: dict[str, dict[str, list[Difference]]] = {}
    for base in study.against:
        shared = {
            line.name: differences(own[line.name], own[base])
            for line in study.lines
            if not line.model and line.name != base
            if not own[line.name].merge(own[base], on=["image_id", "task"]).empty
        }
        found |= {base: shared} if shared else {}
    return found


def by_seed(study: Study, scores: StudyScores, metric: str) -> pd.DataFrame:
    """Means of each seed, without intervals; of one setting's scores, empty where no line has several seeds.

    Args:
        study: The study.
        scores: Its scores.
        metric: Of which the means are.

    Returns:
        ``line`` and ``minus`` (the line of ``against`` that is subtracted on the pairs of both, or the empty string),
        ``seed``, ``pairs`` (how many the means are over together), and a column for each of the study's rows, NaN where
        a line has none of its pairs.
    """
    lines = {str(name): part for name, part in scores.seeds.groupby("line", sort=False)}
    compared = [(name, "") for name in lines]
    compared += [(name, base) for base in study.against if base in lines for name in lines if name != base]
    pair, records = ["seed", "task", "image_id"], []
    for name, base in compared:
        table = lines[name].set_index(pair)[metric]
        values = (table if not base else table - lines[base].set_index(pair)[metric]).dropna().reset_index()
        for seed, of_seed in values.groupby("seed"):
            means = {row: of_seed[of_seed["task"].isin(tasks)][metric].mean() for row, tasks in study.rows.items()}
            records.append({"line": name, "minus": base, "seed": seed, "pairs": len(of_seed), **means})
    return pd.DataFrame(records, columns=["line", "minus", "seed", "pairs", *study.rows])


def ablations(study: Study, scores: StudyScores) -> dict[str, dict[str, list[Difference]]]:
    """Line named in ``text_ablation`` -> text variant -> own text minus other text; of one setting's scores."""
    found = {}
    for name in study.text_ablation:
        own, variants = (without_absent(each[each["line"] == name]) for each in (scores.own, scores.variants))
        found[name] = ablation_differences(own, variants)
    return {name: effects for name, effects in found.items() if effects}


def frame(found: Mapping[str, Sequence[Cell]], study: Study) -> pd.DataFrame:
    """All cells as a table, one row per cell, with the study's tolerance; ``found``: evaluation setting -> cells."""
    columns = ["row", "line", "metric", "published", "ours", "low", "high", "difference", "tolerance", "verdict",
               "passed", "pairs", "setting"]  # fmt: skip
    within = {metric: tolerance.within for metric, tolerance in study.tolerance.items()}
    records = [
        [cell.row, cell.line, cell.metric, cell.published, cell.ours.mean, cell.ours.low, cell.ours.high,
         cell.difference.mean, within.get(cell.metric, math.nan), str(cell.verdict), cell.passed, cell.pairs, setting]
        for setting, part in found.items()
        for cell in part
    ]  # fmt: skip
    return pd.DataFrame(records, columns=columns)


OURS, PUBLISHED = "ours", "published"


def values(study: Study, runs: Mapping[str, Sequence[RunRecord]]) -> pd.DataFrame:
    """Every point of the figure; runs of several seeds or folds are averaged: ``line``, ``by`` (ours, published),
    ``setting`` (ours: of the evaluation), ``logged`` (a panel's key), ``epoch`` from 0 and ``value``.
    """
    found = []
    for line in study.lines:
        for curve in (study.curve(line, panel) for panel in study.panels):
            found.append(curve.rename(columns={"metric": "logged"}).assign(line=line.name, by=PUBLISHED, setting=""))
    # A baseline has no training of its own.
    for setting, line in ((setting, line) for setting in runs for line in study.lines if not line.model):
        parts = []
        for run in (run for run in runs[setting] if is_of(run, line)):
            # A metric is logged under the part of the split that selects the epoch.
            names = {f"{run.cfg.data.selection_split}/{p}" if p in METRICS else p: p for p in study.panels}
            table = history(run).query("stage == @line.stage")
            parts.append(table.assign(logged=table["name"].map(names)).dropna(subset="logged"))
        if parts:
            pooled = pd.concat(parts).groupby(["logged", "epoch"], sort=False)["value"].mean().reset_index()
            found.append(pooled.assign(line=line.name, by=OURS, setting=setting))
    columns = ["line", "by", "setting", "logged", "epoch", "value"]
    points = [table[columns] for table in found if len(table)]
    return pd.concat(points, ignore_index=True) if points else pd.DataFrame(columns=columns)


def numbered(setting: str, settings: Sequence[str]) -> str:
    """The number of the evaluation setting of runs of one line; nothing where there is one only."""
    return f" ({settings.index(setting) + 1})" if len(settings) > 1 else ""


def best_and_last(points: pd.DataFrame) -> pd.DataFrame:
    """Best value, its epoch and last value of each curve of a metric, and how much worse the last is (``lost``)."""
    records = []
    scored = points[points["logged"].isin(METRICS)]
    for (line, by, setting, logged), part in scored.groupby(["line", "by", "setting", "logged"], sort=False):
        sign = 1 if METRICS[str(logged)].higher_is_better else -1
        curve = part.set_index("epoch")["value"].sort_index()
        epoch: Any = (sign * curve).idxmax()
        best, last = float(curve[epoch]), float(curve.iloc[-1])
        records.append((line, by, setting, logged, best, int(epoch), last, sign * (best - last)))
    return pd.DataFrame(records, columns=["line", "by", "setting", "logged", "best", "epoch", "last", "lost"])
