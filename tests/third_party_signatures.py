"""Writes ``saltext/runs/signatures.json``: what classes of Lightning, torch and W&B take that a configuration may name.

python -m tests.third_party_signatures
"""

import collections.abc
import inspect
import json
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import lightning
import torch
import wandb
from lightning.pytorch import callbacks, loggers, profilers
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry
from torch import optim
from torch.optim import lr_scheduler

FILE = Path(__file__).resolve().parents[1] / "saltext" / "runs" / "signatures.json"


def text(annotation: Any) -> str:
    """An annotation as ``saltext.runs.signatures`` reads it; ``object`` where only a class makes the value."""
    if annotation in (None, type(None)):
        return "None"
    if annotation in (Any, inspect.Parameter.empty):
        return "Any"
    if annotation in (int, float, str, bool):
        return str(annotation.__name__)
    if annotation is Path:
        return "str"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        # Python keeps one union of the same types, in the order in which it was first written by any module.
        return " | ".join(sorted({*map(text, inner)}, key=lambda kind: (kind == "None", kind)))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inner))}]"
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"tuple[{', '.join(map(text, inner))}]"
    if origin in (list, tuple, collections.abc.Sequence, collections.abc.Iterable, set):
        return f"list[{text(inner[0])}]"
    if annotation is list:
        return "list[Any]"
    if annotation is dict or origin in (dict, collections.abc.Mapping):
        return f"dict[str, {text(inner[1]) if inner else 'Any'}]"
    return "object"


def arguments(target: Any) -> dict[str, str]:
    """Name -> type; ``**`` where it takes others, too."""
    made = target.__init__ if inspect.isclass(target) else target
    try:
        hints = get_type_hints(made)
    except (NameError, TypeError):
        hints = {}
    found = {}
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            found["**"] = "Any"
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            found[parameter.name] = text(hints.get(parameter.name, Any))
    return found


def classes(module: Any, base: type) -> dict[str, dict[str, str]]:
    """Those of a module's public classes that are of a kind."""
    public = {name: value for name, value in vars(module).items() if inspect.isclass(value) and name[0] != "_"}
    name = module.__name__
    return {f"{name}.{own}": arguments(v) for own, v in public.items() if issubclass(v, base) and v is not base}


def table() -> dict[str, dict[str, str]]:
    """Dotted name -> argument -> type."""
    found = {
        "lightning.Trainer": arguments(lightning.Trainer),
        **classes(callbacks, callbacks.Callback),
        **classes(loggers, loggers.Logger),
        **classes(profilers, profilers.Profiler),
        **classes(optim, optim.Optimizer),
        **classes(lr_scheduler, lr_scheduler.LRScheduler),
    }
    devices = sorted({*AcceleratorRegistry.available_accelerators(), "auto", "gpu"})
    strategies = sorted({*StrategyRegistry.available_strategies(), "auto"})
    found["lightning.Trainer"]["accelerator"] = f"Literal[{', '.join(map(repr, devices))}] | object"
    found["lightning.Trainer"]["strategy"] = f"Literal[{', '.join(map(repr, strategies))}] | object"
    # What they take besides is for torch's AveragedModel, functions that no configuration can hold.
    for name in ("EMAWeightAveraging", "WeightAveraging"):
        found[f"lightning.pytorch.callbacks.{name}"].pop("**")
    # What it takes besides is for wandb.init, and that takes nothing else.
    logger = found["lightning.pytorch.loggers.WandbLogger"]
    logger.pop("**")
    logger |= {name: kind for name, kind in arguments(wandb.init).items() if name not in logger}
    return {name: found[name] for name in sorted(found)}


def written() -> str:
    """The file's text: a class a line."""
    lines = [f"{json.dumps(name)}: {json.dumps(taken)}" for name, taken in table().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
    print(f"{FILE}: {len(table())} classes, lightning {lightning.__version__}, torch {torch.__version__}")
