"""Grounding a text in an image by CLIPSeg: a decoder on CLIP's image tower segments what a text names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPSegForImageSegmentation

from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.grounding.base import ImageGrounder
from saltext.models.grounding.phrases import head_phrase, names_something
from saltext.models.grounding.pretrained import ClipText, load_pretrained
from saltext.models.normalize import IMAGENET_MEAN, IMAGENET_STD
from saltext.models.text.base import TextEncoder
from saltext.models.text.images import ImageInput

_BICUBIC = 3  # Pillow's number, in files of preprocessing
_CELLS_PER_PATCH = 2


class ClipSegFeatures(nn.Module):
    """The image tower: states of three blocks, projected to the decoder's width.

    Args:
        model: CLIPSeg, whose decoder is left without the projections, which are run here: they do not see the text.
        preprocessing: As of :class:`saltext.models.grounding.pretrained.Pretrained`.
    """

    def __init__(self, model: Any, preprocessing: Any) -> None:
        super().__init__()
        size = preprocessing.get("size", 352)
        self.image_input = ImageInput(
            size if isinstance(size, int) else size["height"],
            preprocessing.get("image_mean", IMAGENET_MEAN),
            preprocessing.get("image_std", IMAGENET_STD),
            "bicubic" if preprocessing.get("resample") == _BICUBIC else "bilinear",
        )
        self.blocks = tuple(model.extract_layers)
        self.vision = model.clip.vision_model
        self.reduces = model.decoder.reduces
        model.decoder.reduces = nn.ModuleList(nn.Identity() for _ in self.reduces)

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Encode.

        Args:
            images: As the saliency network gets them, float, shape ``(batch, 3, height, width)``.

        Returns:
            States of the chosen blocks, the last block first, half precision, shape ``(batch, blocks, 1 + patches,
            decoder width)``.
        """
        states = self.vision(pixel_values=self.image_input(images), output_hidden_states=True).hidden_states
        last_first = [states[block + 1] for block in reversed(self.blocks)]
        reduced = [reduce(state) for reduce, state in zip(self.reduces, last_first, strict=True)]
        return (torch.stack(reduced, dim=1).half(),)


class ClipSegGrounder(ImageGrounder):
    """Where CLIPSeg segments what a text names: probabilities for the whole text and for its first noun phrase.

    An image is encoded once whatever its texts are; only the decoder, a hundredth of the work, reads the text. The
    empty text names nothing: its maps are 0. The model is frozen and excluded from state dicts.

    Args:
        weights: A folder as transformers saves the model with its processor, or a repository on the hub.
        revision: Commit of the repository, 40 hexadecimal digits.
        local_files_only: Whether to take only what was downloaded before.

    Attributes:
        num_maps: Grounding maps of a text: of the whole text and of its
            :func:`saltext.models.grounding.phrases.head_phrase`.

    Raises:
        ConfigError: A repository without a commit.
        CheckpointError: The weights cannot be had, or are of another model.

    References:
        Lueddecke and Ecker, Image segmentation using text and image prompts, CVPR 2022.
    """

    num_maps = 2

    def __init__(self, weights: str | Path, revision: str | None = None, local_files_only: bool = False) -> None:
        super().__init__()
        loaded = load_pretrained(CLIPSegForImageSegmentation, weights, revision, local_files_only)
        model = loaded.model
        self.image_encoder = ClipSegFeatures(model, loaded.preprocessing)
        self.text = ClipText(model.clip, loaded.tokenizer)
        self.decoder = model.decoder
        exclude_from_state_dict(freeze(self))

    @torch.no_grad()
    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Grounding maps of texts.

        Args:
            activations: Of :class:`ClipSegFeatures`.
            texts: One text per image.
            encoder: Not read: CLIPSeg has its own.

        Returns:
            Probabilities without gradient, two cells per patch along each side, shape ``(batch, num_maps, cells,
            cells)``.
        """
        states = list(activations.float().unbind(1))
        side = round((states[0].shape[1] - 1) ** 0.5) * _CELLS_PER_PATCH
        maps = []
        for phrases in (list(texts), [head_phrase(text) for text in texts]):
            conditions = self.text(phrases).to(states[0])
            # The decoder takes the states in the order of the blocks.
            logits = self.decoder(states[::-1], conditions).logits
            maps.append(F.adaptive_avg_pool2d(logits.view(len(texts), 1, *logits.shape[-2:]).sigmoid(), side))
        return torch.cat(maps, dim=1) * names_something(texts).to(activations.device)
