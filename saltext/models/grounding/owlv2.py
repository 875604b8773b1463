"""Grounding a text in an image by OWLv2: a detector whose classes are texts."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Owlv2ForObjectDetection

from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.grounding.base import ImageGrounder
from saltext.models.grounding.detections import draw_best
from saltext.models.grounding.phrases import head_phrase, names_something
from saltext.models.grounding.pretrained import ClipText, load_pretrained
from saltext.models.normalize import Renormalize
from saltext.models.text.base import TextEncoder
from saltext.models.text.images import CLIP_MEAN, CLIP_STD

_PATCHES_PER_CELL = 3  # of the 60 along a side: 20 cells, as GroundedGaze has tokens
_BOX, _SHIFT, _SCALE = slice(0, 4), 4, 5  # of the features; the class embedding follows


class PaddedSquare(Renormalize):
    """Converts images to those of OWLv2: padded with black at the right and at the bottom to a square, and resized.

    Larger squares are blurred before they are sampled, as OWLv2's own processor does.

    Args:
        size: Side of the result in pixels.
        mean: RGB mean in [0, 1].
        std: Standard deviation of the channels.
    """

    def __init__(self, size: int, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD) -> None:
        super().__init__(mean, std)
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Convert a batch, shape ``(batch, 3, height, width)``, to shape ``(batch, 3, size, size)``."""
        from torchvision.transforms.v2.functional import gaussian_blur  # takes seconds

        pixels = self.pixels(images.detach())
        height, width = pixels.shape[2:]
        longer = max(height, width)
        pixels = F.pad(pixels, (0, longer - width, 0, longer - height))
        sigma = (longer / self.size - 1) / 2
        if sigma > 0:
            kernel = 2 * math.ceil(3 * sigma) + 1
            pixels = gaussian_blur(pixels, [kernel, kernel], [sigma, sigma])
        if longer != self.size:
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", align_corners=False)
        return (pixels - self.target.mean) / self.target.std

    def extra_repr(self) -> str:
        """Show the size."""
        return f"size={self.size}"


class Owlv2Features(nn.Module):
    """The image tower: of each patch a box, and the features that score how well a text describes it.

    Args:
        model: OWLv2.
        preprocessing: As of :class:`saltext.models.grounding.pretrained.Pretrained`.
    """

    def __init__(self, model: Any, preprocessing: Mapping[str, Any]) -> None:
        super().__init__()
        config = model.config.vision_config
        self.image_input = PaddedSquare(
            int(config.image_size),
            preprocessing.get("image_mean", CLIP_MEAN),
            preprocessing.get("image_std", CLIP_STD),
        )
        self.model = model

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Encode.

        Args:
            images: As the saliency network gets them, float, shape ``(batch, 3, height, width)``.

        Returns:
            Features of the patches that cover the image, padding left out as far as whole patches go, half precision,
            shape ``(batch, 6 + dim, rows, columns)``: left, top, right and bottom edge of the box in fractions of the
            image's sides, shift and scale of the logits, and the class embedding, of length 1.
        """
        height, width = images.shape[2:]
        longer = max(height, width)
        grid, _ = self.model.image_embedder(self.image_input(images))
        rows, columns = (-(-grid.shape[1] * side // longer) for side in (height, width))
        flat = grid.flatten(1, 2)
        centre, size = self.model.box_predictor(flat, grid).chunk(2, dim=2)
        sides = torch.tensor([width, height]).to(centre) / longer
        box = torch.cat([(centre - size / 2) / sides, (centre + size / 2) / sides], dim=2)
        head = self.model.class_head
        embedding = F.normalize(head.dense0(flat), dim=2)
        features = torch.cat([box, head.logit_shift(flat), head.elu(head.logit_scale(flat)) + 1, embedding], dim=2)
        on_grid = features.view(*grid.shape[:3], -1)[:, :rows, :columns]
        return (on_grid.movedim(3, 1).contiguous().half(),)


class Owlv2Grounder(ImageGrounder):
    """Where OWLv2 detects what a text names: scores of patches and boxes, for the whole text and its noun phrase.

    An image is encoded once whatever its texts are; a text is compared with what every patch shows. Texts are cut at
    the 16 tokens that published models read. The empty text names nothing: its maps are 0. The model is frozen and
    excluded from state dicts.

    Args:
        weights: A folder as transformers saves the model with its processor, or a repository on the hub.
        revision: Commit of the repository, 40 hexadecimal digits.
        local_files_only: Whether to take only what was downloaded before.
        min_score: Boxes with lower scores are not drawn.
        max_boxes: Most boxes that are drawn for a text, the best first.

    Attributes:
        num_maps: Grounding maps of a text: scores and boxes of the whole text, and of its
            :func:`saltext.models.grounding.phrases.head_phrase`.

    Raises:
        ConfigError: A repository without a commit.
        CheckpointError: The weights cannot be had, or are of another model.

    References:
        Minderer et al., Scaling open-vocabulary object detection, NeurIPS 2023.
    """

    num_maps = 4

    def __init__(
        self,
        weights: str | Path,
        revision: str | None = None,
        local_files_only: bool = False,
        min_score: float = 0.05,
        max_boxes: int = 50,
    ) -> None:
        super().__init__()
        loaded = load_pretrained(Owlv2ForObjectDetection, weights, revision, local_files_only)
        model = loaded.model
        self.text = ClipText(model.owlv2, loaded.tokenizer)
        self.image_encoder = Owlv2Features(model, loaded.preprocessing)
        self.min_score = min_score
        self.max_boxes = max_boxes
        exclude_from_state_dict(freeze(self))

    @torch.no_grad()
    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Grounding maps of texts.

        Args:
            activations: Of :class:`Owlv2Features`.
            texts: One text per image.
            encoder: Not read: OWLv2 has its own.

        Returns:
            Maps in [0, 1] without gradient, a cell per three by three patches, shape ``(batch, num_maps, rows,
            columns)``.
        """
        activations = activations.float()
        phrases = [phrase for text in texts for phrase in (text, head_phrase(text))]
        queries = F.normalize(self.text(phrases), dim=1).view(len(texts), 2, -1)
        scores = self.scores(activations, queries.to(activations)) * names_something(texts).to(activations)
        rows, columns = (-(-side // _PATCHES_PER_CELL) for side in activations.shape[2:])
        dense = F.adaptive_max_pool2d(scores, (rows, columns))
        cells = torch.tensor([columns, rows] * 2).to(activations)
        drawn = [
            draw_best(boxes, scored, (rows, columns), self.min_score, self.max_boxes)
            for boxes, scored in zip(activations[:, _BOX].flatten(2).mT * cells, scores.flatten(2), strict=True)
        ]
        return torch.stack([dense, torch.stack(drawn)], dim=2).flatten(1, 2)

    def scores(self, features: Tensor, queries: Tensor) -> Tensor:
        """How well texts describe what is at each patch, in [0, 1], shape ``(batch, texts, rows, columns)``.

        Args:
            features: Of :class:`Owlv2Features`, float.
            queries: Embeddings of texts, of length 1, shape ``(batch, texts, dim)``.
        """
        similarity = torch.einsum("btd,bdhw->bthw", queries, features[:, _SCALE + 1 :])
        return ((similarity + features[:, _SHIFT, None]) * features[:, _SCALE, None]).sigmoid()

    def extra_repr(self) -> str:
        """What its results depend on besides weights."""
        return f"min_score={self.min_score:g}, max_boxes={self.max_boxes}"
