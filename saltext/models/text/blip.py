"""BLIP's image-grounded text encoder: a text read in view of its image."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.ops import stochastic_depth
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from saltext.errors import CheckpointError, ConfigError
from saltext.models.feature_cache import get_or_compute
from saltext.models.feature_file import Features
from saltext.models.freezing import exclude_from_state_dict, freeze, is_frozen
from saltext.models.text.base import TextEncoder, TextFeatures, pad_rows
from saltext.models.text.blip_weights import find_blip, load_blip, read_configs
from saltext.models.text.images import CLIP_MEAN, CLIP_STD, ImageInput
from saltext.models.text.wordpieces import ENCODE, word_pieces
from saltext.models.transfer import select_rows, to_device

TowerSizes = Mapping[str, Any]

_VISION: dict[str, TowerSizes] = {
    "base": {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    "large": {"num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16},
}
"""ViT-B/16 and ViT-L/16 (Dosovitskiy et al. 2021)."""

# transformers' own defaults are not BLIP's: 8 heads, and an initial deviation of 1e-10 in the vision tower, with which
# random weights make every image look the same.
_VISION_DEFAULTS: TowerSizes = {"patch_size": 16, "layer_norm_eps": 1e-6, "initializer_range": 0.02}
_TEXT_DEFAULTS: TowerSizes = {"num_attention_heads": 12, "vocab_size": 30524}


class Blip(TextEncoder):
    """BLIP's image-grounded text encoder: BERT with cross-attention to the patches of the image.

    The image goes through a ViT; the text's word pieces go through BERT, each layer of which attends to all patches.
    ``tokens`` are the last hidden states, ``pooled`` that of the first token. The empty text is two tokens. Texts of
    more than ``max_tokens`` pieces are cut, the closing [SEP] kept.

    # DISCREPANCY: BLIP trains this state with [ENC] as the first token; ImageReward, whose BLIP the authors of
    # TranBlend took, scores with BERT's [CLS] in its place. `start` is either.

    # DISCREPANCY: TranBlend's script normalises the image by ImageNet's mean and deviation, BLIP and ImageReward by
    # CLIP's. `mean` and `std` are either.

    Args:
        weights: A repository on the hub (``Salesforce/blip-itm-base-coco``), a folder as transformers saves it, or a
            weight file of BLIP, ImageReward or transformers. None: random.
        revision: Commit, tag or branch of the repository; a commit makes a run reproducible.
        vision: ``base`` or ``large``, or the vision tower's sizes as transformers' ``BlipVisionConfig`` names them.
            None: the sizes of the folder or repository, otherwise base.
        text: Sizes of the text encoder that differ from BERT-base, as ``BlipTextConfig`` names them. Not together with
            a folder or repository, which has its own.
        vocabulary: ``vocab.txt`` or ``tokenizer.json``. None: that of the folder or repository; where there is none,
            bert-base-uncased's from the ``embedded`` extra.
        image_size: Side of the vision tower's input. Position embeddings of weights for another size are interpolated.
        mean: Mean that this input is normalised with, RGB in [0, 1].
        std: Standard deviation, likewise.
        start: First token of a text, ``enc`` or ``cls``.
        max_tokens: Maximum number of word pieces of a text, the first and the last token included.
        dropout: Dropout of the text encoder in training. BLIP trains with 0.1, which transformers' files do not have.
        drop_path: Probability with which a training image skips a residual branch of the last vision block, falling
            linearly to 0 at the first. BLIP trains its large tower with 0.1.
        frozen: Whether all weights are frozen. If they come from ``weights``, state dicts leave them out: keep that
            file.

    Raises:
        ConfigError: Arguments that contradict each other or make no network.
        CheckpointError: Weights that are not there or are of another network, or a vocabulary that is not theirs.

    References:
        Li et al., BLIP, ICML 2022; Xu et al., ImageReward, NeurIPS 2023; Huang et al., Deep networks with stochastic
        depth, ECCV 2016, for ``drop_path``.
    """

    reads_image = True

    def __init__(
        self,
        weights: str | Path | None = None,
        revision: str | None = None,
        vision: Literal["base", "large"] | TowerSizes | None = None,
        text: TowerSizes | None = None,
        vocabulary: str | Path | None = None,
        image_size: int = 224,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
        start: Literal["enc", "cls"] = "enc",
        max_tokens: int = 35,
        dropout: float = 0.1,
        drop_path: float = 0.0,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        _check_arguments(vision, text, start, max_tokens, dropout, drop_path)
        files = None if weights is None else find_blip(weights, revision)
        if files is None or files.config is None:
            tower = vision or "base"
            vision_sizes = _VISION[tower] if isinstance(tower, str) else tower
            vision_config = BlipVisionConfig(**{**_VISION_DEFAULTS, **vision_sizes})
            text_config = BlipTextConfig(**{**_TEXT_DEFAULTS, **(text or {})})
        else:
            vision_config, text_config = read_configs(files.config)
            _check_agreement(files.config, {"vision": vision_config, "text": text_config}, vision, text)
        vision_config.image_size = image_size
        text_config.encoder_hidden_size = vision_config.hidden_size
        text_config.hidden_dropout_prob = text_config.attention_probs_dropout_prob = dropout
        own_vocabulary = None if files is None else files.vocabulary
        self.tokenizer = word_pieces(
            Path(vocabulary) if vocabulary is not None else own_vocabulary, text_config.vocab_size, max_tokens
        )
        self.start: int | None = self.tokenizer.token_to_id(ENCODE) if start == "enc" else None
        self.image_input = ImageInput(image_size, mean, std)
        self.vision = BlipVisionModel(vision_config)
        self.text = BlipTextModel(text_config, add_pooling_layer=False)
        self.dim = int(text_config.hidden_size)
        _drop_residuals(self.vision_blocks, drop_path)
        if files is not None:
            load_blip(self, files.weights)
        if frozen:
            freeze(self)
            if files is not None:
                exclude_from_state_dict(self)

    @property
    def text_embeddings(self) -> nn.Module:
        """Word and position embeddings with their norm."""
        return self.text.embeddings

    @property
    def text_layers(self) -> list[nn.Module]:
        """BERT's layers: self attention, cross attention to the image, feed-forward."""
        return list(self.text.encoder.layer)

    @property
    def vision_embeddings(self) -> nn.Module:
        """Patch, class and position embeddings."""
        return self.vision.embeddings

    @property
    def vision_blocks(self) -> list[nn.Module]:
        """The ViT's blocks. A last norm follows them."""
        return list(self.vision.encoder.layers)

    def set_input_normalization(
        self, mean: Sequence[float], std: Sequence[float], order: Literal["rgb", "bgr"] = "rgb"
    ) -> None:
        """See :class:`TextEncoder`."""
        self.image_input.set_input_normalization(mean, std, order)

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        """Encode texts in view of their images, see :class:`TextEncoder`.

        Raises:
            ValueError: No images, or not one a text.
        """
        if images is None or len(images) != len(texts):
            given = "none" if images is None else len(images)
            raise ValueError(f"BLIP reads each text with its image: expected {len(texts)} images, got {given}")
        ids, mask = self._token_ids(texts)
        patches = self._patch_states(images)
        # `is_decoder` is left False here, otherwise a token would not see those after it.
        tokens: Tensor = self.text(
            input_ids=ids, attention_mask=mask.long(), encoder_hidden_states=patches
        ).last_hidden_state
        return TextFeatures(pooled=tokens[:, 0], tokens=tokens, mask=mask, saw_image=True)

    def _patch_states(self, images: Tensor) -> Tensor:
        """The vision tower's last hidden state; the frozen blocks at its beginning may come from the cache."""
        stages = [self.vision_embeddings, *self.vision_blocks]
        frozen = [is_frozen(stage) and not stage.training for stage in stages]
        fixed = frozen.index(False) if False in frozen else len(frozen)
        if fixed < 2:
            hidden: Tensor = self.vision(pixel_values=self.image_input(images)).last_hidden_state
            return hidden
        leading = nn.Sequential(*stages[:fixed])

        def compute(indices: list[int]) -> Features:
            return (leading(self.image_input(select_rows(images, indices))),)

        (hidden,) = get_or_compute([self.image_input, *stages[:fixed]], images, compute)
        normed: Tensor = self.vision.post_layernorm(nn.Sequential(*stages[fixed:])(hidden))
        return normed

    def _token_ids(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        device = self.text.embeddings.word_embeddings.weight.device
        ids, mask = pad_rows([torch.tensor(encoding.ids) for encoding in self.tokenizer.encode_batch(list(texts))])
        if self.start is not None:
            ids[:, 0] = self.start
        return to_device(ids, device), to_device(mask, device)


def _check_arguments(
    vision: str | TowerSizes | None,
    text: TowerSizes | None,
    start: str,
    max_tokens: int,
    dropout: float,
    drop_path: float,
) -> None:
    problems = []
    if isinstance(vision, str) and vision not in _VISION:
        problems.append(f"vision: expected {' or '.join(_VISION)} or a mapping of sizes, got {vision!r}")
    for tower, sizes in {"vision": vision, "text": text}.items():
        named = sizes if isinstance(sizes, Mapping) else {}
        # Texts choose implementations, some of which transformers fetches from a hub.
        others = [name for name, size in named.items() if name != "hidden_act" and not isinstance(size, int | float)]
        if others:
            problems.append(f"{tower}: expected numbers, got {', '.join(f'{n}={named[n]!r:.80}' for n in others)}")
    if start not in ("enc", "cls"):
        problems.append(f"start: expected enc or cls, got {start!r}")
    if max_tokens < 2:
        problems.append(f"max_tokens: expected at least 2 (the first and the last token), got {max_tokens}")
    problems += [
        f"{name}: expected a value in [0, 1), got {value}"
        for name, value in (("dropout", dropout), ("drop_path", drop_path))
        if not 0 <= value < 1
    ]
    if problems:
        raise ConfigError("Blip: " + "; ".join(problems))


def _check_agreement(
    path: Path, own: Mapping[str, object], vision: str | TowerSizes | None, text: TowerSizes | None
) -> None:
    """Raise a CheckpointError where sizes asked for are not those of the weights."""
    asked = {"vision": _VISION[vision] if isinstance(vision, str) else vision or {}, "text": text or {}}
    problems = [
        f"expected {tower} {name} {value}, got {getattr(own[tower], name, None)}"
        for tower, sizes in asked.items()
        for name, value in sizes.items()
        if getattr(own[tower], name, None) != value
    ]
    if problems:
        raise CheckpointError(
            f"{path} is of another BLIP: {'; '.join(problems)}. Leave model.text_encoder.vision and .text null: "
            "the sizes are then taken from the weights."
        )


def _drop_residuals(blocks: Sequence[nn.Module], last: float) -> None:
    """Drop residual branches in training, by image, from probability 0 at the first block to ``last`` at the last.

    # DISCREPANCY: transformers' ViT has no stochastic depth, BLIP's has; a rate of 0 is the former.
    """
    for index, block in enumerate(blocks):
        rate = last * index / max(len(blocks) - 1, 1)
        if rate > 0:
            for end_of_branch in (block.get_submodule("self_attn.projection"), block.get_submodule("mlp.fc2")):
                end_of_branch.register_forward_hook(partial(_drop_rows, rate=rate))


def _drop_rows(module: nn.Module, args: object, output: Tensor, *, rate: float) -> Tensor:
    dropped: Tensor = stochastic_depth(output, rate, mode="row", training=module.training)
    return dropped
