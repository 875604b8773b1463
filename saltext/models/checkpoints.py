"""Strict loading of weight files: no code in them is run, and errors say what the file seems to be."""

import os
import pickle
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from saltext.errors import CheckpointError

Weights = Mapping[str, Tensor]

NETWORK_PREFIX = "network."
"""Where the Lightning modules of this suite keep their network."""

_NESTS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts save the state dict: Lightning, PyTorch's tutorials, BLIP."""

_SCALE = ".scale_of_8_bits"

_MAX_LISTED = 4

# A key that only one kind of network has, what that network is, and the choice that builds it.
_TELLTALES: tuple[tuple[str, str, str], ...] = (
    (r"encoder\.encoder\.4\.denselayer1\.", "TranSalNet-Dense", "model/encoder=densenet161 with checkpoint=PATH"),
    (r"encoder\.encoder\.4\.0\.conv1\.", "TranSalNet-Res", "model/encoder=resnet50 with checkpoint=PATH"),
    (r"encoder\.encoder\.conv_stem\.", "a network on an EfficientNet encoder", "model/encoder=efficientnet_lite0"),
    (r"decoder\.blendnet\.(blend\.)?conv1\.", "TranBlend with the blending net", "model/blend=blending_net"),
    (
        r"decoder\.blendnet\.(blend\.)?cross_attention\.",
        "TranBlend with the paper's cross attention",
        "model/blend=cross_attention",
    ),
    (
        r"decoder\.blendnet\.(blend\.)?layers\.",
        "TranBlend with token cross attention",
        "model/blend=token_cross_attention",
    ),
    (r"decoder\.blendnet\.(blend\.)?miniUpsamplingNetwork\.", "TranBlend with minisample", "model/blend=minisample"),
    (r"decoder\.blendnet\.(blend\.)?decode\.", "TranBlend with a mask encoder", "model/blend=mask_encoder"),
    (r"decoder\.blendnet\.(blend\.)?film\.affine\.", "TranBlend with FiLM", "model/blend=film"),
    (r"conv_vgg1\.", "the CLIP-SalGAN generator", "model=clip_salgan"),
)

# The number of blocks in the third stage identifies the network of a family; only the deeper ResNets have a third
# convolution there.
_IMAGENET: tuple[tuple[str, dict[int, str]], ...] = (
    (
        r"(?:features\.)?denseblock3\.denselayer(\d+)\.conv\.?2\.",
        {24: "DenseNet-121", 32: "DenseNet-169", 36: "DenseNet-161", 48: "DenseNet-201"},
    ),
    (r"layer3\.(\d+)\.conv3\.", {6: "ResNet-50", 23: "ResNet-101", 36: "ResNet-152"}),
    (r"layer3\.(\d+)\.conv2\.", {2: "ResNet-18", 6: "ResNet-34"}),
)
_IMAGENET_CHOICES = {
    "DenseNet-161": "model/encoder=densenet161 with model.encoder.weights=PATH",
    "ResNet-50": "model/encoder=resnet50 with model.encoder.weights=PATH",
}
_OTHER_IMAGENET = "the file of a DenseNet-161 or a ResNet-50, the encoders of TranSalNet"


def load_weights(
    network: nn.Module,
    path: str | Path,
    *,
    prefix: str | None = None,
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> None:
    """Load a weight file into a network, or say why the two do not belong together.

    Args:
        network: Filled in place; unchanged if the file does not fit.
        path: A Lightning checkpoint, a plain state dict (``torch.save``, also under the key ``state_dict``,
            ``model_state_dict`` or ``model`` of a larger file, or the only one in it) or a ``.safetensors`` file. A
            prefix that all keys share (``module.``, ``_orig_mod.``, ``net.``, ``model.`` ...) is taken off where the
            keys are the network's without it.
        prefix: Take only keys that start with it, without it. Default: ``network.`` for a Lightning checkpoint that has
            such keys, otherwise nothing.
        ignore: Patterns (``fnmatch``) of keys of the file to leave out.
        keep: Patterns of keys of the network that may be absent from the file and then keep their values.

    Raises:
        CheckpointError: The file is missing, no checkpoint, or holds more than tensors; or keys are missing, left over
            or of another shape.
    """
    load_state(network, read_weights(path, prefix), source=str(path), ignore=ignore, keep=keep)


def read_weights(path: str | Path, prefix: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a weight file onto the CPU. Arguments and errors as for :func:`load_weights`."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"There is no weight file {path}. Give the path of a .ckpt, .pth, .pt or .safetensors file."
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    nested = _nested_state_dict(content)
    state = content if nested is None else nested
    if prefix is None:
        in_lightning = nested is not None and any(key.startswith(NETWORK_PREFIX) for key in state)
        prefix = NETWORK_PREFIX if in_lightning else ""
    weights = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if isinstance(key, str) and key.startswith(prefix) and isinstance(value, Tensor)
    }
    if not weights:
        raise CheckpointError(
            f"{path} holds no tensor under a name that starts with {prefix!r}; it has {_first_names(map(str, state))}. "
            "Give the prefix its names have, or another file."
        )
    return weights


def _nested_state_dict(content: Mapping[str, object]) -> Mapping[str, Any] | None:
    """The state dict in a larger file; None where the file is one itself, or holds several under other names."""
    state_dicts = {
        key: inner
        for key, inner in content.items()
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values())
    }
    under_usual_key = [state_dicts[key] for key in _NESTS if key in state_dicts]
    if under_usual_key:
        return under_usual_key[0]
    has_tensors = any(isinstance(value, Tensor) for value in content.values())
    return next(iter(state_dicts.values())) if len(state_dicts) == 1 and not has_tensors else None


def without_common_prefix(own: Collection[str], state: Weights) -> Weights:
    """A state dict without the prefix that wrappers (DDP, ``torch.compile``, Lightning modules) put before every key.

    Args:
        own: Keys of the network. Where the state dict has one of them as it is, it is returned as it is.
        state: Its keys may share a prefix that ends with a dot.
    """
    common = os.path.commonprefix(list(state))  # noqa: RUF071 - of names, cut at a dot below
    prefixes = ["", *(common[: dot.end()] for dot in re.finditer(r"\.", common))]
    matches = {prefix: sum(key.removeprefix(prefix) in own for key in state) for prefix in prefixes}
    best = "" if matches[""] else max(prefixes, key=lambda prefix: matches[prefix])
    return {key.removeprefix(best): value for key, value in state.items()}


def load_state(
    network: nn.Module, state: Weights, source: str, *, ignore: Sequence[str] = (), keep: Sequence[str] = ()
) -> None:
    """Load a state dict into a network, as :func:`load_weights` does. ``source`` names it in errors."""
    own = network.state_dict()
    given = {key: value for key, value in without_common_prefix(own, state).items() if not _matches(key, ignore)}
    # Files from before PyTorch 0.4.1 have no such counters; they matter to no result.
    optional = [*keep, "*num_batches_tracked"]
    missing = [key for key in own if key not in given and not _matches(key, optional)]
    unexpected = [key for key in given if key not in own]
    reshaped = [
        f"{key} ({_size(given[key])} in the file, {_size(own[key])} in the network)"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    if missing or unexpected or reshaped:
        raise CheckpointError(_mismatch_message(source, own, given, missing, unexpected, reshaped))
    network.load_state_dict(given, strict=False)


def modern_densenet_names(state: Weights) -> dict[str, Tensor]:
    """Rename the keys of torchvision's published DenseNets (``denselayer1.norm.1``) as they are today (``.norm1``)."""
    return {re.sub(r"(denselayer\d+)\.(norm|conv)\.(\d)\.", r"\1.\2\3.", key): value for key, value in state.items()}


def _read_torch(path: Path) -> Mapping[str, object]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a file of tensors: it is no checkpoint, or it holds Python objects, which could run "
            "code and are not read. Save a plain state dict: torch.save(network.state_dict(), path)."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({error}). Is it complete? Fetch it again."
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict of named tensors.")
    return content


def to_8_bits(weights: Weights) -> dict[str, Tensor]:
    """Round matrices to 8 bits, each row with a scale of its own; :func:`read_weights` multiplies them again.

    Args:
        weights: Floating-point matrices, shape ``(rows, columns)``, by name.

    Returns:
        Of each an int8 tensor under its name, and the float32 scales, shape ``(rows, 1)``, under its name and
        ``.scale_of_8_bits``. The largest error of a value is 1/254 of the largest one of its row.
    """
    rounded: dict[str, Tensor] = {}
    for name, matrix in weights.items():
        scale = matrix.float().abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
        rounded[name] = (matrix.float() / scale).round().to(torch.int8)
        rounded[name + _SCALE] = scale
    return rounded


def _read_safetensors(path: Path) -> Mapping[str, object]:
    try:
        content: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}). Is it complete? Fetch it again."
        ) from error
    scales = {name.removesuffix(_SCALE): content.pop(name) for name in list(content) if name.endswith(_SCALE)}
    for name, scale in scales.items():
        matrix = content.get(name)
        if matrix is None or matrix.ndim != 2 or scale.shape != (len(matrix), 1):
            raise CheckpointError(f"{path}: expected a matrix {name} with one scale per row. Fetch it again.")
        content[name] = matrix.float() * scale
    return content


def _mismatch_message(
    source: str,
    own: Weights,
    given: Weights,
    missing: Collection[str],
    unexpected: Collection[str],
    reshaped: Collection[str],
) -> str:
    lines = [f"{source} is for another network: expected {len(own)} tensors, got {len(given)}."]
    for count, what, names in (
        (len(missing), "missing", missing),
        (len(unexpected), "left over", unexpected),
        (len(reshaped), "of another shape", reshaped),
    ):
        if count:
            lines.append(f"  {count} {what}: {_first_names(names)}")
    has = _networks_of_keys(own)
    lines += [
        f"  These keys are of {kind}; choose {way}."
        for kind, way in _networks_of_keys(given).items()
        if kind not in has
    ]
    if any(text.startswith("decoder.conv1.weight ") for text in reshaped):
        lines.append("  The decoders differ in width; published files need model/decoder=paper, a run's file its own.")
    return "\n".join(lines)


def _networks_of_keys(keys: Iterable[str]) -> dict[str, str]:
    """Networks that the keys seem to be of -> the configuration that builds each."""
    keys = list(keys)
    kinds = {kind: way for pattern, kind, way in _TELLTALES if any(re.match(pattern, key) for key in keys)}
    imagenet = _imagenet_network(keys)
    if imagenet is not None:
        kinds[f"an ImageNet {imagenet}"] = _IMAGENET_CHOICES.get(imagenet, _OTHER_IMAGENET)
    return kinds


def _imagenet_network(keys: Iterable[str]) -> str | None:
    keys = list(keys)
    for pattern, members in _IMAGENET:
        blocks = {found[1] for key in keys if (found := re.match(pattern, key))}
        if blocks:
            return members.get(len(blocks))
    return None


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _first_names(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_MAX_LISTED]) + (", ..." if len(names) > _MAX_LISTED else "")


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
