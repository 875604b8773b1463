"""The scores of single pairs that a study's tables are made from, pooled and kept as two small files.

``scores.csv.gz`` has every line with each pair's own text, ``text_ablation.csv.gz`` the lines of ``text_ablation`` with
other texts. They are written beside the results and read back before anything is computed, so that the same tables
come out of the files alone, without any run.
"""

import gzip
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from saltext import storage
from saltext.errors import ConfigError, DamagedFileError
from saltext.results.run_record import RunRecord
from saltext.results.score_table import averaged_over_seeds, of_protocol, read_all, read_scores
from saltext.results.study import Line, Study, is_of, part_of

_log = logging.getLogger(__name__)

OWN_FILE, VARIANTS_FILE = "scores.csv.gz", "text_ablation.csv.gz"

_OWN = ("how", "generated", "line", "task", "image_id")
_VARIANTS = ("how", "line", "variant", "task", "image_id")
_DIGITS = "%.5g"  # a score's error by rounding is far below what a table shows of a mean


class StudyScores(NamedTuple):
    """Scores of single pairs, folds pooled and seeds averaged pair by pair; one row a pair and line.

    ``own``, with the pairs' own texts, has ``how`` (split and choice of the epoch), ``generated`` (whether the data set
    is), ``line``, ``task``, ``image_id`` and the study's metrics; ``variants``, with other texts, ``variant`` besides.
    """

    own: pd.DataFrame
    variants: pd.DataFrame

    @property
    def ways(self) -> list[str]:
        """Every split and choice of the epoch, each of which has tables of its own."""
        return sorted(set(self.own["how"]))

    def of(self, how: str) -> "StudyScores":
        """Those of one split and choice of the epoch."""
        return StudyScores(*(table[table["how"] == how] for table in self))


def pooled(study: Study, runs: Mapping[str, Sequence[RunRecord]]) -> StudyScores:
    """The scores of a study's runs, as far as they are there; see :func:`saltext.results.study_results.by_setting`."""
    own, variants = [], []
    for how, part in runs.items():
        generated = any(run.generated for run in part)
        for line in study.lines:
            own.append(_of_line(study, line, part, "scores").assign(how=how, generated=generated))
            if line.name in study.text_ablation:
                variants.append(_of_line(study, line, part, "text_ablation_scores").assign(how=how))
    return StudyScores(_joined(own, _OWN, study), _joined(variants, _VARIANTS, study))


def _of_line(study: Study, line: Line, runs: Sequence[RunRecord], kind: str) -> pd.DataFrame:
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
    return averaged_over_seeds(pd.concat(tables)).assign(line=line.name) if tables else pd.DataFrame()


def _joined(tables: Iterable[pd.DataFrame], keys: Sequence[str], study: Study) -> pd.DataFrame:
    columns = [*keys, *study.metrics]
    parts = [table.reindex(columns=columns) for table in tables if len(table)]
    return pd.concat(parts).sort_values(list(keys), ignore_index=True) if parts else pd.DataFrame(columns=columns)


def write(to: Path, scores: StudyScores) -> None:
    """Write the two files into a folder, the same bytes whenever the scores are the same; the second if it has rows."""
    for name, table in ((OWN_FILE, scores.own), (VARIANTS_FILE, scores.variants)):
        if name == VARIANTS_FILE and table.empty:
            (to / name).unlink(missing_ok=True)
        else:
            text = table.to_csv(index=False, float_format=_DIGITS, lineterminator="\n")
            packed = io.BytesIO()
            with gzip.GzipFile(name, "wb", fileobj=packed, mtime=0) as stream:
                stream.write(text.encode())
            storage.write_bytes(to / name, packed.getvalue(), durable=True)


def kept_file(path: Path) -> Path | None:
    """The scores kept at a path, which is that file or the folder that holds it; None where there are none."""
    return next((file for file in (path, path / OWN_FILE) if file.is_file()), None)


def read(study: Study, file: Path) -> StudyScores:
    """Read what :func:`write` wrote: ``scores.csv.gz``, and ``text_ablation.csv.gz`` if it lies beside it.

    Raises:
        ConfigError: A file is no score table, or not one of this study.
    """
    other = file.with_name(VARIANTS_FILE)
    variants = _read(study, other, _VARIANTS) if other.is_file() else _joined([], _VARIANTS, study)
    return StudyScores(_read(study, file, _OWN), variants)


def _read(study: Study, file: Path, keys: Sequence[str]) -> pd.DataFrame:
    try:
        table = read_scores(file)
    except DamagedFileError as error:
        raise ConfigError(f"{file} is no score table ({error}). Expected what a study writes: {OWN_FILE}") from error
    missing = [column for column in (*keys, *study.metrics) if column not in table]
    names = {line.name for line in study.lines}
    strangers = sorted(set(table["line"]) - names) if "line" in table else []
    problems = [f"it lacks the columns {', '.join(missing)}"] if missing else []
    problems += [f"it has the lines {', '.join(strangers)} (known: {', '.join(sorted(names))})"] if strangers else []
    if problems:
        raise ConfigError(
            f"{file} does not hold scores of the study {study.name!r}: {'; '.join(problems)}. Write it again from the "
            f"runs: saltext reproduce {study.name} --from FOLDER"
        )
    return table
