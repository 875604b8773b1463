"""MLflow: one MLflow run per job, with ``logger=mlflow``.

The first process of a job opens the MLflow run; the job's stages log into it (:mod:`saltext.training.loggers`), and at
the end it gets the scores, tables and pictures of the run's folder. The folder is complete without MLflow.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from saltext import storage
from saltext.console import is_first
from saltext.runs.provenance import describe
from saltext.runs.tracking import artifacts, final_values, flat_configuration, hydra_composition, pictures
from saltext.system.run_folder import RunFolder

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)

_MOST_PARAMETERS = 100  # in a call; MLflow refuses more
_LONGEST_PARAMETER = 6000  # characters; likewise


@contextmanager
def in_mlflow(cfg: DictConfig, folder: RunFolder) -> Iterator[None]:
    """Around a job: log it to MLflow, if the configuration asks for it and this is the job's first process.

    A resumed job continues its MLflow run. Any error of MLflow is logged, and the job goes on without it.

    Args:
        cfg: The job's resolved configuration; ``logger.mlflow`` has the settings, and is removed in other processes
            and if MLflow cannot start.
        folder: The job's.
    """
    if "mlflow" not in cfg.logger:
        yield
        return
    opened = _open_run(cfg, folder) if is_first() else None
    with open_dict(cfg):
        if opened is None:
            del cfg.logger["mlflow"]
        else:
            of_run = {"tracking_uri": opened[0].tracking_uri, "run_id": opened[1], "root": str(folder.root)}
            cfg.logger.mlflow = {**cfg.logger.mlflow, **of_run}
    if opened is None:
        yield
        return
    client, run_id = opened
    try:
        yield
    except BaseException as error:
        with suppress(Exception):
            client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    try:
        _upload_results(client, run_id, cfg, folder)
        client.set_terminated(run_id, "FINISHED")
    except Exception as error:  # the run's folder has its results in any case
        _log.warning("not everything was logged to MLflow: %s", error)


def _open_run(cfg: DictConfig, folder: RunFolder) -> "tuple[MlflowClient, str] | None":
    """Start or resume the job's MLflow run; None if that fails."""
    settings = cfg.logger.mlflow
    database = Path(cfg.output_dir).absolute() / "mlflow.db"
    uri = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"
    # It would report usage to its makers, and try for minutes to reach a server that does not answer.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        client = MlflowClient(uri)
        id_file = folder.mlflow_id
        if id_file.is_file():
            run_id = client.get_run(id_file.read_text(encoding="utf-8").strip()).info.run_id
            client.update_run(run_id, status="RUNNING")
        else:
            experiment = _experiment(client, str(settings.experiment_name), database.with_name("mlflow"))
            run_name = folder.root.absolute().name
            run_id = client.create_run(experiment, tags=_tags(cfg, folder), run_name=run_name).info.run_id
            params = [Param(key, text[:_LONGEST_PARAMETER]) for key, text in flat_configuration(cfg).items()]
            for first in range(0, len(params), _MOST_PARAMETERS):
                client.log_batch(run_id, params=params[first : first + _MOST_PARAMETERS])
            id_file.parent.mkdir(parents=True, exist_ok=True)
            storage.write_text(id_file, f"{run_id}\n", durable=True)
    except Exception as error:
        _log.warning("MLflow cannot be used; the run continues without it: %s", error)
        return None
    shown = f"`mlflow ui --backend-store-uri {uri}` shows it" if uri.startswith("sqlite:") else f"run {run_id}"
    _log.info("MLflow: %s", shown)
    return client, run_id


def _experiment(client: "MlflowClient", name: str, artifact_folder: Path) -> str:
    """The id of the experiment of a name, which is created if need be, with its files beside the database."""
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "active":
        return str(found.experiment_id)
    is_local = client.tracking_uri.startswith("sqlite:")
    try:
        return str(client.create_experiment(name, str(artifact_folder) if is_local else None))
    except Exception:  # another job of the sweep has created it meanwhile
        found = client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise
        return str(found.experiment_id)


def _tags(cfg: DictConfig, folder: RunFolder) -> dict[str, str]:
    """The run's tags: those of the configuration, and what all runs have in common."""
    choices = hydra_composition(folder).get("choices", {})
    tasks = [cfg.data.tasks] if isinstance(cfg.data.tasks, str) else cfg.data.tasks or ["all"]
    origin = describe()
    tags = {
        "study": cfg.name,
        "label": cfg.label,
        "preset": choices.get("preset"),
        "model": cfg.model.name,
        "tasks": " ".join(map(str, tasks)),
        "mlflow.source.name": "saltext",
        "mlflow.source.git.commit": origin["commit"],
        "cpu": origin["cpu"],
        "gpus": " ".join(origin["gpus"]),
        "folder": str(folder.root.absolute()),
    }
    given: Any = OmegaConf.to_container(cfg.logger.mlflow.get("tags") or OmegaConf.create(), resolve=True)
    return {name: str(value) for name, value in {**tags, **given}.items() if value}


def _upload_results(client: "MlflowClient", run_id: str, cfg: DictConfig, folder: RunFolder) -> None:
    """Log test scores, and upload tables and pictures of a finished job."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    values = [(name, value) for name, value in final_values(cfg, folder).items() if isfinite(value)]
    client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in values])
    for _, name, files in artifacts(cfg, folder, bool(cfg.logger.mlflow.get("log_model"))):
        for path in files:
            client.log_artifact(run_id, str(path), name)
    for name, path in pictures(cfg, folder).items():
        client.log_artifact(run_id, str(path), f"pictures/{name}")
