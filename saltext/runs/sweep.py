"""What a sweep says at its end, and of its jobs.

A row for each job, the pooled tables, the spread over seeds and folds, and the best by the metric that chooses the
epoch. Writes ``summary.md`` and ``summary.csv``. The command line is ``saltext sweep``.
"""

import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from saltext import storage
from saltext.console import not_essential
from saltext.errors import SaltextError
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.reporting import run_files, tables
from saltext.reporting.grid import Grid, escape_markdown
from saltext.results.comparison import spread_over_runs
from saltext.results.score_table import of_protocol, pooled
from saltext.runs.jobs import Job, latest_jobs, status
from saltext.runs.launch import node_rank, nodes
from saltext.runs.records import monitored
from saltext.runs.schema import warnings
from saltext.runs.trust import record
from saltext.system.run_folder import RunFolder, label
from saltext.system.watched import watch_front

_log = logging.getLogger(__name__)

# Jobs that differ in these alone are repetitions of one experiment.
_REPEATS = frozenset(("seed", "data.fold", "data.split_seed"))
_CHOICE = ("evaluation.monitor", "evaluation.mode")


class _Sweep:
    """The sweep that Hydra runs in this process, if any."""

    config: DictConfig | None = None


class Summary(Callback):
    """Tells :func:`summarised` of a sweep.

    Args:
        started: When, in letters that sort by time; the jobs' records name it.
    """

    def __init__(self, started: str) -> None:
        self.started = started

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this before the first job."""
        _Sweep.config = config
        if str(config.hydra.launcher.get("_target_")).endswith(".JoblibLauncher"):
            _watch_from_the_start()


def _watch_from_the_start() -> None:
    """Have joblib's processes end with this one, also those that get no job; its launcher has no setting for that."""
    from hydra_plugins.hydra_joblib_launcher import _core
    from joblib import Parallel

    _core.Parallel = partial(Parallel, initializer=watch_front)


@contextmanager
def summarised() -> Iterator[None]:
    """End a sweep that is run inside with its summary and its study's tables, and with status 1 if a job is unfinished.

    A sweep that is interrupted is summarised, too, as far as it came.
    """
    try:
        yield
    except BaseException:
        _finish(complete=False)
        raise
    if not _finish(complete=True):
        sys.exit(1)


def _finish(complete: bool) -> bool:
    """Summarise the sweep of this process, if there is one; whether all its jobs are finished."""
    cfg, _Sweep.config = _Sweep.config, None
    if cfg is None or node_rank(nodes(cfg)):
        return True
    folder = Path(cfg.hydra.sweep.dir)
    found = [job for job in latest_jobs(folder) if job.sweep == cfg.hydra.callbacks.summary.started]
    if found:
        with not_essential("the summary of the jobs"):
            summarise(folder, found)
    if complete and found:
        # What it imports, Lightning among it, takes seconds that the start of a command need not take.
        from saltext.reporting import study_page
        from saltext.runs.records import read_records

        with not_essential(f"the tables of the study {cfg.name}"):
            study_page.write_studies(cfg.name, read_records(job.folder for job in found), folder)
    if complete and not found:
        print(f"error: no job of the sweep was begun in {folder}", file=sys.stderr)
    return bool(found) and all(status(job.folder) == "finished" for job in found)


def jobs(sweep_folder: Path) -> list[RunFolder]:
    """The jobs that the latest sweep started in a folder has begun, in sweep order, finished or not."""
    return [job.folder for job in latest_jobs(sweep_folder)]


def summarise(folder: Path, found: Sequence[Job]) -> None:
    """Write and print the summary of a sweep's jobs.

    Args:
        folder: Of the sweep.
        found: Its jobs, at least one.
    """
    table = job_table(found)
    scores, models = sweep_scores(found)
    remarks = [*_failures(found), *_best(found), *_random(found)]
    storage.write_csv(folder / "summary.csv", table)
    own = scores[scores["model"].isin(models)] if models else scores
    repeats = spread_over_runs(of_protocol(own, STANDARD)) if models else own
    grids = [_grid(table, folder), *([tables.spread(repeats)] if len(repeats) else [])]
    listed = "".join(f"* {escape_markdown(remark)}\n" for remark in remarks)
    storage.write_text(
        folder / "summary.md", f"{run_files.markdown(grids)}\n{listed}" if listed else run_files.markdown(grids)
    )
    run_files.show_grid(grids[0])
    if models:
        run_files.show_pooled(scores, models)
    for remark in remarks:
        print(remark)


def sweep_scores(found: Sequence[Job]) -> tuple[pd.DataFrame, list[str]]:
    """The scores of a sweep's finished jobs.

    Returns:
        As :func:`saltext.results.score_table.pooled` gives them (without rows if no job has finished), the jobs' models
        under names that tell experiments apart and repetitions not; and these names, in the sweep's order.
    """
    names = _model_names(found)
    scores = _renamed(pooled(list(names)), names) if names else pd.DataFrame()
    return scores, list(dict.fromkeys(names.values()))


def job_table(found: Sequence[Job]) -> pd.DataFrame:
    """One row a job of a sweep.

    Args:
        found: At least one.

    Returns:
        Columns ``job`` (its number), ``overrides`` (those not common to all), ``status``, ``monitored`` (see
        :func:`saltext.runs.records.monitored`), the metrics of validation (means over tasks of the test pairs, standard
        protocol), ``minutes`` (of its last start) and ``folder``. What an unfinished job does not have is NaN.
    """
    rows = []
    for job, overrides in zip(found, _varied(found), strict=True):
        state = status(job.folder)
        known: dict[str, float] = _outcome(job.folder) if state == "finished" else {}
        row = {"job": job.number, "overrides": " ".join(overrides), "status": state, "monitored": math.nan, **known}
        rows.append({**row, "folder": job.folder.root.name})
    table = pd.DataFrame(rows)
    last = ["minutes", "folder"]
    return table.reindex(columns=[*(column for column in table if column not in last), *last])


def _outcome(folder: RunFolder) -> dict[str, float]:
    result = folder.read_result()
    by_task = pd.DataFrame.from_dict(result["test"].get(STANDARD, {}).get(result["label"], {}), orient="index")
    known: dict[str, float] = {"minutes": result["seconds"] / 60}
    try:
        evaluation = record(folder, ("evaluation.validation_metrics",)).evaluation
    except SaltextError as error:
        _log.warning("%s", error)
        return known
    value = monitored(folder)
    return {
        "monitored": math.nan if value is None else value,
        **{name: float(by_task[name].mean()) for name in evaluation.validation_metrics if name in by_task},
        **known,
    }


def _varied(found: Sequence[Job]) -> list[list[str]]:
    """What was set for each job and not for all."""
    common = frozenset.intersection(*(frozenset(job.overrides) for job in found))
    return [[text for text in job.overrides if text not in common] for job in found]


def _experiments(found: Sequence[Job]) -> dict[RunFolder, str]:
    """What each job tries; repetitions of one experiment try the same."""
    return {
        job.folder: " ".join(text for text in overrides if text.partition("=")[0] not in _REPEATS)
        for job, overrides in zip(found, _varied(found), strict=True)
    }


def _model_names(found: Sequence[Job]) -> dict[RunFolder, str]:
    """What the model of each finished job is called: its label, where that tells experiments apart and seeds not."""
    experiments = {folder: text for folder, text in _experiments(found).items() if status(folder) == "finished"}
    labels = {folder: label(folder) for folder in experiments}
    names = {}
    for folder, experiment in experiments.items():
        alike = {labels[other] for other, text in experiments.items() if text == experiment}
        shared = {text for other, text in experiments.items() if labels[other] == labels[folder]}
        if len(alike) == len(shared) == 1:
            names[folder] = labels[folder]
        else:
            names[folder] = f"{min(alike)} {experiment}".strip()
    return names


def _renamed(scores: pd.DataFrame, names: Mapping[RunFolder, str]) -> pd.DataFrame:
    labels = {folder.root.name: label(folder) for folder in names}
    own = scores["model"] == scores["run"].map(labels)
    new = scores["run"].map({folder.root.name: name for folder, name in names.items()})
    return scores.assign(model=scores["model"].where(~own, new))


def _failures(found: Sequence[Job]) -> list[str]:
    return [
        f"Job {job.number} failed ({' '.join(overrides)}): {job.folder.read_failure()}"
        + (f"; see {job.folder.log}" if job.folder.log.is_file() else "")
        for job, overrides in zip(found, _varied(found), strict=True)
        if status(job.folder) == "failed"
    ]


def _best(found: Sequence[Job]) -> list[str]:
    """A line on the experiment whose finished jobs have the best mean of the monitored metric, if there are several."""
    values: dict[str, list[float]] = {}
    readable = None
    for folder, experiment in _experiments(found).items():
        value = monitored(folder) if status(folder) == "finished" else None
        if value is not None:
            readable = folder
            values.setdefault(experiment, []).append(value)
    if readable is None or len(values) < 2:
        return []
    evaluation = record(readable, _CHOICE).evaluation
    means = {experiment: fmean(several) for experiment, several in values.items()}
    winner = {"max": max, "min": min}[evaluation.mode](means, key=means.__getitem__)
    of_jobs = "1 job" if len(values[winner]) == 1 else f"mean of {len(values[winner])} jobs"
    return [f"Best by {evaluation.monitor} ({evaluation.mode}): {winner}, {means[winner]:.4f} ({of_jobs})"]


def _random(found: Sequence[Job]) -> list[str]:
    """Warnings of the jobs' configurations, each with its jobs."""
    jobs_of: dict[str, list[str]] = {}
    for job in found:
        if not job.folder.config.is_file():  # ended before it began
            continue
        try:
            cfg = record(job.folder, ("checkpoint", "model"))
        except SaltextError as error:
            _log.warning("%s", error)
            continue
        for text in warnings(cfg):
            jobs_of.setdefault(text, []).append(str(job.number))
    return [f"Warning, job {', '.join(numbers)}: {text}" for text, numbers in jobs_of.items()]


def _grid(table: pd.DataFrame, folder: Path) -> Grid:
    finished = int((table["status"] == "finished").sum())
    texts = [
        [
            f"{value:.{1 if column == 'minutes' else 3}f}" if isinstance(value, float) and value == value
            else "" if isinstance(value, float) else str(value)
            for column, value in row.items()
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    numbers = {index for index, column in enumerate(table) if column not in ("overrides", "status", "folder")}
    headings = [tables.heading(str(column)) if column in METRICS else str(column) for column in table]
    title = f"{folder}: {finished} of {len(table)} jobs finished"
    return Grid(headings, texts, numbers=frozenset(numbers), title=title, keys=2)
