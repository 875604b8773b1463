"""Weights & Biases: one W&B run per job, with ``logger=wandb``.

The first process of a job opens the W&B run; the job's stages log into it (:mod:`saltext.training.loggers`), and at the
end it gets the scores, tables and pictures of the run's folder. The folder is complete without W&B.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf, open_dict

from saltext import storage
from saltext.console import is_first
from saltext.data.splits import Split
from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
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
        _log.warning("W&B did not take everything: %s", error)


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
                f"W&B refuses its settings; fix logger.wandb, or WANDB_* in the environment: {error}"
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
    settings.pop("_target_")
    composition = _hydra_composition(folder)
    choices = composition.get("choices", {})
    tasks = [cfg.data.tasks] if isinstance(cfg.data.tasks, str) else cfg.data.tasks or ()
    tags = [choices.get("preset"), choices.get("model"), cfg.model.name, *tasks, *settings["tags"]]
    # Unresolved: an interpolation that is left asks the environment, perhaps for a password.
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


def _hydra_composition(folder: RunFolder) -> dict[str, Any]:
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
    """Upload test scores, text ablation, tables and pictures of a finished job."""
    import wandb

    scores = read_run_scores(folder)
    effects: list[tuple[str, Difference]] = []
    if not scores.text_ablation.empty:
        standard = of_protocol(scores.pairs, STANDARD)
        by_variant = ablation_differences(standard[standard["model"] == cfg.label], scores.text_ablation)
        effects = [(variant, difference) for variant, differences in by_variant.items() for difference in differences]
    values = test_values(scores, cfg.label)
    for name in values:
        run.define_metric(name, summary=direction(METRICS[name.rpartition("/")[2]]))
    run.config.update({"split": Split.load(folder.split).digest}, allow_val_change=True)  # type: ignore[no-untyped-call]
    run.summary.update(values | {f"text_ablation/{v}/{d.task}/{d.metric}": d.mean for v, d in effects})
    tables = {
        "scores": scores.pairs,
        "text_ablation": pd.DataFrame([{"own_minus": v, **asdict(d)} for v, d in effects]),
    }
    pictures = {"pairs": folder.picture, **{name: folder.stage(name).picture for name in cfg.stages.sequence}}
    best = monitored(folder)
    run.log(
        ({} if best is None else {f"best/{epoch_name(cfg.evaluation.monitor)}": best})
        | {f"tables/{name}": wandb.Table(dataframe=table) for name, table in tables.items() if not table.empty}
        | {f"pictures/{name}": wandb.Image(str(path)) for name, path in pictures.items() if path.is_file()}
    )


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
