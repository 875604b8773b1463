"""From a resolved configuration to the objects of a run. The only place that instantiates."""

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import lightning as L
from hydra.errors import HydraException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from omegaconf import DictConfig

from saltext.data import SaliencyDataModule
from saltext.errors import ConfigError, SaltextError
from saltext.evaluation.protocols import PAPERS, Protocol, standard
from saltext.launch import check_world
from saltext.models.baselines import BASELINES
from saltext.models.checkpoints import load_weights
from saltext.models.memory import FeatureStore, Memory
from saltext.models.network import SaliencyNetwork
from saltext.models.normalize import Normalize
from saltext.models.tranblend import load_published
from saltext.models.transalnet import TranSalNet
from saltext.run_folder import RunFolder
from saltext.training import SupervisedModule
from saltext.training.callbacks import EpochLines


def _instantiate(node: Any, **extra: Any) -> Any:
    """``hydra.utils.instantiate``, but a refused value comes out as a mistake of the configuration, not wrapped."""
    try:
        return instantiate(node, _convert_="all", **extra)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, SaltextError):
            raise cause from None
        if isinstance(cause, ValueError):
            raise ConfigError(f"{node['_target_']}: {cause}") from error
        raise


def datamodule(cfg: DictConfig) -> SaliencyDataModule:
    """The data module; nothing is read yet."""
    return _instantiate(cfg.data)  # type: ignore[no-any-return]


def network(cfg: DictConfig) -> SaliencyNetwork:
    """The network, with the weights of ``checkpoint`` if one is named."""
    built: SaliencyNetwork = _instantiate({key: value for key, value in cfg.model.items() if key != "name"})
    if cfg.checkpoint is None:
        return built
    if isinstance(built, TranSalNet):
        load_published(built, cfg.checkpoint)
    else:
        load_weights(built, cfg.checkpoint, keep=["text_encoder.*"])
    return built


def baselines(cfg: DictConfig) -> list[str]:
    """Names of the baselines beside the model.

    Raises:
        ConfigError: Unknown names, all at once.
    """
    unknown = [name for name in cfg.evaluation.baselines if name not in BASELINES]
    if unknown:
        raise ConfigError(f"evaluation.baselines: unknown {', '.join(unknown)}; choose from {', '.join(BASELINES)}")
    return list(cfg.evaluation.baselines)


def protocols(cfg: DictConfig) -> list[Protocol]:
    """How the test pairs are measured: the standard protocol first, then a paper's if one is named.

    Raises:
        ConfigError: Unknown metrics, or an unknown paper.
    """
    paper = cfg.evaluation.paper
    try:
        chosen = [standard(list(cfg.evaluation.test_metrics))]
    except ValueError as error:
        raise ConfigError(f"evaluation.test_metrics: {error}") from error
    if paper is not None and paper not in PAPERS:
        raise ConfigError(
            f"evaluation.paper names whose metrics are reported besides: {', '.join(PAPERS)} or null; got {paper!r}"
        )
    return chosen if paper is None else [*chosen, PAPERS[paper]]


def check_evaluation(cfg: DictConfig) -> None:
    """Raise a ConfigError for anything that would be refused only when the test pairs are scored."""
    protocols(cfg)
    baselines(cfg)


def check_conditions(cfg: DictConfig, tasks: Collection[str]) -> None:
    """Raise a ConfigError where a network that is told the condition knows no word for some of the data's tasks."""
    known = cfg.model.get("conditions")
    strange = [] if known is None else [task for task in tasks if task not in known]
    if strange:
        raise ConfigError(
            f"The data have tasks {strange}, but {cfg.model.name} is told conditions {list(known)} alone. Name the "
            f"data's own: model.conditions=[{','.join(tasks)}]"
        )


def memory(cfg: DictConfig) -> Memory | None:
    """What remembers frozen computation; None where the configuration does without."""
    if not cfg.cache_features:
        return None
    augment = _instantiate(cfg.data.augment)
    repeats = augment is None or augment.images_come_back
    return Memory(FeatureStore(Path(cfg.data.cache_dir) / "features.sqlite"), in_training=repeats)


def module(cfg: DictConfig) -> SupervisedModule | None:
    """The Lightning module around the network; None for ``model=baselines``, which has none."""
    if "_target_" not in cfg.model:
        return None
    built = network(cfg)
    normalize = Normalize(
        mean=cfg.normalize.mean or built.mean, std=cfg.normalize.std or built.std, order=cfg.normalize.order
    )
    built.images_come_as(normalize)
    remembered = memory(cfg)
    if remembered is not None:
        built.remember(remembered)
    parts = {
        "loss": _instantiate(cfg.loss),
        "optimizer": _instantiate(cfg.optimizer),
        "scheduler": _instantiate(cfg.scheduler),
    }
    around: Callable[..., SupervisedModule] = _instantiate(cfg.training)
    try:
        return around(
            network=built,
            normalize=normalize,
            **parts,
            prompt=cfg.prompt,
            mirror=cfg.evaluation.mirror,
            validation_metrics=list(cfg.evaluation.validation_metrics),
            choose_on=cfg.evaluation.choose_on,
        )
    except ValueError as error:
        raise ConfigError(f"prompt, evaluation or training: {error}") from error


def trainer(cfg: DictConfig, folder: RunFolder, validates: bool) -> L.Trainer:
    """The trainer, which writes nothing outside the run's folder.

    Args:
        cfg: The run's configuration.
        folder: Where it writes.
        validates: Whether the split keeps images to choose the epoch; without them the last epoch is the choice.
    """
    callbacks = [_instantiate(callback) for callback in cfg.callbacks.values()]
    if not validates:
        callbacks = [c for c in callbacks if not (isinstance(c, ModelCheckpoint) and c.monitor)]
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(folder.checkpoints)
    # A bar is for a terminal; in a log file it is noise.
    callbacks += [EpochLines(), *([RichProgressBar()] if sys.stdout.isatty() else [])]
    built: L.Trainer = _instantiate(
        cfg.trainer,
        callbacks=callbacks,
        logger=[_instantiate(logger, save_dir=str(folder.root)) for logger in cfg.logger.values()],
        default_root_dir=str(folder.root),
        enable_progress_bar=sys.stdout.isatty(),
        **({} if validates else {"limit_val_batches": 0}),
    )
    check_world(cfg, built.world_size)
    return built


def tester(cfg: DictConfig) -> L.Trainer:
    """A trainer that only scores, on the same devices; it writes nothing."""
    keys = ("accelerator", "devices", "strategy", "num_nodes", "precision", "deterministic")
    built = L.Trainer(
        **{key: cfg.trainer[key] for key in keys if key in cfg.trainer},
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
        use_distributed_sampler=False,
        inference_mode=True,
    )
    check_world(cfg, built.world_size)
    return built
