"""Freezing of modules: no gradients, and evaluation mode inside modules in training mode."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)

Parameters = Sequence[nn.Parameter]


@dataclass(frozen=True)
class Layers:
    """A module's parameters by layer, in the order of data flow.

    Attributes:
        stem: Parameters that come before the first layer (embeddings, the first convolution); may be none.
        layers: Parameters of each layer.
    """

    stem: Parameters
    layers: Sequence[Parameters]

    def parameters(self) -> Iterator[nn.Parameter]:
        """All of them, in order."""
        yield from self.stem
        for layer in self.layers:
            yield from layer


def parameters_and_buffers(module: nn.Module) -> tuple[list[nn.Parameter], list[Tensor]]:
    """All parameters and all buffers of a module and its submodules, in one walk.

    For what is asked at every step: ``module.parameters()`` and ``module.buffers()`` build the names of all of them.
    """
    parameters: list[nn.Parameter] = []
    buffers: list[Tensor] = []
    seen: set[nn.Module] = set()
    waiting = [module]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            parameters += [value for value in each._parameters.values() if value is not None]
            buffers += [value for value in each._buffers.values() if value is not None]
            waiting += [child for child in each._modules.values() if child is not None]
    return parameters, buffers


def is_frozen(module: nn.Module) -> bool:
    """Whether the module has parameters and none of them trains."""
    parameters, _ = parameters_and_buffers(module)
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def tensor_versions(module: nn.Module) -> tuple[object, ...]:
    """What changes whenever a parameter or buffer of a module is written to or replaced, in this process.

    Raises:
        RuntimeError: A tensor was made in inference mode, where torch does not count its versions.
    """
    parameters, buffers = parameters_and_buffers(module)
    return tuple((id(t), _pointer(t), t._version, t.stride()) for t in (*parameters, *buffers))


def _pointer(tensor: Tensor) -> int:
    try:
        return tensor.data_ptr()
    except RuntimeError:  # of a tensor without memory of its own
        return 0


def freeze(module: ModuleT) -> ModuleT:
    """Stop all parameters of a module from training and put it in evaluation mode.

    Inside a :class:`FrozenModulesMixin` it stays in evaluation mode, so dropout stays off and BatchNorm statistics do
    not move.

    Args:
        module: Changed in place.

    Returns:
        The same module.
    """
    module.requires_grad_(False)
    return module.eval()


def exclude_from_state_dict(module: ModuleT) -> ModuleT:
    """Exclude a module whose weights come from elsewhere from state dicts, so that checkpoints do not repeat them.

    A state dict without them still loads strictly, and leaves them unchanged; one that has them overwrites them.

    Args:
        module: Changed in place.

    Returns:
        The same module.
    """
    own = module.state_dict(keep_vars=True)

    def drop(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
        for name in own:
            del state[prefix + name]

    def supply(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        for name, value in own.items():
            state.setdefault(prefix + name, value)

    module.register_state_dict_post_hook(drop)  # type: ignore[no-untyped-call]
    module.register_load_state_dict_pre_hook(supply)  # type: ignore[no-untyped-call]
    return module


def freeze_eval_mode(module: nn.Module) -> None:
    """Put every submodule whose parameters are all frozen in evaluation mode."""
    if is_frozen(module):
        module.eval()
        return
    for child in module.children():
        freeze_eval_mode(child)


class FrozenModulesMixin(nn.Module):
    """A module whose frozen submodules stay in evaluation mode when it is put in training mode.

    ``requires_grad = False`` alone does not freeze a BatchNorm: its running statistics change in training mode.

    # DISCREPANCY: the authors of TranBlend freeze by `requires_grad` alone, so the statistics of their frozen layers
    # move. Clearing `hold_statistics` reproduces it.

    Attributes:
        hold_statistics: Whether frozen submodules stay in evaluation mode. Default True.
    """

    hold_statistics: bool = True

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for frozen submodules."""
        super().train(mode)
        if mode and self.hold_statistics:
            freeze_eval_mode(self)
        return self
