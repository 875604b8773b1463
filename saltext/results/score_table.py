"""The table of single scores: one row per pair and model. Every mean, interval and figure is computed from it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from saltext.errors import ConfigError, DamagedFileError, SaltextError, printable
from saltext.metrics import METRICS
from saltext.metrics.scores import LABEL_COLUMNS, describe_metric, is_built_in
from saltext.storage import check_csv, read_json, write_csv, write_json
from saltext.system.run_folder import RunFolder, label

_log = logging.getLogger(__name__)

_EXTRA = "extra_metrics.json"  # beside a table: titles and directions of metrics from outside the package
# Read as texts, also where they look like numbers.
_TEXT_COLUMNS = (
    "image_id", "task", "text", "split", "model", "protocol", "variant", "setting", "line", "network", "arm", "rows"
)  # fmt: skip
_PRINTED_COLUMNS = {"model", "task", "protocol", "variant"}


def metric_names(scores: pd.DataFrame) -> list[str]:
    """The metrics of a score table, in the order of its columns."""
    return [str(column) for column in scores.columns if column in METRICS]


def shown_metric(names: Sequence[str]) -> str:
    """The metric a conclusion is about: CC, or the first there is; empty without any."""
    return "cc" if "cc" in names else next(iter(names), "")


def write_scores(path: Path, scores: pd.DataFrame) -> None:
    """Write a score table as CSV, with all digits; ``extra_metrics.json`` beside it has what others need to show it.

    That is title and direction of metrics from outside the package, whose function may not be installed there.
    """
    extra = {
        name: {"title": METRICS[name].title, "higher_is_better": METRICS[name].higher_is_better}
        for name in metric_names(scores)
        if not is_built_in(name)
    }
    if extra:
        write_json(path.with_name(_EXTRA), extra, durable=True)
    write_csv(path, scores, durable=True)


def _register_extra_metrics(path: Path, columns: Sequence[str]) -> None:
    """Register a table's metrics from outside the package, as the file beside it describes them; warns of others."""
    file = path.with_name(_EXTRA)
    described: dict[str, Any] = read_json(file, dict) if file.exists() else {}
    for name, description in described.items():
        match description:
            case {"title": str(title), "higher_is_better": bool(direction)} if title == printable(title):
                try:
                    if name in columns:
                        describe_metric(name, title, direction)
                except ValueError as error:
                    raise ConfigError(f"{file}: {error}") from error
            case _:
                raise DamagedFileError(
                    f"{file} is damaged: expected title and higher_is_better of each metric, got {description!r:.80}"
                )
    unknown = [column for column in columns if column not in METRICS and column not in LABEL_COLUMNS]
    if unknown:
        names = ", ".join(map(printable, unknown))
        _log.warning("%s: left out %s: no known metric of that name (%s would give its title)", path, names, _EXTRA)


def read_scores(path: Path | str) -> pd.DataFrame:
    """Read a score table; ids and names keep their leading zeros, an empty text stays a text.

    Registers metrics from outside the package as :func:`write_scores` described them.

    Raises:
        DamagedFileError: The file is missing, empty, cut, or no score table.
        ConfigError: A metric of the same name is registered with the other direction.
    """
    if Path(path).suffix != ".gz":  # gzip checks its own length and checksum
        check_csv(path)
    try:
        # Without the default markers a text such as "NA" stays a text; an undefined score is an empty cell.
        scores = pd.read_csv(path, dtype=dict.fromkeys(_TEXT_COLUMNS, str), keep_default_na=False)
        _register_extra_metrics(Path(path), [str(column) for column in scores.columns])
        if not {"image_id", "task"} <= set(scores) or not metric_names(scores):
            raise ValueError(f"columns {', '.join(map(str, scores))}; image_id, task and a metric are required")
        for column in _PRINTED_COLUMNS & set(scores):
            for name in scores[column].unique():
                if name != printable(name):
                    raise ValueError(f"control characters in a {column}, {name!r:.80}")
        return scores.assign(**{name: _numbers(scores[name]) for name in metric_names(scores)})
    except SaltextError:
        raise
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is missing: expected a score table") from error
    except (OSError, EOFError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged: expected a score table, got one with {error}") from error


def _numbers(cells: "pd.Series[Any]") -> "pd.Series[float]":
    """A column as numbers, NaN where a cell is empty."""
    numbers = pd.to_numeric(cells, errors="coerce")
    wrong = cells[numbers.isna() & cells.notna() & (cells != "")]
    if len(wrong):
        raise ValueError(f"{wrong.iloc[0]!r} as {cells.name} in line {int(wrong.index[0]) + 2}, which is no number")
    return numbers


def read_all(files: Mapping[RunFolder, Path]) -> dict[RunFolder, pd.DataFrame]:
    """The score tables of several runs; the log names damaged ones, which are left out.

    Raises:
        DamagedFileError: All are damaged, lack a column, or describe a metric unlike another table.
    """
    tables: dict[RunFolder, pd.DataFrame] = {}
    problems = []
    for run, file in files.items():
        try:
            scores = read_scores(file)
            missing = {"model", "protocol"} - set(scores)
            if missing:
                raise DamagedFileError(f"{file} is damaged: expected a column {', '.join(sorted(missing))}, got none")
            tables[run] = scores
        except (ConfigError, DamagedFileError) as error:
            problems.append(str(error))
    if files and not tables:
        raise DamagedFileError("; ".join(problems))
    for problem in problems:
        _log.warning("left out: %s", problem)
    return tables


def pooled(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Scores of finished runs in one table, see :func:`read_all`, with a column ``run`` (name of the run's folder).

    Rows of a baseline that several runs scored on the same pair are kept once.
    """
    tables = read_all({run: run.scores for run in runs})
    scores = pd.concat([table.assign(run=run.root.name) for run, table in tables.items()], ignore_index=True)
    labels = list(dict.fromkeys(label(run) for run in tables))
    own = scores["model"].isin(labels)
    # A baseline does not depend on the seed. One from other training images differs, but is of the same pair.
    shared = scores[~own].drop_duplicates(["image_id", "task", "model", "protocol"])
    of_models = scores[own].sort_values("model", key=lambda model: model.map(labels.index), kind="stable")
    return pd.concat([of_models, shared], ignore_index=True)


def of_protocol(scores: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The rows of one protocol, without the metrics it does not measure."""
    return without_absent(scores[scores["protocol"] == protocol])


def without_absent(scores: pd.DataFrame) -> pd.DataFrame:
    """A score table without the metrics that are undefined in all of its rows."""
    return scores.drop(columns=[name for name in metric_names(scores) if scores[name].isna().all()])


def averaged_over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores averaged over runs, one row per pair and model (and text variant, where the table has that column)."""
    keys = [key for key in ("image_id", "task", "model", "variant") if key in scores]
    return scores.groupby(keys, sort=False)[metric_names(scores)].mean().reset_index()


def means(scores: pd.DataFrame) -> dict[str, Any]:
    """model -> task -> metric -> mean over pairs, of scores of one protocol."""
    table = scores.groupby(["model", "task"], sort=False)[metric_names(scores)].mean()
    return {str(model): part.droplevel(0).to_dict("index") for model, part in table.groupby(level=0, sort=False)}


class RunScores(NamedTuple):
    """``pairs``: the model with every pair's own text, and baselines; ``text_ablation``: the model with other texts.

    One row per pair, model and protocol (and text variant, whose protocol is the standard one).
    """

    pairs: pd.DataFrame
    text_ablation: pd.DataFrame


def combined(parts: Sequence[RunScores]) -> RunScores:
    """The scores of a run's stages in one; each stage tests its own tasks."""
    return RunScores(*(pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)))


def write_run_scores(folder: RunFolder, scores: RunScores) -> None:
    """Write the scores into a run's or a stage's folder."""
    if not scores.text_ablation.empty:
        write_scores(folder.text_ablation_scores, scores.text_ablation)
    write_scores(folder.scores, scores.pairs)  # last: where it is, the others are


def read_run_scores(folder: RunFolder) -> RunScores:
    """Read the scores that :func:`write_run_scores` wrote.

    Raises:
        DamagedFileError: A table is missing, empty or cut, or does not name its models.
    """
    effect = folder.text_ablation_scores
    scores = RunScores(read_scores(folder.scores), read_scores(effect) if effect.is_file() else pd.DataFrame())
    if "model" not in scores.pairs:
        raise DamagedFileError(f"{folder.scores} is damaged: expected a column model, got none")
    return scores
