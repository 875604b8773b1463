"""The table of single scores: one row a pair and model. Every mean, interval and figure is computed from it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from saltext.errors import ConfigError, DamagedFileError, SaltextError, printable
from saltext.metrics import METRICS
from saltext.metrics.scores import LABEL_COLUMNS, describe_metric, is_built_in
from saltext.storage import check_csv, read_json, write_csv, write_json
from saltext.system.run_folder import RunFolder, label

_log = logging.getLogger(__name__)

_EXTRA = "extra_metrics.json"  # beside a table: titles and directions of metrics from outside the package
_TEXTS = ("image_id", "task", "text", "split", "model", "protocol", "variant", "how", "line")  # whatever they look like


def metric_names(scores: pd.DataFrame) -> list[str]:
    """The metrics a score table has, in its columns' order."""
    return [str(column) for column in scores.columns if column in METRICS]


def write_scores(path: Path, scores: pd.DataFrame) -> None:
    """Write a score table as CSV; scores keep all their digits.

    Title and direction of metrics from outside the package go to ``extra_metrics.json`` beside it, so that the scores
    can be shown and compared where nobody has the function.
    """
    own = {name: METRICS[name] for name in metric_names(scores) if not is_built_in(name)}
    if own:
        said = {name: {"title": one.title, "higher_is_better": one.higher_is_better} for name, one in own.items()}
        write_json(path.with_name(_EXTRA), said, durable=True)
    write_csv(path, scores, durable=True)


def _describe_columns(path: Path, columns: Sequence[str]) -> None:
    """Make the metrics of a table known that are not the package's, from the file beside it; name those it lacks."""
    file = path.with_name(_EXTRA)
    described: dict[str, Any] = read_json(file, dict) if file.exists() else {}
    for name, one in described.items():
        match one:
            case {"title": str(title), "higher_is_better": bool(direction)} if title == printable(title):
                if name in columns:
                    try:
                        describe_metric(name, title, direction)
                    except ValueError as error:
                        raise ConfigError(f"{file}: {error}") from error
            case _:
                raise DamagedFileError(
                    f"{file} is damaged: expected a title and higher_is_better of each metric, got {one!r:.80}"
                )
    unknown = [column for column in columns if column not in METRICS and column not in LABEL_COLUMNS]
    if unknown:
        _log.warning(
            "%s: left out %s, which no known metric is called (its direction would stand in %s)",
            path,
            ", ".join(map(printable, unknown)),
            _EXTRA,
        )


def read_scores(path: Path | str) -> pd.DataFrame:
    """Read a score table; ids and names keep their leading zeros, an empty text stays a text.

    Metrics from outside the package are known from then on by what :func:`write_scores` said of them; a column that no
    metric is known for is named in the log.

    Raises:
        DamagedFileError: It is missing, empty, cut, or no score table.
        ConfigError: A metric of the same name is known with the other direction.
    """
    if Path(path).suffix != ".gz":  # which has a check of its own
        check_csv(path)
    try:
        # Without the default markers a text such as "NA" stays one; an undefined score is written as nothing.
        scores = pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False)
        _describe_columns(Path(path), [str(column) for column in scores.columns])
        if not {"image_id", "task"} <= set(scores) or not metric_names(scores):
            raise ValueError(f"columns {', '.join(map(str, scores))}; needed are image_id, task and a metric")
        return scores.assign(**{name: pd.to_numeric(scores[name]) for name in metric_names(scores)})
    except SaltextError:
        raise
    except (OSError, EOFError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged: expected a score table, got one with {error}") from error


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


def pooled(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Scores of finished runs with a column ``run`` (its folder's name); what several runs share, such as a baseline,
    is kept once.

    Args:
        runs: At least one; damaged scores are named in the log and left out.

    Raises:
        DamagedFileError: All are damaged.
    """
    tables = read_all({run: run.scores for run in runs})
    scores = pd.concat([table.assign(run=run.root.name) for run, table in tables.items()], ignore_index=True)
    labels = list(dict.fromkeys(label(run) for run in tables))
    own = scores["model"].isin(labels)
    # A baseline does not depend on the seed; that of other training images is another one, but of the same pair.
    shared = scores[~own].drop_duplicates(["image_id", "task", "model", "protocol"])
    order = {name: index for index, name in enumerate(labels)}
    ours = scores[own].sort_values("model", key=lambda m: m.map(order), kind="stable")
    return pd.concat([ours, shared], ignore_index=True)


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
    found: dict[str, Any] = {
        str(model): part.groupby("task", sort=False)[names].mean().to_dict("index")
        for model, part in scores.groupby("model", sort=False)
    }
    return found


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
