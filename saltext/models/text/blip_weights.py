"""BLIP's published weights: finding them, and renaming their keys from three conventions to ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BlipTextConfig, BlipVisionConfig

from saltext.errors import CheckpointError
from saltext.models.checkpoints import Weights, load_state, read_weights
from saltext.models.hub import WEIGHTS, hub_folder, read_json

_CONFIG = "config.json"
_VOCABULARIES = ("tokenizer.json", "vocab.txt")

_BLOCK = r"^visual_encoder\.blocks\.(\d+)\."
_LAYER = r"vision.encoder.layers.\1."
ORIGINAL_NAMES: tuple[tuple[str, str], ...] = (
    (r"^visual_encoder\.cls_token$", "vision.embeddings.class_embedding"),
    (r"^visual_encoder\.pos_embed$", "vision.embeddings.position_embedding"),
    (r"^visual_encoder\.patch_embed\.proj\.", "vision.embeddings.patch_embedding."),
    (_BLOCK + r"norm(\d)\.", _LAYER + r"layer_norm\2."),
    (_BLOCK + r"attn\.qkv\.", _LAYER + "self_attn.qkv."),
    (_BLOCK + r"attn\.proj\.", _LAYER + "self_attn.projection."),
    (_BLOCK + r"mlp\.", _LAYER + "mlp."),
    (r"^visual_encoder\.norm\.", "vision.post_layernorm."),
    (r"^text_encoder\.", "text."),
)
"""From the names of BLIP's own files, and of ImageReward's after their prefix ``blip.``, to ours: pattern and what
replaces it. The text encoder's inner names (``encoder.layer.N.crossattention.self.query``) are BERT's in both."""

TRANSFORMERS_NAMES: tuple[tuple[str, str], ...] = (
    (r"^vision_model\.", "vision."),
    (r"^text_encoder\.", "text."),
)
"""From transformers' names (``BlipForImageTextRetrieval``, ``BlipForQuestionAnswering``) to ours."""

UNUSED_NAMES: tuple[str, ...] = (
    "text_encoder.embeddings.position_ids",  # 0, 1, 2, ...
    "vision_proj.*",  # to the space of the contrastive loss
    "text_proj.*",
    "itm_head.*",  # whether image and text belong together, from the text state
    "temp",  # of the contrastive loss
    "visual_encoder_m.*",  # copies by momentum, and their queues: pre-training only
    "text_encoder_m.*",
    "vision_proj_m.*",
    "text_proj_m.*",
    "image_queue",
    "text_queue",
    "queue_ptr",
    "idx_queue",
    "ptr_queue",
    "text_decoder.*",  # writes captions and answers
    "mlp.layers.*",  # ImageReward's reward, from the text state
)
"""Patterns of the published keys that the image-grounded text state does not need; any other leftover is an error."""


@dataclass(frozen=True)
class BlipFiles:
    """The files of a BLIP.

    Attributes:
        weights: The weight file.
        config: Sizes, in transformers' format; None for a weight file alone.
        vocabulary: Word pieces; None for a weight file alone.
    """

    weights: Path
    config: Path | None = None
    vocabulary: Path | None = None


def find_blip(weights: str | Path, revision: str | None = None) -> BlipFiles:
    """Find a BLIP on this machine, or fetch it from the Hugging Face hub.

    Args:
        weights: A weight file; or a folder as transformers saves it; or else the name of a repository on the hub
            (``owner/name``), which is downloaded once.
        revision: Commit, tag or branch of the repository. Only a commit never changes.

    Raises:
        CheckpointError: Nothing of the kind, or a folder without what is needed.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        return BlipFiles(weights=path)
    folder = path if path.is_dir() else hub_folder(str(weights), revision, [_CONFIG, *_VOCABULARIES])
    present = {name: folder / name for name in (_CONFIG, *WEIGHTS, *_VOCABULARIES) if (folder / name).is_file()}
    files = [present[name] for name in WEIGHTS if name in present]
    missing = [what for what, found in ((_CONFIG, _CONFIG in present), (" or ".join(WEIGHTS), files)) if not found]
    if missing:
        raise CheckpointError(
            f"{folder} is no BLIP as transformers saves one: it has no {', no '.join(missing)}. Give such a folder, or "
            "the path of a weight file."
        )
    vocabularies = [present[name] for name in _VOCABULARIES if name in present]
    return BlipFiles(files[0], present[_CONFIG], vocabularies[0] if vocabularies else None)


def read_configs(path: Path) -> tuple[BlipVisionConfig, BlipTextConfig]:
    """Read the sizes of a BLIP that transformers saved: of its vision tower and of its text encoder.

    Raises:
        CheckpointError: They are another model's.
    """
    content = read_json(path)
    lacking = [part for part in ("vision_config", "text_config") if part not in content]
    if content.get("model_type") != "blip" or lacking:
        raise CheckpointError(
            f"{path}: expected a model of type 'blip' with vision_config and text_config, got type "
            f"{content.get('model_type')!r}. BLIP-2 and others have no image-grounded text encoder of this kind."
        )
    return BlipVisionConfig.from_dict(content["vision_config"]), BlipTextConfig.from_dict(content["text_config"])


def load_blip(blip: nn.Module, path: Path) -> None:
    """Fill a BLIP from a weight file, whichever names it has.

    Positions of the vision tower are interpolated where the file's are for another image size, bicubic, as BLIP's own
    code does.

    Args:
        blip: With the vision tower as ``vision`` and the text encoder as ``text``, both as transformers has them.
        path: Of a state dict under the names of BLIP, ImageReward or transformers.

    Raises:
        CheckpointError: A key is missing, left over (:data:`UNUSED_NAMES` apart) or of another shape; says what the
            file seems to be of. Nothing is loaded then.
    """
    given = read_weights(path)
    state = our_names(given)
    own = blip.state_dict()
    positions = "vision.embeddings.position_embedding"
    if positions in state:
        state[positions] = _fit_positions(state[positions], own[positions])
    try:
        load_state(blip, state, str(path))
    except CheckpointError as error:
        raise CheckpointError("\n  ".join([str(error), *_likely_reasons(state, own, given)])) from error


def our_names(state: Weights) -> dict[str, Tensor]:
    """Rename published keys as :class:`saltext.models.text.blip.Blip` has them, and drop :data:`UNUSED_NAMES`.

    A key of no known name keeps it, so that a strict load shows it.
    """
    plain = {re.sub(r"^(module\.)?(blip\.)?", "", key): value for key, value in state.items()}
    original = any(key.startswith("visual_encoder.") for key in plain)
    table = ORIGINAL_NAMES if original else TRANSFORMERS_NAMES
    renamed = {}
    for key, value in plain.items():
        if any(fnmatchcase(key, pattern) for pattern in UNUSED_NAMES):
            continue
        replacements = (re.subn(pattern, replacement, key) for pattern, replacement in table)
        renamed[next((name for name, changes in replacements if changes), key)] = value
    return renamed


def _fit_positions(given: Tensor, own: Tensor) -> Tensor:
    """Interpolate position embeddings (1, 1 + patches, dim) to another square grid; the class token's is unchanged."""
    side, new_side = (round((positions.shape[1] - 1) ** 0.5) for positions in (given, own))
    if side == new_side or side**2 + 1 != given.shape[1]:
        return given
    patches = given[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, (new_side, new_side), mode="bicubic", align_corners=False)
    return torch.cat([given[:, :1], patches.flatten(2).mT.to(given)], dim=1)


def _likely_reasons(state: Weights, own: Weights, given: Weights) -> list[str]:
    """Why a state dict does not fit the network: the sizes or the kind of BLIP it seems to be of."""
    reasons = []
    blocks, own_blocks = (
        _count(state, r"vision\.encoder\.layers\.(\d+)\."),
        _count(own, r"vision\.encoder\.layers\.(\d+)\."),
    )
    layers, own_layers = _count(state, r"text\.encoder\.layer\.(\d+)\."), _count(own, r"text\.encoder\.layer\.(\d+)\.")
    if not blocks and not layers:
        reasons.append("None of its keys is of a BLIP.")
    elif blocks != own_blocks:
        size = {12: "base", 24: "large"}.get(blocks)
        reasons.append(
            f"It has {blocks} vision blocks, the network {own_blocks}"
            + (f": choose model.text_encoder.vision={size}." if size else ".")
        )
    if blocks and not layers and any("text_decoder." in key for key in given):
        reasons.append(
            "It is of a captioning BLIP, which writes texts and cannot read them: take weights for image-text matching "
            "(ITM), retrieval, visual question answering, or of the pre-training."
        )
    elif layers and layers != own_layers:
        reasons.append(f"It has {layers} text layers, the network {own_layers}.")
    return reasons


def _count(state: Mapping[str, object], pattern: str) -> int:
    return len({match[1] for key in state if (match := re.match(pattern, key))})
