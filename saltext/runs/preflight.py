"""What a configuration asks of this machine and of somebody's own code: the second check, before a run starts."""

import inspect
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from saltext.errors import ConfigError, near
from saltext.runs import schema
from saltext.runs.own_classes import located
from saltext.runs.signatures import signature

_HYDRAS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")


def check(configurations: Iterable[DictConfig]) -> None:
    """Make sure that runs can start on this machine.

    Raises:
        ConfigError: Devices that are not there, own classes that cannot be imported or do not take their arguments, and
            all that :func:`saltext.runs.schema.problems` finds; everything at once.
    """
    found = {
        f"{key}: {text}": None
        for cfg in configurations
        for key, text in (*schema.problems(cfg).items(), *_devices(cfg), *_own_classes(cfg, ""))
    }
    if found:
        raise ConfigError("\n  ".join(found))


def check_metrics(cfg: DictConfig, file: Path) -> None:
    """Make sure that metrics of one's own are described, and that their functions can be imported.

    Args:
        cfg: With ``evaluation.extra_metrics`` alone.
        file: Where they come from.

    Raises:
        ConfigError: Everything that is wrong with them.
    """
    found = dict(schema.file_problems(cfg))
    found = found or dict(_own_classes(cfg, ""))
    if found:
        shown = (f"{key.removeprefix('evaluation.extra_metrics.')}: {text}" for key, text in found.items())
        raise ConfigError("\n  ".join([f"{file}:", *shown]))


def check_changes(cfg: DictConfig, changes: DictConfig) -> None:
    """Make sure that the changes of a run's configuration are of keys that exist, with values that fit.

    Args:
        cfg: The configuration with them. The rest was checked when the run was started, perhaps by another version.
        changes: What was changed, and nothing else.

    Raises:
        ConfigError: Everything that is wrong with the changes, and devices that this machine does not have.
    """
    changed = list(_leaves(changes, ""))

    def is_of_changes(key: str) -> bool:
        return any(key == own or key.startswith(f"{own}.") or own.startswith(f"{key}.") for own in changed)

    found = {key: text for key, text in schema.problems(cfg).items() if is_of_changes(key)} | dict(_devices(cfg))
    if found:
        raise ConfigError("\n  ".join(f"{key}: {text}" for key, text in found.items()))


def _leaves(node: DictConfig, key: str) -> Iterator[str]:
    for name in map(str, node):
        location, child = f"{key}.{name}".lstrip("."), node[name]
        if isinstance(child, DictConfig) and len(child):
            yield from _leaves(child, location)
        else:
            yield location


def _devices(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    trainer = cfg.trainer
    asked, gpus = trainer.get("accelerator", "auto"), torch.cuda.device_count()
    there = {
        "gpu": gpus > 0 or torch.backends.mps.is_available(),
        "cuda": gpus > 0,
        "mps": torch.backends.mps.is_available(),
        "tpu": find_spec("torch_xla") is not None,
    }
    if isinstance(asked, str) and not there.get(asked, True):
        yield "trainer.accelerator", f"expected auto or cpu, since torch finds no such device here, got {asked!r}"
    elif gpus and asked in ("gpu", "cuda", "auto"):
        devices = trainer.get("devices", 1)
        most = devices if isinstance(devices, int) else 1 + max(devices) if not isinstance(devices, str) else 1
        if most > gpus:
            yield "trainer.devices", f"expected at most the {gpus} GPU(s) of this machine, from 0, got {devices}"


def _own_classes(node: DictConfig, key: str) -> Iterator[tuple[str, str]]:
    """Problems with the classes that are neither the suite's nor in its table of signatures."""
    target = node.get("_target_")
    if isinstance(target, str) and signature(target) is None:
        try:
            taken = inspect.signature(located(target)).parameters
        except (ConfigError, TypeError, ValueError) as error:  # it cannot be imported, or not be called
            yield f"{key}._target_", str(error)
            return
        is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
        for name in () if is_open else map(str, node):
            if name not in taken and name not in _HYDRAS and name not in schema.labels(key):
                yield f"{key}.{name}", f"no argument of {target}{near(name, taken)}"
    for name in map(str, node):
        if name == "hydra" or OmegaConf.is_missing(node, name):
            continue
        child = node[name]
        if isinstance(child, DictConfig):
            yield from _own_classes(child, f"{key}.{name}".lstrip("."))
