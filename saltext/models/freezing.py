"""Parts of a network that do not train, and stay as they are when the rest is put in training mode."""

from typing import Self, TypeVar

from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def is_frozen(module: nn.Module) -> bool:
    """Whether the module has parameters and none of them trains."""
    trains = [parameter.requires_grad for parameter in module.parameters()]
    return bool(trains) and not any(trains)


def freeze(module: ModuleT) -> ModuleT:
    """Stop all parameters of a module from training and put it in evaluation mode.

    Inside a :class:`KeepsFrozenParts` it stays in evaluation mode, so dropout stays off and BatchNorm statistics do
    not move.

    Args:
        module: Changed in place.

    Returns:
        The same module.
    """
    module.requires_grad_(False)
    return module.eval()


def rest_frozen_parts(module: nn.Module) -> None:
    """Put every part of a module whose parameters are all frozen in evaluation mode, whatever surrounds it."""
    if is_frozen(module):
        module.eval()
        return
    for child in module.children():
        rest_frozen_parts(child)


class KeepsFrozenParts(nn.Module):
    """A module whose frozen parts stay in evaluation mode when it is put in training mode.

    ``requires_grad = False`` alone does not hold a BatchNorm: its running statistics move in training mode.

    # DISCREPANCY: the authors of TranBlend freeze by `requires_grad` alone, so the statistics of their frozen layers
    # move. Clearing `hold_statistics` reproduces it.

    Attributes:
        hold_statistics: Whether frozen parts stay in evaluation mode. Default True.
    """

    hold_statistics: bool = True

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for frozen parts."""
        super().train(mode)
        if mode and self.hold_statistics:
            rest_frozen_parts(self)
        return self
