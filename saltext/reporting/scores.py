"""The table of single scores: one row a pair and model. Every mean, interval and figure is computed from it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from saltext.errors import DamagedFileError
from saltext.metrics import METRICS
from saltext.storage import check_csv, write_csv
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)


def metric_names(scores: pd.DataFrame) -> list[str]:
    """The metrics a score table has, in its columns' order."""
    return [str(column) for column in scores.columns if column in METRICS]


def write_scores(path: Path, scores: pd.DataFrame) -> None:
    """Write a score table as CSV; scores keep all their digits."""
    write_csv(path, scores, durable=True)


def read_scores(path: Path) -> pd.DataFrame:
    """Read a score table; ids keep their leading zeros, an empty text stays a text.

    Raises:
        DamagedFileError: It is missing, empty, cut, or no score table.
    """
    if path.suffix != ".gz":  # which has a check of its own
        check_csv(path)
    as_text = {"image_id": str, "text": str}
    try:
        # Without the default markers a text such as "NA" stays one; an undefined score is written as nothing.
        scores = pd.read_csv(path, dtype=as_text, keep_default_na=False)
        return scores.assign(**{name: pd.to_numeric(scores[name]) for name in metric_names(scores)})
    except (OSError, EOFError, ValueError) as error:
        raise DamagedFileError(
            f"{path} is damaged: expected a score table, got one that cannot be read ({error})"
        ) from error


def read_all(files: Mapping[RunFolder, Path]) -> dict[RunFolder, pd.DataFrame]:
    """The score tables of several runs; those that are damaged are named in the log and left out.

    Args:
        files: The table of each run.

    Raises:
        DamagedFileError: None is left.
    """
    found, problems = {}, []
    for run, file in files.items():
        try:
            found[run] = read_scores(file)
        except DamagedFileError as error:
            problems.append(str(error))
    if files and not found:
        raise DamagedFileError("; ".join(problems))
    for problem in problems:
        _log.warning("left out: %s", problem)
    return found


def of_protocol(scores: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The rows measured with one protocol, with the metrics it has."""
    return without_absent(scores[scores["protocol"] == protocol])


def without_absent(scores: pd.DataFrame) -> pd.DataFrame:
    """A score table without the metrics that none of its rows has."""
    return scores.drop(columns=[name for name in metric_names(scores) if scores[name].isna().all()])


def averaged_over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a pair and model (and variant of the text, where there is a column for it): runs that differ in the seed
    alone are no further evidence about other images."""
    keys = [key for key in ("image_id", "task", "model", "variant") if key in scores]
    return scores.groupby(keys, sort=False)[metric_names(scores)].mean().reset_index()


def means(scores: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """model -> task -> metric -> mean over pairs, of scores of one protocol."""
    names = metric_names(scores)
    grouped = scores.groupby(["model", "task"], sort=False)[names].mean()
    out: dict[str, dict[str, dict[str, float]]] = {}
    for record in grouped.reset_index().to_dict("records"):
        by_task = out.setdefault(str(record["model"]), {})
        by_task[str(record["task"])] = {name: float(record[name]) for name in names}
    return out


@dataclass(frozen=True)
class RunScores:
    """Scores of single pairs, one row a pair, model and protocol (and variant).

    Attributes:
        pairs: The model with every pair's own text, and the baselines.
        text_effect: The model with other texts, standard protocol only; empty where it reads none.
    """

    pairs: pd.DataFrame
    text_effect: pd.DataFrame


def combined(parts: Sequence[RunScores]) -> RunScores:
    """The scores of a run's stages, each of which tests tasks of its own."""
    return RunScores(
        pd.concat([part.pairs for part in parts], ignore_index=True),
        pd.concat([part.text_effect for part in parts], ignore_index=True),
    )


def write_run_scores(folder: RunFolder, scores: RunScores) -> None:
    """Write the scores into a run's or a stage's folder."""
    if not scores.text_effect.empty:
        write_scores(folder.text_effect_scores, scores.text_effect)
    write_scores(folder.scores, scores.pairs)  # last: where it is, the others are


def read_run_scores(folder: RunFolder) -> RunScores:
    """What :func:`write_run_scores` wrote.

    Raises:
        DamagedFileError: A table is missing, empty or cut.
    """
    effect = folder.text_effect_scores
    return RunScores(read_scores(folder.scores), read_scores(effect) if effect.is_file() else pd.DataFrame())
