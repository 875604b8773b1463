"""Grounding a text in an image by CLIP alone: what each patch shows, in the space that images and texts share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.grounding.base import ImageGrounder
from saltext.models.grounding.phrases import head_phrase, names_something
from saltext.models.text.base import TextEncoder
from saltext.models.text.images import ImageInput
from saltext.models.text.open_clip import plain_clip

_EPS = 1e-6


class ValueTokens(nn.Module):
    """CLIP's image tower with the values of its last block in place of that block's attention.

    Args:
        visual: The tower, open_clip's ``VisionTransformer``.
        image_input: Converts images.
    """

    def __init__(self, visual: Any, image_input: ImageInput) -> None:
        super().__init__()
        self.image_input = image_input
        self.visual = visual

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Encode.

        Args:
            images: As the saliency network gets them, float, shape ``(batch, 3, height, width)``.

        Returns:
            A vector of length 1 for each patch, half precision, shape ``(batch, dim, rows, columns)``.
        """
        *_, last = self.visual.transformer.resblocks
        depth = len(self.visual.transformer.resblocks)
        (x,) = self.visual.forward_intermediates(
            self.image_input(images), indices=[depth - 2], stop_early=True, intermediates_only=True, output_fmt="NLC"
        )["image_intermediates"]
        width = x.shape[2]
        attention = last.attn
        values = F.linear(last.ln_1(x), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
        x = x + last.ls_1(attention.out_proj(values))
        x = x + last.ls_2(last.mlp(last.ln_2(x)))
        tokens = F.normalize(self.visual.ln_post(x) @ self.visual.proj, dim=2)
        rows, columns = self.visual.grid_size
        return (tokens.mT.reshape(len(x), -1, rows, columns).half(),)


class ClipDenseGrounder(ImageGrounder):
    """Where a CLIP's patches are similar to a text: cosines, for the whole text and for its first noun phrase.

    CLIP was trained to compare whole images with texts; the values of the last block, without its attention over the
    image, say what is at each patch (MaskCLIP). An image is encoded once whatever its texts are. The empty text names
    nothing: its maps are 0. The model is frozen, and excluded from state dicts if it has weights.

    Args:
        name: Model as open_clip names it, or its configuration; a plain CLIP with a vision transformer.
        weights: A tag of open_clip, fetched once; or a weight file. None: random.
        image_size: Side of the image tower's input in pixels: images are resized to a square of that side, and position
            embeddings are interpolated. None: that of the model, 224 for most.
        quick_gelu: As of :class:`saltext.models.text.open_clip.OpenCLIP`.
        revision: Commit of the tag's repository on the hub; None: the newest.

    Attributes:
        num_maps: Grounding maps of a text: cosines of the whole text and of its
            :func:`saltext.models.grounding.phrases.head_phrase`, each as it is, and standardised over the positions.

    Raises:
        ConfigError: No plain CLIP with a vision transformer of at least two blocks.
        CheckpointError: Weights that cannot be had or are of another network.

    References:
        Radford et al., CLIP, ICML 2021; Zhou et al., Extract free dense labels from CLIP, ECCV 2022.
    """

    num_maps = 4

    def __init__(
        self,
        name: str | Mapping[str, Any] = "ViT-B-16",
        weights: str | Path | None = None,
        image_size: int | None = 448,
        quick_gelu: bool | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        clip = plain_clip(name, weights, quick_gelu, revision, image_size)
        visual = clip.model.visual
        blocks = getattr(getattr(visual, "transformer", None), "resblocks", ())
        if len(blocks) < 2 or visual.attn_pool is not None:
            raise ConfigError(
                f"ClipDenseGrounder: expected a CLIP with a plain vision transformer of at least two blocks, such as "
                f"ViT-B-16, got {name}"
            )
        side, other = visual.image_size
        if side != other:
            raise ConfigError(f"ClipDenseGrounder: expected an image tower for squares, got {side}x{other}")
        self.image_encoder = ValueTokens(visual, ImageInput(side, clip.mean, clip.std))
        self.dim = int(visual.proj.shape[1])
        self.tokenizer = clip.tokenizer
        del clip.model.visual, clip.model.logit_scale
        self.text = clip.model
        self._embedded: dict[str, Tensor] = {}
        freeze(self)
        if weights is not None:
            exclude_from_state_dict(self)

    @torch.no_grad()
    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Grounding maps of texts.

        Args:
            activations: Of :class:`ValueTokens`.
            texts: One text per image.
            encoder: Not read: CLIP has its own.

        Returns:
            Maps without gradient, a cell per patch, shape ``(batch, num_maps, rows, columns)``.
        """
        queries = torch.stack([torch.stack([self._embed(each) for each in (t, head_phrase(t))]) for t in texts])
        cosines = torch.einsum("btd,bdhw->bthw", queries.to(activations.device), activations.float())
        mean, std = cosines.mean((2, 3), keepdim=True), cosines.std((2, 3), keepdim=True)
        maps = torch.cat([cosines, (cosines - mean) / (std + _EPS)], dim=1)
        return maps * names_something(texts).to(activations.device)

    def semantic_dim(self, encoder: TextEncoder) -> int:
        """Size of the space that images and texts share."""
        return self.dim

    @torch.no_grad()
    def semantic_map(self, activations: Tensor, encoder: TextEncoder) -> Tensor:
        """What each place shows, means of two by two patches, shape ``(batch, dim, ~rows / 2, ~columns / 2)``."""
        return F.avg_pool2d(activations.float(), 2, ceil_mode=True)

    def _embed(self, phrase: str) -> Tensor:
        """CLIP's text feature of a phrase, of length 1, computed once, shape ``(dim,)``."""
        if phrase not in self._embedded:
            ids = self.tokenizer([phrase]).to(self.text.positional_embedding.device)
            self._embedded[phrase] = self.text.encode_text(ids, normalize=True)[0].cpu()
        return self._embedded[phrase]
