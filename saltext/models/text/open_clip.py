"""Text encoder: the text tower of any plain CLIP of open_clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from torch import Tensor, nn

from saltext.errors import CheckpointError, ConfigError, near
from saltext.models.checkpoints import load_state, read_weights
from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.hub import hub_folder
from saltext.models.text.base import TextFeatures
from saltext.models.text.cached import CachedTextEncoder
from saltext.models.text.images import CLIP_MEAN, CLIP_STD, ImageInput
from saltext.models.transfer import to_device

Config = dict[str, Any]

_PLAIN_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
_PLAIN = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Weight files as open_clip names them on the hub, the preferred first."""

_PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class TextTower(CachedTextEncoder):
    """Base of the encoders that are a text tower of open_clip, which ``model`` holds."""

    model: Any

    @property
    def text_embeddings(self) -> nn.Module:
        """Token and position embeddings."""
        return nn.ModuleList([self.model.token_embedding, nn.ParameterList([self.model.positional_embedding])])

    @property
    def text_layers(self) -> list[nn.Module]:
        """The text transformer's blocks. A norm and the projection follow them."""
        return list(self.model.transformer.resblocks)


class OpenCLIP(TextTower):
    """Text features of a CLIP: token states in the space that images and texts share.

    ``tokens`` are the last states after the final norm and the text projection, from the start to the end token;
    ``pooled`` is the end token's, which is CLIP's text feature before it is scaled to length 1. A token sees those
    before it only. The empty text is its two marks. Texts longer than the context (77 tokens in published models) are
    cut, the end token kept.

    Args:
        name: Model as open_clip names it, such as ``ViT-B-32``; or its configuration (``embed_dim``, ``vision_cfg``,
            ``text_cfg``, ``quick_gelu``). Only plain CLIPs: a causal text tower with CLIP's own tokenizer.
        weights: A tag of open_clip (``openai``, ``laion2b_s34b_b79k``), fetched once; or a weight file. None: random.
        frozen: Whether the text tower is frozen; then each distinct text is encoded once, and state dicts leave
            out the weights of ``weights``: keep what it names.
        image_tower: Whether to keep the image tower too, for :meth:`encode_images`. It is always frozen, since the
            text features do not depend on it.
        quick_gelu: Whether the activations are CLIP's first ones, x * sigmoid(1.702 x), which OpenAI's weights and a
            few others need and no file records. None: what the tag, otherwise the name, says.
        precision: ``fp32``; or ``bf16`` or ``fp16`` for the weights of a frozen tower. Features are float32 always.
        cache_size: As of :class:`CachedTextEncoder`.
        revision: Commit of the tag's repository on the hub; None: the newest.

    Attributes:
        sharpness: That which its weights were trained with, the exponential of ``logit_scale``.

    Raises:
        ConfigError: A model or tag open_clip does not have, or of another kind, or arguments that contradict.
        CheckpointError: Weights that cannot be had or are of another network.

    References:
        Radford et al., CLIP, ICML 2021; Cherti et al., Reproducible scaling laws, CVPR 2023, for OpenCLIP.
    """

    def __init__(
        self,
        name: str | Mapping[str, Any] = "ViT-B-32",
        weights: str | Path | None = None,
        frozen: bool = True,
        image_tower: bool = False,
        quick_gelu: bool | None = None,
        precision: Literal["fp32", "bf16", "fp16"] = "fp32",
        cache_size: int = 4096,
        revision: str | None = None,
    ) -> None:
        super().__init__(cache_size)
        if precision not in _PRECISIONS or (precision != "fp32" and not frozen):
            raise ConfigError(
                f"OpenCLIP: expected precision fp32, or bf16 or fp16 of a frozen tower, got {precision}, "
                f"{'frozen' if frozen else 'not frozen'}. To train in lower precision set the trainer's."
            )
        clip = plain_clip(name, weights, quick_gelu, revision, cast_dtype=_PRECISIONS[precision])
        model, self.tokenizer = clip.model, clip.tokenizer
        if precision != "fp32":
            open_clip.convert_weights_to_lp(model, dtype=_PRECISIONS[precision])
        self.dim = int(model.text_projection.shape[1])
        self.image_input = ImageInput(_image_size(model), clip.mean, clip.std) if image_tower else None
        if weights is not None:
            self.sharpness = float(model.logit_scale.detach().exp())
        self.model = _drop_unused(model, image_tower)
        frozen_modules = [freeze(self.model)] if frozen else [freeze(self.model.visual)] if image_tower else []
        if weights is not None:
            for module in frozen_modules:
                exclude_from_state_dict(module)

    def set_input_normalization(
        self, mean: Sequence[float], std: Sequence[float], order: Literal["rgb", "bgr"] = "rgb"
    ) -> None:
        """See :class:`~saltext.models.text.base.TextEncoder`."""
        if self.image_input is not None:
            self.image_input.set_input_normalization(mean, std, order)

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Run the encoder on all texts as one batch."""
        ids: Tensor = self.tokenizer(list(texts))
        # The end token has the largest id. Padding has id 0, but so has a "!" inside a word.
        last = ids.argmax(dim=1)
        longest = int(last.max()) + 1
        ids, last = (to_device(each, self.model.positional_embedding.device) for each in (ids, last))
        states = self.model.forward_intermediates(
            text=ids, text_indices=1, normalize_intermediates=True, intermediates_only=True
        )["text_intermediates"][-1]
        tokens = states[:, :longest] @ self.model.text_projection
        mask = torch.arange(longest, device=ids.device) <= last[:, None]
        return TextFeatures(pooled=tokens[torch.arange(len(ids), device=ids.device), last], tokens=tokens, mask=mask)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, from the start to the end token."""
        counts: list[int] = (self.tokenizer(list(texts)).argmax(dim=1) + 1).tolist()
        return counts

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run the image tower.

        Args:
            images: As the saliency network gets them (see :meth:`set_input_normalization`), shape
                ``(batch, 3, height, width)``.

        Returns:
            CLIP's image feature before it is scaled to length 1, in the space of the text features, shape
            ``(batch, dim)``; and the last states of the patches, shape ``(batch, width, rows, columns)``. Both
            without gradient.

        Raises:
            ValueError: There is no image tower.
        """
        if self.image_input is None:
            raise ValueError("this OpenCLIP has no image tower; build it with image_tower=True")
        # Norms stay in float32 whatever the precision, so the dtype is that of the patches' convolution.
        dtype = next(layer.weight.dtype for layer in self.model.visual.modules() if isinstance(layer, nn.Conv2d))
        out = self.model.forward_intermediates(
            image=self.image_input(images).to(dtype), image_indices=1, normalize=False, normalize_intermediates=True
        )
        return out["image_features"].float(), out["image_intermediates"][-1].float()


@dataclass(frozen=True)
class PlainClip:
    """A CLIP of open_clip, and what belongs to it.

    Attributes:
        model: The network.
        tokenizer: CLIP's own, for the model's number of tokens.
        mean: RGB mean in [0, 1] of the images that the weights were trained on.
        std: Their standard deviation.
    """

    model: Any
    tokenizer: Any
    mean: Sequence[float]
    std: Sequence[float]


def plain_clip(
    name: str | Mapping[str, Any],
    weights: str | Path | None,
    quick_gelu: bool | None = None,
    revision: str | None = None,
    image_size: int | None = None,
    cast_dtype: torch.dtype | None = None,
) -> PlainClip:
    """Build a CLIP with CLIP's own text tower and tokenizer.

    Args:
        name: As of :class:`OpenCLIP`.
        weights: As of :class:`OpenCLIP`.
        quick_gelu: As of :class:`OpenCLIP`.
        revision: As of :class:`OpenCLIP`.
        image_size: Side of the image tower's input in pixels; position embeddings are interpolated. None: its own.
        cast_dtype: Of open_clip's.

    Raises:
        ConfigError: As of :class:`OpenCLIP`.
        CheckpointError: As of :class:`OpenCLIP`.
    """
    config = _plain_clip_config(name)
    tag = _pretrained_tag(name, weights)
    activation = quick_gelu if quick_gelu is not None else tag and tag.get("quick_gelu", False)
    if activation is not None:
        config["quick_gelu"] = activation
    if image_size is not None:
        config["vision_cfg"] = {**config["vision_cfg"], "image_size": image_size}
    model = open_clip.CLIP(**config, cast_dtype=cast_dtype)
    if weights is not None:
        _load_file_or_tag(model, str(weights), tag, revision)
    tokenizer = open_clip.SimpleTokenizer(context_length=model.context_length)
    if tokenizer.vocab_size != model.vocab_size:
        raise ConfigError(
            f"OpenCLIP: expected a model with the {tokenizer.vocab_size} tokens of CLIP's tokenizer, got "
            f"{model.vocab_size}"
        )
    return PlainClip(model, tokenizer, (tag or {}).get("mean") or CLIP_MEAN, (tag or {}).get("std") or CLIP_STD)


def _plain_clip_config(name: str | Mapping[str, Any]) -> Config:
    """The configuration of a model, checked to be a plain CLIP."""
    config: Config | None = open_clip.get_model_config(name) if isinstance(name, str) else dict(name)
    if config is None:
        known = open_clip.list_models()
        raise ConfigError(f"open_clip has no model {name!r}{near(str(name), known)}; it has {', '.join(known)}.")
    special = sorted(set(config) - _PLAIN) + sorted(set(config["text_cfg"]) - _PLAIN_TEXT)
    if special:
        raise ConfigError(
            f"OpenCLIP: {name} is no plain CLIP, it also has {', '.join(special)}. Choose one with CLIP's own text "
            "tower and tokenizer, such as ViT-B-32, ViT-L-14 or RN50."
        )
    if config["vision_cfg"].get("timm_model_pretrained"):
        raise ConfigError(
            "OpenCLIP: expected timm_model_pretrained false, got true, with which timm would fetch weights. Name them "
            "by weights."
        )
    return config


def _pretrained_tag(name: str | Mapping[str, Any], weights: str | Path | None) -> Config | None:
    """open_clip's configuration of published weights; None for a weight file, or for no weights."""
    if weights is None or Path(weights).expanduser().is_file():
        return None
    tag: Config = open_clip.get_pretrained_cfg(name, str(weights)) if isinstance(name, str) else {}
    if not tag:
        tags = open_clip.list_pretrained_tags_by_model(name) if isinstance(name, str) else []
        raise ConfigError(
            f"OpenCLIP: weights {str(weights)!r} are no file here, and no tag of {name}. Its tags: "
            f"{', '.join(tags) or 'none'}."
        )
    return tag


def _load_file_or_tag(model: nn.Module, weights: str, tag: Config | None, revision: str | None) -> None:
    """Load a weight file, or the published weights of a tag, which are downloaded once."""
    path = Path(weights).expanduser()
    if tag is not None and revision is not None:
        if not tag.get("hf_hub"):
            raise ConfigError(f"OpenCLIP: expected no revision of {weights!r}, which is on no hub; got {revision!r}")
        repository, _, file = tag["hf_hub"].rpartition("/")
        names = [file] if file else list(OPEN_CLIP_WEIGHTS)
        folder = hub_folder(repository, revision, [], weights=names)
        path = next((folder / name for name in names if (folder / name).is_file()), folder / names[-1])
    elif tag is not None:
        try:
            path = Path(open_clip.download_pretrained(tag))
        except Exception as error:  # open_clip and the hub raise many kinds
            raise CheckpointError(
                f"The weights {weights!r} cannot be fetched ({error}). Fetch them where there is a connection, and "
                "give the file's path."
            ) from error
    state = read_weights(path)
    open_clip.model.resize_pos_embed(state, model)  # where the image tower is given images of another size
    load_state(model, state, str(path))


def _image_size(model: Any) -> int:
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if height != width:
        raise ConfigError(f"OpenCLIP: expected an image tower for squares, got {height}x{width}")
    return int(height)


def _drop_unused(model: Any, image_tower: bool) -> Any:
    """Remove modules that would never get a gradient: the scale of the contrastive loss, and an unused image tower."""
    del model.logit_scale
    model.logit_bias = None
    if not image_tower:
        del model.visual
    return model
