"""One run at Weights & Biases a job, where ``logger=wandb`` asks for it.

The first process of a job opens the run; the its stages log into it (:mod:`saltext.training.loggers`), and
at the end it gets the scores, tables and pictures of the run's folder. Nothing is computed from it: the folder is
complete without.
"""

import logging
import os
from collections.abc import Iterator, Mapping
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
from saltext.results.text_effect import text_effects
from saltext.runs.provenance import describe
from saltext.runs.records import monitored
from saltext.runs.trust import mapping, read_text
from saltext.system.run_folder import RunFolder
from saltext.training.loggers import direction, epoch_name

if TYPE_CHECKING:
    from wandb import Run

_log = logging.getLogger(__name__)

_LONGEST_TAG = 64  # characters; W&B refuses a run with a longer one


@contextmanager
def tracked(cfg: DictConfig, folder: RunFolder) -> Iterator[None]:
    """Around everything a job does: its W&B run, if the configuration has one and this is the job's first process.

    A run that cannot go online (no key, no network) is kept in ``wandb/`` of the run's folder, and the log says how to
    upload it. A resumed job goes on in the W&B run it was started in. Whatever else W&B raises, at the start, meanwhile
    or at the end, is logged, and the job goes on without it: its folder has everything.

    Args:
        cfg: The job's resolved configuration; ``logger.wandb`` says how, and is taken out where W&B cannot be started.
        folder: The job's.

    Raises:
        ConfigError: Settings that W&B does not know, in the configuration or in the environment.
    """
    if "wandb" not in cfg.logger or not is_first():
        yield
        return
    run = _opened(cfg, folder)
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
    _finish(run, cfg, folder)


def _opened(cfg: DictConfig, folder: RunFolder) -> "Run | None":
    """The job's run, offline if it cannot be online; None if neither can be."""
    home = folder.root.absolute() / "wandb"
    # Tables are staged there until they are uploaded; W&B's own choice is the user's home.
    os.environ.setdefault("WANDB_DATA_DIR", str(home / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(home / "cache"))
    arguments = _arguments(cfg, folder)
    try:
        import wandb

        known = folder.wandb_id
        arguments["id"] = known.read_text(encoding="utf-8").strip() or None if known.is_file() else None
        try:
            run = wandb.init(**arguments, settings=wandb.Settings(quiet=True))
        except ValueError as error:
            raise ConfigError(
                f"W&B refuses its settings; fix logger.wandb, or WANDB_* in the environment: {error}"
            ) from error
        except Exception as error:  # no key or network, but also its own process, or a disk
            _log.info("W&B cannot go online: %s", error)
            run = wandb.init(**arguments | {"mode": "offline"}, settings=wandb.Settings(silent=True))
        if not run.disabled:
            known.parent.mkdir(parents=True, exist_ok=True)
            storage.write_text(
                known, f"{run.id}\n", durable=True
            )  # what it came to be: under `wandb agent`, W&B chooses
        _log.info("W&B: %s", f"offline; `wandb sync {home}` uploads it" if run.offline else run.url or "disabled")
    except ConfigError:
        raise
    except Exception as error:
        _log.warning("W&B cannot be used, the run goes on without it: %s", error)
        return None
    return run


def _arguments(cfg: DictConfig, folder: RunFolder) -> dict[str, Any]:
    """Of ``wandb.init``: what the configuration says, and what all runs have in common."""
    settings: dict[str, Any] = OmegaConf.to_container(cfg.logger.wandb, resolve=True)  # type: ignore[assignment]
    settings.pop("_target_")
    origin = _composition(folder)
    choices = origin.get("choices", {})
    tasks = [cfg.data.tasks] if isinstance(cfg.data.tasks, str) else cfg.data.tasks or ()
    tags = [choices.get("preset"), choices.get("model"), cfg.model.name, *tasks, *settings["tags"]]
    return settings | {
        "name": folder.root.absolute().name,
        "job_type": "train" if "_target_" in cfg.model else "score",
        "tags": [tag for tag in dict.fromkeys(str(tag)[:_LONGEST_TAG].strip() for tag in tags if tag) if tag],
        "dir": str(folder.root.absolute()),
        "resume": "allow",
        "config": _config(cfg, folder, origin),
    }


def _config(cfg: DictConfig, folder: RunFolder, origin: Mapping[str, Any]) -> dict[str, Any]:
    # Unresolved: what is left to resolve is what the environment is asked for, perhaps a password.
    content: dict[str, Any] = OmegaConf.to_container(cfg, resolve=False, throw_on_missing=True)  # type: ignore[assignment]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return content | {"provenance": {**describe(), **origin, "processes": processes, "folder": str(folder.root)}}


def _composition(folder: RunFolder) -> dict[str, Any]:
    """What Hydra recorded beside the job, if it composed it: the choice of each group, and the command line."""
    record = folder.root / ".hydra" / "hydra.yaml"
    if not record.is_file():
        return {}
    hydra = mapping(read_text(record), record)["hydra"]
    choices = {
        # "training@_global_.training" is the group "training"
        str(group).partition("@")[0]: choice
        for group, choice in hydra["runtime"]["choices"].items()
        if not str(group).startswith("hydra/")
    }
    return {"choices": choices, "overrides": list(hydra["overrides"]["task"])}


def _finish(run: "Run", cfg: DictConfig, folder: RunFolder) -> None:
    try:
        if not run.disabled:
            _upload(run, cfg, folder)
        run.finish()
    except Exception as error:  # the results are there
        _log.warning("W&B did not take everything: %s", error)


def _upload(run: "Run", cfg: DictConfig, folder: RunFolder) -> None:
    import wandb

    scores = read_run_scores(folder)
    effects = _effects(scores, cfg.label)
    values = test_values(scores, cfg.label)
    for name in values:
        run.define_metric(name, summary=direction(METRICS[name.rpartition("/")[2]]))
    run.config.update({"split": Split.load(folder.split).digest}, allow_val_change=True)  # type: ignore[no-untyped-call]
    run.summary.update(values | {f"text_effect/{v}/{d.task}/{d.metric}": d.mean for v, d in effects})
    tables = {"scores": scores.pairs, "text_effect": pd.DataFrame([{"own_minus": v, **asdict(d)} for v, d in effects])}
    pictures = {"pairs": folder.picture, **{name: folder.stage(name).picture for name in cfg.stages.sequence}}
    best = monitored(folder)
    run.log(
        ({} if best is None else {f"best/{epoch_name(cfg.evaluation.monitor)}": best})
        | {f"tables/{name}": wandb.Table(dataframe=table) for name, table in tables.items() if not table.empty}
        | {f"pictures/{name}": wandb.Image(str(path)) for name, path in pictures.items() if path.is_file()}
    )


def test_values(scores: RunScores, model: str) -> dict[str, float]:
    """A model's mean test scores under the names they have in every run.

    Args:
        scores: Of the run.
        model: Its name in the scores; one that is not there has no values.

    Returns:
        ``test/PROTOCOL/TASK/METRIC``: mean over the pairs of a task; ``test/METRIC``: mean of these over tasks, of the
        standard protocol.
    """
    values: dict[str, float] = {}
    for protocol in scores.pairs["protocol"].unique():
        by_task = means(of_protocol(scores.pairs, protocol)).get(model, {})
        values |= {f"test/{protocol}/{task}/{name}": v for task, found in by_task.items() for name, v in found.items()}
        if protocol == STANDARD:
            values |= {f"test/{name}": float(mean) for name, mean in pd.DataFrame(by_task).mean(axis=1).items()}
    return values


def _effects(scores: RunScores, model: str) -> list[tuple[str, Difference]]:
    if scores.text_effect.empty:
        return []
    standard = of_protocol(scores.pairs, STANDARD)
    found = text_effects(standard[standard["model"] == model], scores.text_effect)
    return [(variant, difference) for variant, differences in found.items() for difference in differences]
