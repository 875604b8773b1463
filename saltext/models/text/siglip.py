"""Text encoder: the text tower of a SigLIP as open_clip saves it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
from open_clip.tokenizer import get_clean_fn
from torch import Tensor, nn
from transformers import AutoTokenizer

from saltext.errors import CheckpointError
from saltext.models.checkpoints import load_state, read_weights
from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.hub import pinned_folder, read_json
from saltext.models.text.base import TextFeatures
from saltext.models.text.open_clip import OPEN_CLIP_WEIGHTS, TextTower
from saltext.models.transfer import to_device

_CONFIG = "open_clip_config.json"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class SigLIP(TextTower):
    """Text features of a SigLIP or SigLIP 2: token states in the space that images and texts share.

    ``tokens`` are the last states after the final norm and the text projection, from the first to the end token;
    ``pooled`` is that of the last position of the context, which is SigLIP's text feature before it is scaled to length
    1. Every token sees all others, padding included, as in training. Case and punctuation do not count where the
    model's own tokenizer leaves them out. The empty text is its end token. Texts longer than the context (64 tokens in
    published models) are cut, the end token kept.

    Args:
        weights: A folder as open_clip saves a model for the hub (``open_clip_config.json``, weights, tokenizer), or
            ``owner/name`` of a repository there (``timm/ViT-B-16-SigLIP2``), fetched once.
        revision: Commit of the repository, 40 hexadecimal digits.
        local_files_only: Whether to take only what was downloaded before.
        frozen: Whether it stays as it is; then each distinct text is encoded once, and state dicts leave it out: keep
            what ``weights`` names.
        cache_size: As of :class:`saltext.models.text.cached.CachedTextEncoder`.

    Attributes:
        sharpness: That which the model was trained with, the exponential of its ``logit_scale``.

    Raises:
        ConfigError: A repository without a commit.
        CheckpointError: Files that cannot be had, are incomplete, or are of another model.

    References:
        Zhai et al., Sigmoid loss for language image pre-training, ICCV 2023; Tschannen et al., SigLIP 2, 2025.
    """

    def __init__(
        self,
        weights: str | Path,
        revision: str | None = None,
        local_files_only: bool = False,
        frozen: bool = True,
        cache_size: int = 4096,
    ) -> None:
        super().__init__(cache_size)
        folder = pinned_folder(weights, revision, [_CONFIG, *_TOKENIZER], local_files_only, OPEN_CLIP_WEIGHTS)
        files = [folder / name for name in OPEN_CLIP_WEIGHTS if (folder / name).is_file()]
        lacking = [name for name in (_CONFIG, "tokenizer.json") if not (folder / name).is_file()]
        lacking += [] if files else [" or ".join(OPEN_CLIP_WEIGHTS)]
        if lacking:
            raise CheckpointError(f"{folder} is no SigLIP as open_clip saves one: it has no {', no '.join(lacking)}.")
        config: dict[str, Any] = read_json(folder / _CONFIG).get("model_cfg", {})
        text: dict[str, Any] = config.get("text_cfg", {})
        if not (config.get("custom_text") and text.get("no_causal_mask") and text.get("pool_type") == "last"):
            raise CheckpointError(
                f"{folder}: expected a SigLIP, whose text tower sees all tokens and pools the last; got the model of "
                f"{_CONFIG}. For a CLIP take model/text_encoder=open_clip."
            )
        model = open_clip.transformer.TextTransformer(
            context_length=text.get("context_length", 64),
            vocab_size=text["vocab_size"],
            width=text["width"],
            heads=text["heads"],
            layers=text["layers"],
            mlp_ratio=text.get("mlp_ratio", 4.0),
            output_dim=config["embed_dim"],
            no_causal_mask=True,
            pool_type="last",
            proj_bias=text.get("proj_bias", False),
            act_layer=partial(nn.GELU, **(text.get("act_kwargs") or {})),
            norm_layer=partial(open_clip.transformer.LayerNorm, **(text.get("norm_kwargs") or {})),
        )
        state = read_weights(files[0])
        own = {key.removeprefix("text."): value for key, value in state.items() if key.startswith("text.")}
        load_state(model, own, str(files[0]))
        self.sharpness = float(state["logit_scale"].float().exp())
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.clean = get_clean_fn((text.get("tokenizer_kwargs") or {}).get("clean", "whitespace"))
        self.model = model
        self.dim = int(config["embed_dim"])
        if frozen:
            exclude_from_state_dict(freeze(self))

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Run the encoder on all texts as one batch."""
        ids, mask = self.token_ids(texts)
        longest = int(mask.sum(1).max())
        ids, mask = (to_device(each, self.model.positional_embedding.device) for each in (ids, mask))
        states = self.model.forward_intermediates(
            ids, indices=1, normalize_intermediates=True, intermediates_only=True, output_fmt="NLC"
        )["text_intermediates"][-1]
        projection = self.model.text_projection
        tokens: Tensor = projection(states) if isinstance(projection, nn.Linear) else states @ projection
        return TextFeatures(pooled=tokens[:, -1], tokens=tokens[:, :longest], mask=mask[:, :longest].bool())

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, from the first to the end token."""
        counts: list[int] = self.token_ids(texts)[1].sum(1).tolist()
        return counts

    def token_ids(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask of texts, 1 at tokens and 0 at padding, int64, shapes ``(texts, context)``."""
        read = self.tokenizer(
            [self.clean(text) for text in texts],
            padding="max_length",
            truncation=True,
            max_length=self.model.context_length,
            return_tensors="pt",
        )
        mask = read["attention_mask"]
        mask[:, 0] = 1  # a tokenizer without an end token reads the empty text as padding alone
        return read["input_ids"], mask
