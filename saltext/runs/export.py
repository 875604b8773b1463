"""A trained model to pass on: what it needs to predict and to be scored, and no more.

The configuration (without paths of this machine), the split (so that nobody takes a training image for a test image),
and the tested weights: no optimizer, no record. The folder can be given wherever a run's can. The command line is
``saltext export``.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from saltext import storage
from saltext.errors import ConfigError
from saltext.models.checkpoints import read_weights
from saltext.runs import schema
from saltext.runs.load import chosen_stage
from saltext.runs.saved import configuration
from saltext.runs.stages import weights_of
from saltext.runs.trust import literal, mapping, read_text
from saltext.system.run_folder import RunFolder

_LARGEST_SPLIT = 2**26  # bytes; a million names


def export(
    run: str | Path, to: str | Path, stage: str | None = None, half: bool = True, trust: bool = False
) -> RunFolder:
    """Write what a trained model needs to predict into a folder of its own.

    Args:
        run: Folder of a run that has trained at least an epoch.
        to: Folder to make; it must not be there.
        stage: Which of the trainings of a run of several stages.
        half: Whether matrices and kernels become half precision, which halves the file. They are computed with in
            single precision all the same; measure what the rounding does with ``saltext evaluate``.
        trust: Whether the configuration may name classes that ``conf/`` does not. Nothing of it is built here.

    Returns:
        The folder.

    Raises:
        ConfigError: No such run, a configuration that cannot be trusted, or ``to`` is there.
        CheckpointError: The weights are missing, damaged, or hold more than tensors.
    """
    source, target = RunFolder.existing(run), RunFolder(Path(to))
    if target.root.exists():
        raise ConfigError(f"{target.root} is there already; name a folder to make")
    found = configuration(source, OmegaConf.create({}), trust)
    chosen = chosen_stage(found.cfg, source, stage)
    weights = read_weights(weights_of(chosen))
    split = read_text(source.split, _LARGEST_SPLIT)
    passed_on = OmegaConf.to_yaml(_without_paths(chosen.cfg, source))
    try:
        target.checkpoints.mkdir(parents=True)
        storage.write_text(target.config, passed_on)
        storage.write_text(target.split, split)
        with storage.replacing(target.best, durable=True) as part:
            torch.save(_rounded(weights) if half else dict(weights), part)
    except BaseException as error:
        shutil.rmtree(target.root, ignore_errors=True)  # it was not there before
        if isinstance(error, OSError | RuntimeError):  # a full disk, as torch says it
            raise ConfigError(f"{target.root} cannot be written: {error}. Nothing was left there.") from error
        raise
    return target


def _without_paths(cfg: DictConfig, run: RunFolder) -> DictConfig:
    """A single training's configuration, its places the usual ones, and what the environment said left out."""
    values: Any = OmegaConf.to_container(cfg, resolve=True)
    asked: Any = OmegaConf.to_container(OmegaConf.create(mapping(read_text(run.config), run.config)), resolve=False)
    made: dict[str, Any] = _passed_on(values, asked)
    made |= {"output_dir": "outputs", "checkpoint": None, "stages": {"sequence": {}}}
    made["logger"] = {"csv": {"_target_": "saltext.training.epoch_log.EpochLog", "name": "metrics"}}
    data = made["data"]
    named = {key: data[key] for key in ("root", "description") if data.get(key) is not None}
    data |= {key: f"data/{Path(path).name}" for key, path in named.items()}
    data |= {"cache_dir": "outputs/cache", "split": {"_target_": schema.SPLIT_FILE, "path": "split.json"}}
    passed_on: DictConfig = OmegaConf.create(literal(made))
    return passed_on


def _passed_on(node: Any, asked: Any) -> Any:
    """A plain value without what was asked of the environment, and with the names alone of files of this machine."""
    if isinstance(node, dict):
        return {
            key: _passed_on(value, asked.get(key) if isinstance(asked, dict) else None) for key, value in node.items()
        }
    if isinstance(node, list):
        several = asked if isinstance(asked, list) and len(asked) == len(node) else [None] * len(node)
        return [_passed_on(value, one) for value, one in zip(node, several, strict=True)]
    if isinstance(asked, str) and "${" in asked:
        return None
    if isinstance(node, str) and (Path(node).is_absolute() or node.startswith("~")):
        return Path(node).name
    return node


def _rounded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Statistics of BatchNorm and other vectors are small, and may exceed what half precision can hold.
    return {
        name: value.half() if value.is_floating_point() and value.ndim > 1 else value for name, value in weights.items()
    }
