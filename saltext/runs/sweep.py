"""The summary of a sweep, written at its end and by ``saltext sweep``.

A row for each job, the pooled tables, the spread over seeds and folds, and the best experiment by the monitored metric,
in ``summary.md`` and ``summary.csv``. Jobs that differ in their seed or fold alone repeat one experiment.
"""

import logging
import math
import sys
from collections.abc import Iterator, Sequence
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
from saltext.errors import SaltextError, printable
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

_REPEATED_OVER = frozenset(("seed", "data.fold", "data.split_seed"))


class _RunningSweep:
    """The sweep that Hydra runs in this process, if any."""

    config: DictConfig | None = None


class Summary(Callback):
    """Notes a sweep that begins, so that :func:`summarised` summarises it at its end.

    Args:
        started: When, in letters that sort by time; the jobs' records name it.
    """

    def __init__(self, started: str) -> None:
        self.started = started

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this before the first job."""
        _RunningSweep.config = config
        if str(config.hydra.launcher.get("_target_")).endswith(".JoblibLauncher"):
            # Joblib's processes end with this one, also those that get no job; its launcher has no setting for that.
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
        _end_sweep(complete=False)
        raise
    if not _end_sweep(complete=True):
        sys.exit(1)


def _end_sweep(complete: bool) -> bool:
    """Summarise the sweep of this process, if there is one; whether all its jobs are finished."""
    cfg, _RunningSweep.config = _RunningSweep.config, None
    if cfg is None or node_rank(nodes(cfg)):
        return True
    folder = Path(cfg.hydra.sweep.dir)
    jobs = [job for job in latest_jobs(folder) if job.sweep == cfg.hydra.callbacks.summary.started]
    if not jobs:
        if complete:
            print(f"error: no job of the sweep was begun in {folder}", file=sys.stderr)
        return False
    with not_essential("the summary of the jobs"):
        summarise(folder, jobs)
    if complete:
        # What it imports, Lightning among it, takes seconds that the start of a command need not take.
        from saltext.reporting import study_page
        from saltext.runs.records import read_records

        with not_essential(f"the tables of the study {cfg.name}"):
            study_page.write_studies(cfg.name, read_records(job.folder for job in jobs), folder)
    return all(status(job.folder) == "finished" for job in jobs)


def summarise(folder: Path, jobs: Sequence[Job]) -> None:
    """Write and print the summary of a sweep's jobs.

    Args:
        folder: Of the sweep.
        jobs: At least one.
    """
    table = job_table(jobs)
    scores, models = sweep_scores(jobs)
    # Why a job failed is a text of anybody's.
    remarks = [printable(remark) for remark in (*_failures(jobs), *_best_experiment(jobs), *_config_warnings(jobs))]
    storage.write_csv(folder / "summary.csv", table)
    grids = [_job_grid(table, folder)]
    if models:
        repeats = spread_over_runs(of_protocol(scores[scores["model"].isin(models)], STANDARD))
        grids += [tables.spread(repeats)] if len(repeats) else []
    markdown = run_files.markdown(grids)
    if remarks:
        markdown += "\n" + "".join(f"* {escape_markdown(remark)}\n" for remark in remarks)
    storage.write_text(folder / "summary.md", markdown)
    run_files.show_grid(grids[0])
    if models:
        run_files.show_pooled(scores, models)
    for remark in remarks:
        print(remark)


def sweep_scores(jobs: Sequence[Job]) -> tuple[pd.DataFrame, list[str]]:
    """The scores of a sweep's finished jobs.

    Returns:
        As :func:`saltext.results.score_table.pooled` gives them (without rows if no job has finished), the jobs' models
        under names that tell experiments apart and repetitions not; and these names, in the sweep's order.
    """
    names = _model_names(jobs)
    if not names:
        return pd.DataFrame(), []
    scores = pooled(list(names))
    labels = scores["run"].map({folder.root.name: label(folder) for folder in names})
    new_names = scores["run"].map({folder.root.name: name for folder, name in names.items()})
    is_own = scores["model"] == labels  # not a baseline
    return scores.assign(model=scores["model"].where(~is_own, new_names)), list(dict.fromkeys(names.values()))


def job_table(jobs: Sequence[Job]) -> pd.DataFrame:
    """One row per job of a sweep.

    Args:
        jobs: At least one.

    Returns:
        Columns ``job`` (its number), ``overrides`` (those not common to all), ``status``, ``monitored`` (see
        :func:`saltext.runs.records.monitored`), the metrics of validation (means over tasks of the test pairs, standard
        protocol), ``minutes`` (of its last start) and ``folder``. What an unfinished job does not have is NaN.
    """
    rows = []
    for job, overrides in zip(jobs, _varied_overrides(jobs), strict=True):
        state = status(job.folder)
        row = {"job": job.number, "overrides": " ".join(overrides), "status": state, "monitored": math.nan}
        outcome: dict[str, float] = _outcome(job.folder) if state == "finished" else {}
        rows.append({**row, **outcome, "folder": job.folder.root.name})
    table = pd.DataFrame(rows)
    last = ["minutes", "folder"]
    return table.reindex(columns=[*(column for column in table if column not in last), *last])


def _outcome(folder: RunFolder) -> dict[str, float]:
    """The minutes, the monitored value and the metrics of validation of a finished job."""
    result = folder.read_result()
    minutes = result["seconds"] / 60
    try:
        evaluation = record(folder, ("evaluation.validation_metrics",)).evaluation
    except SaltextError as error:
        _log.warning("%s", error)
        return {"minutes": minutes}
    value = monitored(folder)
    by_task = pd.DataFrame.from_dict(result["test"].get(STANDARD, {}).get(result["label"], {}), orient="index")
    means = {name: float(by_task[name].mean()) for name in evaluation.validation_metrics if name in by_task}
    return {"monitored": math.nan if value is None else value, **means, "minutes": minutes}


def _varied_overrides(jobs: Sequence[Job]) -> list[list[str]]:
    """For each job, the overrides that not all jobs have."""
    common = frozenset.intersection(*(frozenset(job.overrides) for job in jobs))
    return [[override for override in job.overrides if override not in common] for job in jobs]


def _experiments(jobs: Sequence[Job]) -> dict[RunFolder, str]:
    """The experiment of each job: what varies, except for what only repeats an experiment."""
    return {
        job.folder: " ".join(override for override in overrides if override.partition("=")[0] not in _REPEATED_OVER)
        for job, overrides in zip(jobs, _varied_overrides(jobs), strict=True)
    }


def _model_names(jobs: Sequence[Job]) -> dict[RunFolder, str]:
    """The model's name for each finished job: its label, where labels tell experiments apart and repetitions not."""
    experiments = {folder: text for folder, text in _experiments(jobs).items() if status(folder) == "finished"}
    labels = {folder: label(folder) for folder in experiments}
    names = {}
    for folder, experiment in experiments.items():
        labels_of_experiment = {labels[other] for other, text in experiments.items() if text == experiment}
        experiments_of_label = {text for other, text in experiments.items() if labels[other] == labels[folder]}
        if len(labels_of_experiment) == len(experiments_of_label) == 1:
            names[folder] = labels[folder]
        else:
            names[folder] = f"{min(labels_of_experiment)} {experiment}".strip()
    return names


def _failures(jobs: Sequence[Job]) -> list[str]:
    """A line on each job that failed."""
    return [
        f"Job {job.number} failed ({' '.join(overrides)}): {job.folder.read_failure()}"
        + (f"; see {job.folder.log}" if job.folder.log.is_file() else "")
        for job, overrides in zip(jobs, _varied_overrides(jobs), strict=True)
        if status(job.folder) == "failed"
    ]


def _best_experiment(jobs: Sequence[Job]) -> list[str]:
    """A line on the experiment whose finished jobs have the best mean of the monitored metric, if there are several."""
    values: dict[str, list[float]] = {}
    readable = None
    for folder, experiment in _experiments(jobs).items():
        value = monitored(folder) if status(folder) == "finished" else None
        if value is not None:
            readable = folder
            values.setdefault(experiment, []).append(value)
    if readable is None or len(values) < 2:
        return []
    evaluation = record(readable, ("evaluation.monitor", "evaluation.mode")).evaluation
    means = {experiment: fmean(several) for experiment, several in values.items()}
    winner = {"max": max, "min": min}[evaluation.mode](means, key=means.__getitem__)
    of_jobs = "1 job" if len(values[winner]) == 1 else f"mean of {len(values[winner])} jobs"
    return [f"Best by {evaluation.monitor} ({evaluation.mode}): {winner}, {means[winner]:.4f} ({of_jobs})"]


def _config_warnings(jobs: Sequence[Job]) -> list[str]:
    """Warnings of the jobs' configurations, each with its jobs."""
    numbers_of: dict[str, list[str]] = {}
    for job in jobs:
        if not job.folder.config.is_file():  # ended before it began
            continue
        try:
            cfg = record(job.folder, ("checkpoint", "model"))
        except SaltextError as error:
            _log.warning("%s", error)
            continue
        for text in warnings(cfg):
            numbers_of.setdefault(text, []).append(str(job.number))
    return [f"Warning, job {', '.join(numbers)}: {text}" for text, numbers in numbers_of.items()]


def _job_grid(table: pd.DataFrame, folder: Path) -> Grid:
    """The table of :func:`job_table` to look at."""
    finished = int((table["status"] == "finished").sum())
    texts = []
    for row in table.to_dict("records"):
        cells = []
        for column, value in row.items():
            if not isinstance(value, float):
                cells.append(str(value))
            elif math.isnan(value):
                cells.append("")
            else:
                cells.append(f"{value:.{1 if column == 'minutes' else 3}f}")
        texts.append(cells)
    numbers = {index for index, column in enumerate(table) if column not in ("overrides", "status", "folder")}
    headings = [tables.heading(str(column)) if column in METRICS else str(column) for column in table]
    title = f"{folder}: {finished} of {len(table)} jobs finished"
    return Grid(headings, texts, numbers=frozenset(numbers), title=title, keys=2)
