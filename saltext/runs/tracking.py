"""Weights & Biases: one W&B run per job, with ``logger=wandb``; and what every tracker gets from a finished job.

The first process of a job opens the W&B run; the job's stages log into it (:mod:`saltext.training.loggers`), and at the
end it gets the scores, tables and pictures of the run's folder. The folder is complete without W&B. The other trackers
are in :mod:`saltext.runs.mlflow_run` and :mod:`saltext.runs.tensorboard_run`.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf, open_dict

from saltext import storage
from saltext.console import is_first
from saltext.data.splits import Split
from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.prediction.pictures import ImageRecord, overlay, shrink_density, shrink_image
from saltext.results.comparison import Difference
from saltext.results.score_table import RunScores, means, of_protocol, read_run_scores
from saltext.results.text_ablation import ablation_differences
from saltext.runs.provenance import describe
from saltext.runs.records import monitored
from saltext.runs.untrusted_yaml import mapping
from saltext.system.run_folder import RunFolder
from saltext.training.loggers import direction, epoch_name

if TYPE_CHECKING:
    from wandb import Run

_log = logging.getLogger(__name__)

_LONGEST_TAG = 64  # characters; W&B refuses longer ones


@contextmanager
def tracked(cfg: DictConfig, folder: RunFolder) -> Iterator[None]:
    """Around a job: track it with W&B, if the configuration asks for it and this is the job's first process.

    A W&B run that cannot go online (no key, no network) is written to ``wandb/`` of the run's folder, and the log says
    how to upload it. A resumed job continues its W&B run. Any other error of W&B is logged, and the job goes on without
    it.

    Args:
        cfg: The job's resolved configuration; ``logger.wandb`` has the settings, and is removed if W&B cannot start.
        folder: The job's.

    Raises:
        ConfigError: Settings that W&B refuses, in the configuration or in the environment.
    """
    if "wandb" not in cfg.logger or not is_first():
        yield
        return
    run = _open_run(cfg, folder)
    if run is None:
        with open_dict(cfg):
            del cfg.logger["wandb"]
        yield
        return
    try:
        yield
    except BaseException:
        with suppress(Exception):
            run.finish(exit_code=1)
        raise
    try:
        if not run.disabled:
            _upload_results(run, cfg, folder)
        run.finish()
    except Exception as error:  # the run's folder has its results in any case
        _log.warning("not everything was logged to W&B: %s", error)


def _open_run(cfg: DictConfig, folder: RunFolder) -> "Run | None":
    """Start or resume the job's W&B run, offline if it cannot be online; None if neither works."""
    home = folder.root.absolute() / "wandb"
    # W&B stages tables there until they are uploaded; its default is the user's home.
    os.environ.setdefault("WANDB_DATA_DIR", str(home / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(home / "cache"))
    arguments = _init_arguments(cfg, folder)
    try:
        import wandb

        id_file = folder.wandb_id
        arguments["id"] = id_file.read_text(encoding="utf-8").strip() or None if id_file.is_file() else None
        try:
            run = wandb.init(**arguments, settings=wandb.Settings(quiet=True))
        except ValueError as error:
            raise ConfigError(
                f"W&B rejects its settings; fix logger.wandb, or WANDB_* in the environment: {error}"
            ) from error
        except Exception as error:  # no key or network, but also a failure of W&B's process, or of the disk
            _log.info("W&B cannot go online: %s", error)
            run = wandb.init(**arguments | {"mode": "offline"}, settings=wandb.Settings(silent=True))
        if not run.disabled:
            id_file.parent.mkdir(parents=True, exist_ok=True)
            storage.write_text(id_file, f"{run.id}\n", durable=True)  # `wandb agent` chooses an id of its own
        _log.info("W&B: %s", f"offline; `wandb sync {home}` uploads it" if run.offline else run.url or "disabled")
    except ConfigError:
        raise
    except Exception as error:
        _log.warning("W&B cannot be used; the run continues without it: %s", error)
        return None
    return run


def _init_arguments(cfg: DictConfig, folder: RunFolder) -> dict[str, Any]:
    """Arguments of ``wandb.init``: the settings in the configuration, and those that all runs have in common."""
    settings: dict[str, Any] = OmegaConf.to_container(cfg.logger.wandb, resolve=True)  # type: ignore[assignment]
    for name in ("_target_", "log_model"):
        settings.pop(name, None)
    composition = hydra_composition(folder)
    choices = composition.get("choices", {})
    tasks = [cfg.data.tasks] if isinstance(cfg.data.tasks, str) else cfg.data.tasks or ()
    tags = [choices.get("preset"), choices.get("model"), cfg.model.name, *tasks, *settings["tags"]]
    # Unresolved: an interpolation that is left may read a password from the environment.
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=False, throw_on_missing=True)  # type: ignore[assignment]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    config["provenance"] = {**describe(), **composition, "processes": processes, "folder": str(folder.root)}
    return settings | {
        "name": folder.root.absolute().name,
        "job_type": "train" if "_target_" in cfg.model else "score",
        "tags": [tag for tag in dict.fromkeys(str(tag)[:_LONGEST_TAG].strip() for tag in tags if tag) if tag],
        "dir": str(folder.root.absolute()),
        "resume": "allow",
        "config": config,
    }


def hydra_composition(folder: RunFolder) -> dict[str, Any]:
    """Hydra's record of the job: the choice of each group, and the overrides; empty if Hydra did not compose it."""
    record = folder.root / ".hydra" / "hydra.yaml"
    if not record.is_file():
        return {}
    hydra = mapping(storage.read_text(record), record)["hydra"]
    choices = {
        # "training@_global_.training" is the group "training"
        str(group).partition("@")[0]: choice
        for group, choice in hydra["runtime"]["choices"].items()
        if not str(group).startswith("hydra/")
    }
    return {"choices": choices, "overrides": list(hydra["overrides"]["task"])}


def _upload_results(run: "Run", cfg: DictConfig, folder: RunFolder) -> None:
    """Upload test scores, text ablation, tables and pictures of a finished job, and its files as artifacts."""
    import wandb

    scores = read_run_scores(folder)
    effects = _text_effects(scores, cfg.label)
    values = test_values(scores, cfg.label)
    for name in values:
        run.define_metric(name, summary=direction(METRICS[name.rpartition("/")[2]]))
    run.config.update({"split": Split.load(folder.split).digest}, allow_val_change=True)  # type: ignore[no-untyped-call]
    run.summary.update(values | _effect_values(effects))
    tables = {
        "scores": scores.pairs,
        "text_ablation": pd.DataFrame([{"own_minus": v, **asdict(d)} for v, d in effects]),
    }
    run.log(
        _best_value(cfg, folder)
        | {f"tables/{name}": wandb.Table(dataframe=table) for name, table in tables.items() if not table.empty}
        | {f"pictures/{name}": wandb.Image(str(path)) for name, path in pictures(cfg, folder).items()}
    )
    for kind, name, files in artifacts(cfg, folder, bool(cfg.logger.wandb.get("log_model"))):
        artifact = wandb.Artifact(f"{name}-{run.id}", type=kind, metadata={"test/cc": values.get("test/cc")})
        for path in files:
            artifact.add_file(str(path), name=path.name)
        run.log_artifact(artifact)


def log_pairs(cfg: DictConfig, stage: str, records: Sequence[ImageRecord]) -> None:
    """Log the table of test pairs with their maps to the job's open W&B run: ``tables/pairs``.

    Args:
        cfg: The job's resolved configuration; without ``logger.wandb`` nothing is logged.
        stage: Name of the stage that predicted the maps; empty in a job without stages.
        records: The images, with the maps of their texts.
    """
    if "wandb" not in cfg.logger or not records:
        return
    import wandb

    if wandb.run is None or wandb.run.disabled:
        return
    columns: list[str | int] = ["image_id", "task", "text", "image", "human_map", "prediction", "cc"]
    rows: list[Any] = []
    for record in records:
        image = shrink_image(record.pixels)
        for maps in record.texts:
            drawn = [image]
            for density in (maps.human_map, maps.prediction):
                drawn.append(image if density is None else overlay(image, shrink_density(density, image)))
            cc = maps.scores.get("CC")
            rows.append([record.image_id, maps.name, maps.text, *(wandb.Image(pixels) for pixels in drawn), cc])
    name = f"{stage}/tables/pairs" if stage else "tables/pairs"
    wandb.run.log({name: wandb.Table(columns=columns, data=rows)})


# What every tracker gets.


def final_values(cfg: DictConfig, folder: RunFolder) -> dict[str, float]:
    """What a finished job found, under the same names in every tracker.

    Args:
        cfg: The job's resolved configuration.
        folder: The job's.

    Returns:
        Those of :func:`test_values`; ``text_ablation/TEXT/TASK/METRIC``: mean score under the pairs' own text minus
        that under another one; ``best/MONITORED``: the score that chose the epoch.
    """
    scores = read_run_scores(folder)
    effects = _effect_values(_text_effects(scores, cfg.label))
    return test_values(scores, cfg.label) | effects | _best_value(cfg, folder)


def _text_effects(scores: RunScores, model: str) -> list[tuple[str, Difference]]:
    """Kind of another text, and the difference of a task and metric to it; empty without a text ablation."""
    if scores.text_ablation.empty:
        return []
    standard = of_protocol(scores.pairs, STANDARD)
    by_variant = ablation_differences(standard[standard["model"] == model], scores.text_ablation)
    return [(variant, difference) for variant, differences in by_variant.items() for difference in differences]


def _effect_values(effects: Sequence[tuple[str, Difference]]) -> dict[str, float]:
    return {f"text_ablation/{variant}/{d.task}/{d.metric}": d.mean for variant, d in effects}


def _best_value(cfg: DictConfig, folder: RunFolder) -> dict[str, float]:
    best = monitored(folder)
    return {} if best is None else {f"best/{epoch_name(cfg.evaluation.monitor)}": best}


def flat_configuration(cfg: DictConfig) -> dict[str, str]:
    """The values of a configuration by their dotted keys, as texts.

    Example:
        >>> flat_configuration(OmegaConf.create({"data": {"tasks": ["pure"], "fold": 0}}))
        {'data.tasks': "['pure']", 'data.fold': '0'}
    """

    def flattened(values: Any, key: str) -> Iterator[tuple[str, str]]:
        if not isinstance(values, dict) or not values:
            yield key, str(values)
            return
        for name, value in values.items():
            yield from flattened(value, f"{key}.{name}".lstrip("."))

    # Unresolved: an interpolation that is left may read a password from the environment.
    return dict(flattened(OmegaConf.to_container(cfg, resolve=False, throw_on_missing=True), ""))


def pictures(cfg: DictConfig, folder: RunFolder) -> dict[str, Path]:
    """The pictures of test pairs that a finished job has drawn: ``pairs``, and one for each stage."""
    drawn = {"pairs": folder.picture, **{str(name): folder.stage(name).picture for name in cfg.stages.sequence}}
    return {name: path for name, path in drawn.items() if path.is_file()}


def artifacts(cfg: DictConfig, folder: RunFolder, weights: bool) -> list[tuple[str, str, list[Path]]]:
    """The files of a finished job that a tracker keeps.

    Args:
        cfg: The job's resolved configuration.
        folder: The job's.
        weights: Whether the tested weights are among them.

    Returns:
        Type, name and existing files of each group: ``scores``, the tables; and ``model``, of each stage, weights
        with the configuration and the split.
    """
    scores = [folder.scores, folder.text_ablation_scores, folder.table, folder.split]
    groups = [("scores", "scores", scores)]
    if weights and "_target_" in cfg.model:
        trained = {f"model-{name}": folder.stage(str(name)) for name in cfg.stages.sequence} or {"model": folder}
        groups += [("model", name, [own.chosen, folder.config, folder.split]) for name, own in trained.items()]
    return [(kind, name, [path for path in paths if path.is_file()]) for kind, name, paths in groups]


def test_values(scores: RunScores, model: str) -> dict[str, float]:
    """A model's mean test scores, under the same names in every run.

    Args:
        scores: Of the run.
        model: Its name in the scores; a missing one has no values.

    Returns:
        ``test/PROTOCOL/TASK/METRIC``: mean over the pairs of a task; ``test/METRIC``: mean of these over tasks, of the
        standard protocol.
    """
    values: dict[str, float] = {}
    for protocol in scores.pairs["protocol"].unique():
        by_task = means(of_protocol(scores.pairs, protocol)).get(model, {})
        for task, by_metric in by_task.items():
            values |= {f"test/{protocol}/{task}/{name}": mean for name, mean in by_metric.items()}
        if protocol == STANDARD:
            values |= {f"test/{name}": float(mean) for name, mean in pd.DataFrame(by_task).mean(axis=1).items()}
    return values
