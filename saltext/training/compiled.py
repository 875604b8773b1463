"""Compilation of the modules that train, with ``compile=true``."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from saltext.models.text.base import TextEncoder


def compile_trained(network: nn.Module, **how: Any) -> list[str]:
    """Compile the modules of a network that have trainable parameters, in place.

    Names and values of the network's state stay as they are. Frozen modules, whose features are cached, and text
    encoders, which read Python strings, are not compiled.

    Args:
        network: The network.
        how: Arguments of :func:`torch.compile`.

    Returns:
        Names of the compiled modules.

    Example:
        >>> compile_trained(nn.Sequential(nn.Conv2d(3, 1, 1), nn.Sigmoid()), backend="eager")
        ['0']
    """
    compiled = dict(_trained(network, ""))
    for module in compiled.values():
        module.compile(**how)
    return list(compiled)


def _trained(parent: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of the outermost modules that are called, take tensors, and train."""
    for name, module in parent.named_children():
        if isinstance(module, TextEncoder) or not any(p.requires_grad for p in module.parameters()):
            continue
        if isinstance(module, nn.ModuleDict | nn.ModuleList):  # which have no forward()
            yield from _trained(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module
