"""Grounding a text in an image by Grounding DINO: a detector that reads a whole sentence along with the image."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GroundingDinoForObjectDetection

from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.grounding.base import ImageGrounder
from saltext.models.grounding.detections import draw_best
from saltext.models.grounding.phrases import head_phrase, names_something
from saltext.models.grounding.pretrained import load_pretrained
from saltext.models.normalize import IMAGENET_MEAN, IMAGENET_STD, Renormalize
from saltext.models.text.base import TextEncoder

MAX_TOKENS = 64
"""Of a text, its marks included; longer ones are cut. All are padded to it, so that none depends on its batch-mates."""

CELL = 32
"""Pixels of the detector's input per cell of the maps, along a side."""


class ShorterSide(Renormalize):
    """Converts images to those of Grounding DINO: resized to a shorter side, unless the longer one becomes too long.

    Args:
        shorter: Shorter side of the result in pixels.
        longer: Longest side of the result.
        mean: RGB mean in [0, 1].
        std: Standard deviation of the channels.
    """

    def __init__(
        self,
        shorter: int = 800,
        longer: int = 1333,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(mean, std)
        self.shorter = shorter
        self.longer = longer

    def forward(self, images: Tensor) -> Tensor:
        """Convert a batch, shape ``(batch, 3, height, width)``, aspect ratio kept but for whole pixels."""
        pixels = self.pixels(images.detach())
        low, high = sorted(pixels.shape[2:])
        shorter = min(float(self.shorter), self.longer * low / high)
        # The other side is cut to whole pixels, as the library does, after this one was rounded.
        size = [round(shorter) if side == low else int(shorter * high / low) for side in pixels.shape[2:]]
        if size != list(pixels.shape[2:]):
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        return (pixels - self.target.mean) / self.target.std

    def extra_repr(self) -> str:
        """Show the sides."""
        return f"shorter={self.shorter}, longer={self.longer}"


class DetectorInput(nn.Module):
    """Images as Grounding DINO gets them: its image tower takes a quarter of the work, and its features more memory.

    Args:
        image_input: Converts images.
    """

    def __init__(self, image_input: ShorterSide) -> None:
        super().__init__()
        self.image_input = image_input

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """The converted images."""
        return (self.image_input(images),)


class GroundingDinoGrounder(ImageGrounder):
    """Where Grounding DINO detects what a text names: boxes for the whole text, and for its first noun phrase.

    Text and image are fused from the first layer after the image tower on, so that the model is run for every pair of
    them, tower included; the feature cache keeps the maps of a pair. The tower has a quarter of the work, and its
    features of an image take 8 MB in half precision: they are not kept. The empty text names nothing: its maps are 0.
    The model is frozen and excluded from state dicts.

    Args:
        weights: A folder as transformers saves the model with its processor, or a repository on the hub.
        revision: Commit of the repository, 40 hexadecimal digits.
        local_files_only: Whether to take only what was downloaded before.
        shorter_side: Of the detector's input in pixels; half takes a quarter of the time. None: as published, 800.
        min_score: Boxes with lower scores are not drawn.
        max_boxes: Most boxes that are drawn for a text, the best first.

    Attributes:
        num_maps: Grounding maps of a text: boxes by the score of the best word of the whole text, and by that of the
            best word of its :func:`saltext.models.grounding.phrases.head_phrase`.

    Raises:
        ConfigError: A repository without a commit.
        CheckpointError: The weights cannot be had, or are of another model.

    References:
        Liu et al., Grounding DINO, ECCV 2024.
    """

    num_maps = 2

    def __init__(
        self,
        weights: str | Path,
        revision: str | None = None,
        local_files_only: bool = False,
        shorter_side: int | None = None,
        min_score: float = 0.1,
        max_boxes: int = 50,
    ) -> None:
        super().__init__()
        loaded = load_pretrained(GroundingDinoForObjectDetection, weights, revision, local_files_only)
        self.model = loaded.model
        self.tokenizer = loaded.tokenizer
        size = loaded.preprocessing.get("size", {})
        published = int(size.get("shortest_edge", 800))
        shorter = published if shorter_side is None else shorter_side
        image_input = ShorterSide(
            shorter,
            round(size.get("longest_edge", 1333) * shorter / published),
            loaded.preprocessing.get("image_mean", IMAGENET_MEAN),
            loaded.preprocessing.get("image_std", IMAGENET_STD),
        )
        self.image_encoder = DetectorInput(image_input)
        self.min_score = min_score
        self.max_boxes = max_boxes
        exclude_from_state_dict(freeze(self))

    @torch.no_grad()
    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Grounding maps of texts.

        Args:
            activations: Of :class:`DetectorInput`, shape ``(batch, 3, height, width)``.
            texts: One text per image.
            encoder: Not read: Grounding DINO has its own.

        Returns:
            Maps in [0, 1] without gradient, shape ``(batch, num_maps, ~height / 32, ~width / 32)``.
        """
        ids, mask, in_head = (torch.stack(each) for each in zip(*map(self.read, texts), strict=True))
        device = activations.device
        found = self.model(pixel_values=activations, input_ids=ids.to(device), attention_mask=mask.to(device))
        probabilities = found.logits.sigmoid()[..., :MAX_TOKENS]
        by_head = (probabilities * in_head[:, None].to(device)).amax(2)
        scores = torch.stack([probabilities.amax(2), by_head], dim=1) * names_something(texts)[..., 0].to(device)
        centre, size = found.pred_boxes.chunk(2, dim=2)
        rows, columns = (math.ceil(side / CELL) for side in activations.shape[2:])
        boxes = torch.cat([centre - size / 2, centre + size / 2], dim=2) * torch.tensor([columns, rows] * 2).to(centre)
        drawn = [
            draw_best(corners, scored, (rows, columns), self.min_score, self.max_boxes)
            for corners, scored in zip(boxes, scores, strict=True)
        ]
        return torch.stack(drawn)

    def read(self, text: str) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of a text as Grounding DINO reads it, in lower case with a full stop, all of ``MAX_TOKENS``.

        Returns:
            Ids; a mask, 1 at tokens and 0 at padding; and a mask of the tokens of its head phrase, bool.
        """
        caption = " ".join(text.lower().split()).rstrip(". ")
        head = head_phrase(caption)
        start = caption.find(head)
        encoded = self.tokenizer(f"{caption}.", return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        if len(ids) > MAX_TOKENS:  # the full stop and the last mark stay
            ids, offsets = ids[: MAX_TOKENS - 2] + ids[-2:], offsets[: MAX_TOKENS - 2] + offsets[-2:]
        in_head = [start <= begin < end <= start + len(head) for begin, end in offsets]
        padding = MAX_TOKENS - len(ids)
        padded_ids = torch.tensor(ids + [self.tokenizer.pad_token_id] * padding)
        mask = torch.tensor([1] * len(ids) + [0] * padding)
        return padded_ids, mask, torch.tensor(in_head + [False] * padding)

    def extra_repr(self) -> str:
        """What its results depend on besides weights."""
        return f"min_score={self.min_score:g}, max_boxes={self.max_boxes}"
