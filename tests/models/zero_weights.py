"""Networks without random numbers, for tests that load all weights at once or look at names and shapes only."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class ZeroWeights(TorchFunctionMode):
    """Weights of modules that are built inside are zeros, where they would be drawn at random."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            with torch.no_grad():
                return (args[0] if args else given["tensor"]).zero_()
        return func(*args, **given)
