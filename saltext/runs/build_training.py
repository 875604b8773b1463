"""Build data module, Lightning module and trainer from a resolved configuration."""

import logging
import sys
from collections.abc import Callable, Collection
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.index import AuxiliaryPairs
from saltext.data.transforms import Augment
from saltext.errors import ConfigError
from saltext.runs import build, schema
from saltext.runs.instantiation import instantiated, reader
from saltext.runs.launch import check_world
from saltext.system.run_folder import RunFolder
from saltext.training.callbacks import Bar, EpochLines
from saltext.training.checkpoint_io import ReplacingCheckpointIO
from saltext.training.compiled import compile_trained
from saltext.training.epoch_log import RelogLastEpoch
from saltext.training.supervised import SupervisedModule

_log = logging.getLogger(__name__)


def datamodule(cfg: DictConfig, own: Collection[str] = ()) -> SaliencyDataModule:
    """The data module; nothing is read yet.

    Args:
        cfg: A run's configuration.
        own: Names that may be built besides those in ``conf/``, see :mod:`saltext.runs.trust`; here and below.
    """
    built = ("split", "augment", "pseudo", "free_viewing")
    settings = [str(key) for key in cfg.data if key in schema.data_settings() and key not in built]
    plain: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg.data, settings), resolve=True)
    return SaliencyDataModule(
        reader(cfg, own),
        split=instantiated(cfg.data.get("split"), "data.split", None, own),
        augment=instantiated(cfg.data.get("augment"), "data.augment", Augment, own),
        pseudo=instantiated(cfg.data.get("pseudo"), "data.pseudo", AuxiliaryPairs, own),
        free_viewing=instantiated(cfg.data.get("free_viewing"), "data.free_viewing", AuxiliaryPairs, own),
        **plain,
    )


def module(cfg: DictConfig, own: Collection[str] = ()) -> SupervisedModule | None:
    """The Lightning module around the network; None for ``model=baselines``, which has no network."""
    pipeline = build.pipeline(cfg, own)
    if pipeline is None:
        return None
    parts = {
        "loss": instantiated(cfg.loss, "loss", nn.Module, own),
        "optimizer": instantiated(cfg.optimizer, "optimizer", None, own),
        "scheduler": instantiated(cfg.scheduler, "scheduler", None, own),
    }
    around: Callable[..., SupervisedModule] = instantiated(cfg.training, "training", None, own)
    if cfg.get("compile"):  # runs of earlier versions have no such key
        _log.info("torch.compile: %s", ", ".join(compile_trained(pipeline.network)) or "nothing trains")
    try:
        return around(
            network=pipeline.network,
            normalize=pipeline.normalize,
            **parts,
            prompt=cfg.prompt,
            mirror=cfg.evaluation.mirror,
            validation_metrics=list(cfg.evaluation.validation_metrics),
            selection_split=cfg.evaluation.selection_split,
        )
    except ValueError as error:
        raise ConfigError(f"prompt, evaluation or training: {error}") from error
    except (TypeError, AttributeError) as error:
        if own:
            raise
        raise ConfigError(f"loss, optimizer, scheduler or training: {error}") from error


def trainer(cfg: DictConfig, folder: RunFolder, validates: bool, own: Collection[str] = ()) -> L.Trainer:
    """The trainer, which writes nothing outside the run's folder.

    Args:
        cfg: The run's configuration.
        folder: Where it writes.
        validates: Whether the split has validation images to select the epoch; without them the last epoch is used.
        own: See :func:`datamodule`.
    """
    callbacks = [instantiated(node, f"callbacks.{name}", Callback, own) for name, node in cfg.callbacks.items()]
    if not validates:
        if any(isinstance(callback, EarlyStopping) for callback in callbacks):
            _log.warning("no validation images, so that training does not stop early")
        callbacks = [c for c in callbacks if not (isinstance(c, ModelCheckpoint | EarlyStopping) and c.monitor)]
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(folder.checkpoints)
    # A progress bar is for a terminal; in a log file it is noise.
    callbacks += [EpochLines(), RelogLastEpoch(), *([Bar()] if sys.stdout.isatty() else [])]
    built: L.Trainer = instantiated(
        cfg.trainer,
        "trainer",
        L.Trainer,
        own,
        callbacks=callbacks,
        logger=[
            instantiated(node, f"logger.{name}", Logger, own, save_dir=str(folder.root))
            for name, node in cfg.logger.items()
        ],
        plugins=[*instantiated(cfg.trainer.get("plugins") or [], "trainer", list, own), ReplacingCheckpointIO()],
        default_root_dir=str(folder.root),
        enable_progress_bar=sys.stdout.isatty(),
        **({} if validates else {"limit_val_batches": 0}),
    )
    check_world(cfg, built.world_size)
    return built


def tester(cfg: DictConfig) -> L.Trainer:
    """A trainer that only scores, on the same devices; it writes nothing."""
    keys = ("accelerator", "devices", "strategy", "num_nodes", "precision", "deterministic")
    try:
        built = L.Trainer(
            **{key: cfg.trainer[key] for key in keys if key in cfg.trainer},
            logger=False,
            callbacks=[Bar()] if sys.stdout.isatty() else [],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stdout.isatty(),
            use_distributed_sampler=False,
            inference_mode=True,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error
    check_world(cfg, built.world_size)
    return built
