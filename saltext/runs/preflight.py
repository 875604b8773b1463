"""Check, before a run starts, that this machine has the devices and own classes its configuration names.

The first check, :mod:`saltext.runs.schema`, needs no import of torch.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from saltext.errors import ConfigError, near
from saltext.models.blending.base import Blend
from saltext.models.grounding.base import Grounder
from saltext.models.image.base import Encoder
from saltext.models.inference import has_fast_bfloat16
from saltext.models.text.base import TextEncoder
from saltext.runs import schema
from saltext.runs.own_classes import located
from saltext.runs.signatures import signature

_PARTS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"blend": Blend, "encoder": Encoder, "grounder": Grounder, "text_encoder": TextEncoder}
)
_HYDRA_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")


def check(configurations: Iterable[DictConfig]) -> None:
    """Make sure that runs can start on this machine.

    Raises:
        ConfigError: Unavailable devices, own classes that cannot be imported or do not take their arguments, and all
            that :func:`saltext.runs.schema.problems` finds; everything at once.
    """
    problems = {
        f"{key}: {text}": None
        for cfg in configurations
        for key, text in (*schema.problems(cfg).items(), *_devices(cfg), *_own_classes(cfg, "", cfg))
    }
    if problems:
        raise ConfigError("\n  ".join(problems))


def check_data(cfg: DictConfig) -> None:
    """Make sure that a reader from outside the package can be imported, and takes its arguments.

    Args:
        cfg: With ``data`` alone, whose classes may be imported.

    Raises:
        ConfigError: All problems with it.
    """
    problems = dict(_own_classes(cfg, "", cfg))
    if problems:
        raise ConfigError("\n  ".join(f"{key}: {text}" for key, text in problems.items()))


def check_metrics(cfg: DictConfig, file: Path) -> None:
    """Make sure that metrics from a file are described, and that their functions can be imported.

    Args:
        cfg: With ``evaluation.extra_metrics`` alone.
        file: The file, for the message.

    Raises:
        ConfigError: All problems with them.
    """
    problems = dict(schema.file_problems(cfg)) or dict(_own_classes(cfg, "", cfg))
    if problems:
        lines = (f"{key.removeprefix('evaluation.extra_metrics.')}: {text}" for key, text in problems.items())
        raise ConfigError("\n  ".join([f"{file}:", *lines]))


def check_changes(cfg: DictConfig, changes: DictConfig) -> None:
    """Make sure that the changes of a run's configuration are of keys that exist, with values that fit.

    Args:
        cfg: The configuration with them. The rest was checked when the run was started, perhaps by another version.
        changes: The changed keys alone.

    Raises:
        ConfigError: All problems with the changes, and devices that this machine does not have.
    """
    changed = list(_leaf_keys(changes, ""))

    def is_of_changes(key: str) -> bool:
        return any(key == own or key.startswith(f"{own}.") or own.startswith(f"{key}.") for own in changed)

    problems = {key: text for key, text in schema.problems(cfg).items() if is_of_changes(key)} | dict(_devices(cfg))
    if problems:
        raise ConfigError("\n  ".join(f"{key}: {text}" for key, text in problems.items()))


def _leaf_keys(node: DictConfig, key: str) -> Iterator[str]:
    for name in map(str, node):
        location, child = f"{key}.{name}".lstrip("."), node[name]
        if isinstance(child, DictConfig) and len(child):
            yield from _leaf_keys(child, location)
        else:
            yield location


def _devices(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Problems with the accelerator and the devices, by key."""
    trainer = cfg.trainer
    accelerator, gpus = trainer.get("accelerator", "auto"), torch.cuda.device_count()
    available = {
        "gpu": gpus > 0 or torch.backends.mps.is_available(),
        "cuda": gpus > 0,
        "mps": torch.backends.mps.is_available(),
        "tpu": find_spec("torch_xla") is not None,
    }
    if isinstance(accelerator, str) and not available.get(accelerator, True):
        yield "trainer.accelerator", f"expected auto or cpu, since torch finds no such device here, got {accelerator!r}"
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not available["gpu"])
    if on_cpu and cfg.get("inference") == "bf16" and not has_fast_bfloat16():
        yield "inference", "expected fp32 or reference, since this CPU has neither AVX512-BF16 nor AMX, got 'bf16'"
    if gpus and accelerator in ("gpu", "cuda", "auto"):
        devices = trainer.get("devices", 1)
        most = devices if isinstance(devices, int) else 1 + max(devices) if not isinstance(devices, str) else 1
        if most > gpus:
            yield "trainer.devices", f"expected at most the {gpus} GPU(s) of this machine, from 0, got {devices}"


def _own_classes(node: DictConfig, key: str, cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Problems, by key, with classes that are neither of the package nor in its table of signatures."""
    target = node.get("_target_")
    if isinstance(target, str) and signature(target) is None:
        try:
            found = located(target)
            parameters = inspect.signature(found).parameters
        except (ConfigError, TypeError, ValueError) as error:  # it cannot be imported or called
            yield f"{key}._target_", f"{error}{schema.named_in(cfg, key)}"
            return
        is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        for name in () if is_open else map(str, node):
            if name not in parameters and name not in _HYDRA_KEYS and name not in schema.labels(key):
                yield f"{key}.{name}", f"no argument of {target}{near(name, parameters)}"
        _, _, part = key.rpartition(".")
        is_part = key.startswith("model.") and part in _PARTS and inspect.isclass(found)
        if is_part and (wrong := _misfit(found, _PARTS[part])):
            yield f"{key}._target_", wrong
    for name in map(str, node):
        if name == "hydra" or OmegaConf.is_missing(node, name):
            continue
        child = node[name]
        if isinstance(child, DictConfig):
            yield from _own_classes(child, f"{key}.{name}".lstrip("."), cfg)


def _misfit(found: type, base: type[nn.Module]) -> str:
    """Why a class cannot be a network's part, and the line to write; empty where it can."""
    lines, first = inspect.getsourcelines(found)
    where = f"{inspect.getsourcefile(found)}:{first}"
    if not issubclass(found, base):
        return f"expected a subclass of {base.__module__}.{base.__name__}, got `{lines[0].strip()}` in {where}"
    taken = inspect.signature(found).parameters
    is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    if base is Blend and not is_open and not {"channels", "text_dim", "grid"} <= {*taken}:
        return (
            "expected `def __init__(self, channels: int, text_dim: int, grid: tuple[int, int])`, and what the "
            f"configuration gives besides, got ({', '.join(taken)}) in {where}"
        )
    expected, own = inspect.signature(base.forward), inspect.signature(found.forward)
    try:
        own.bind(*expected.parameters)
    except TypeError:
        return f"expected `def forward({', '.join(expected.parameters)})`, got ({', '.join(own.parameters)}) in {where}"
    return ""
