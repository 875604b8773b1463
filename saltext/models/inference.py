"""Frozen modules made fast for inference on a CPU: BatchNorm folded into convolutions, channels last, bfloat16."""

import copy
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from saltext.models.freezing import is_frozen, parameters_and_buffers, tensor_versions

Inference = Literal["reference", "fp32", "bf16"]
"""How frozen modules compute on a CPU: as they are; with BatchNorm folded and channels last; so in bfloat16."""

_EXAMPLE = 64  # pixels a side of the image that convolutions and their BatchNorms are found with
_AGREES = 1e-4  # largest difference of a folded module's outputs, relative to the largest output


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16, AMX); others take ten times as long as float32."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


_copies: WeakKeyDictionary[nn.Module, tuple[Any, nn.Module]] = WeakKeyDictionary()


def for_inference(module: nn.Module, images: Tensor, inference: Inference) -> nn.Module:
    """The module to run in the place of a frozen one.

    The copy is made at the first call and again when the module's weights changed. It shares no memory with the module,
    and is in no state dict.

    Args:
        module: Frozen, in evaluation mode.
        images: What it will be run on, shape ``(batch, channels, height, width)``.
        inference: How.

    Returns:
        The module itself (``reference``, or on another device than a CPU), or a copy that takes and returns tensors
        of the same dtype as the module does. Features of ``fp32`` differ from the module's by 1e-5 of their largest
        value; those of ``bf16`` have 8 bits of precision.
    """
    if inference == "reference" or images.device.type != "cpu" or images.dtype != torch.float32:
        return module
    parameters, buffers = parameters_and_buffers(module)
    if any(tensor.is_inference() for tensor in (*parameters, *buffers)):
        return module  # inference tensors do not count their versions: a change would go unnoticed
    if module.training or not is_frozen(module):
        raise ValueError(f"expected a frozen {type(module).__name__} in evaluation mode, got one that trains")
    state = (inference, tensor_versions(module))
    known = _copies.get(module)
    if known is None or known[0] != state:
        known = state, _LowPrecision(fold_batch_norms(module, images), inference)
        _copies[module] = known
    return known[1]


def features_format(images: Tensor, inference: Inference) -> torch.memory_format:
    """Memory format for modules that train on frozen features.

    Convolutions and BatchNorms on a CPU are faster channels last. It moves the last bits of trained weights, so
    ``reference`` and other devices keep the format of the features.
    """
    fast = inference != "reference" and images.device.type == "cpu"
    return torch.channels_last if fast else torch.contiguous_format


class _LowPrecision(nn.Module):
    """Runs a module channels last, in another dtype; outputs have the dtype they have without it."""

    def __init__(self, module: nn.Module, inference: Inference) -> None:
        super().__init__()
        self.dtype = torch.bfloat16 if inference == "bf16" else torch.float32
        self.module = module.to(self.dtype).to(memory_format=torch.channels_last).eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = self.module(images.to(dtype=self.dtype, memory_format=torch.channels_last))
        if isinstance(outputs, Tensor):
            return self._widened(outputs)
        return tuple(self._widened(output) for output in outputs)

    def _widened(self, output: Tensor) -> Tensor:
        return output.float() if output.dtype == torch.bfloat16 else output


@torch.no_grad()
def fold_batch_norms(module: nn.Module, images: Tensor) -> nn.Module:
    r"""Copy a module in evaluation mode with each BatchNorm that follows a convolution folded into it.

    .. math:: \gamma \frac{W * x + b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta
        = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W * x + \frac{\gamma (b - \mu)}{\sqrt{\sigma^2 + \epsilon}} + \beta

    The pairs are found by running the module once on a part of the images.

    Args:
        module: Anything that is called with images alone. Not changed.
        images: float, shape ``(batch, channels, height, width)``.

    Returns:
        The copy. BatchNorms that follow something else, or whose convolution's output is read elsewhere, too, stay.
    """
    folded = copy.deepcopy(module).eval()
    example = images[:1, :, :_EXAMPLE, :_EXAMPLE].detach().clone()
    expected = _as_tuple(folded(example))
    pairs = _convolutions_before_batch_norms(folded, example)
    replaced: dict[nn.Module, nn.Module] = {}
    for convolution, norm in pairs:
        if norm.running_mean is None or norm.running_var is None:
            continue
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.double()
        bias = 0.0 if convolution.bias is None else convolution.bias.double()
        shifted = (bias - norm.running_mean.double()) * scale
        shifted = shifted if norm.bias is None else shifted + norm.bias.double()
        dtype = convolution.weight.dtype
        convolution.weight = nn.Parameter((convolution.weight.double() * scale[:, None, None, None]).to(dtype), False)
        convolution.bias = nn.Parameter(shifted.to(dtype), False)
        replaced[norm] = getattr(norm, "act", nn.Identity())  # timm's BatchNorms bring an activation
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if child in replaced:
                setattr(parent, name, replaced[child])
    outputs = zip(_as_tuple(folded(example)), expected, strict=True)
    agrees = all(
        (one.float() - other.float()).abs().max() <= max(_AGREES, torch.finfo(other.dtype).eps) * other.abs().max()
        for one, other in outputs
    )
    return folded if agrees else copy.deepcopy(module).eval()


def _convolutions_before_batch_norms(module: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions with the BatchNorm that is run on each of their outputs, and on nothing else."""
    outputs: dict[int, tuple[nn.Module, Tensor]] = {}  # the tensors are kept, so that no other gets their number
    calls: Counter[nn.Module] = Counter()
    pairs: Counter[tuple[nn.Module, nn.Module]] = Counter()

    def after_convolution(convolution: nn.Module, _: Any, output: Tensor) -> None:
        calls[convolution] += 1
        outputs[id(output)] = convolution, output

    def before_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[norm] += 1
        if id(inputs[0]) in outputs:
            pairs[outputs[id(inputs[0])][0], norm] += 1

    handles = [m.register_forward_hook(after_convolution) for m in module.modules() if isinstance(m, nn.Conv2d)]
    handles += [m.register_forward_pre_hook(before_norm) for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    try:
        module(example)
    finally:
        for handle in handles:
            handle.remove()
    return [
        (convolution, norm)
        for (convolution, norm), count in pairs.items()
        if isinstance(convolution, nn.Conv2d)
        and isinstance(norm, nn.BatchNorm2d)
        and calls[convolution] == calls[norm] == count
    ]


def _as_tuple(outputs: Tensor | Iterable[Tensor]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
