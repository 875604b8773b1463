"""Grounding a text in an image by a detector of COCO's 80 things: no weights trained on image-text pairs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.grounding.base import ClassWeights, ImageGrounder, cosines
from saltext.models.grounding.coco import NAMES, VOCABULARY, named_things
from saltext.models.grounding.nanodet import Detections, nanodet
from saltext.models.normalize import Renormalize
from saltext.models.text.base import TextEncoder
from saltext.models.transfer import to_device

CELL = 32
"""Pixels of the input per cell of the maps, along a side: those of the tokens that read them."""

_SIGMAS = 4  # standard deviations of a box's Gaussian across the box
_SMALLEST_SIGMA = 0.5  # cells: the smallest box still shows in the cell that it lies in


class DetectionMaps(nn.Module):
    """An image encoder that gives two maps of each class of a detector: its scores, and its boxes.

    The scores are the largest of those of all strides in each cell. The boxes are those left by non-maximum
    suppression, each a Gaussian of its place and size times its score; where several overlap, the largest counts.

    Args:
        detector: Normalised images, in BGR order -> :class:`saltext.models.grounding.nanodet.Detections` of several
            strides; ``mean`` and ``std`` say how images are normalised.
        longer_side: Longer side of its input in pixels; images are shrunk to it, never enlarged.
        min_score: Boxes with lower scores are not drawn.
        max_boxes: Most boxes that are drawn, the best first.
        max_overlap: A box that overlaps a better one of its class by more (intersection over union) is not drawn.
    """

    def __init__(
        self,
        detector: Any,
        longer_side: int = 416,
        min_score: float = 0.1,
        max_boxes: int = 100,
        max_overlap: float = 0.6,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.renormalize = Renormalize(detector.mean, detector.std, "bgr")
        self.longer_side = longer_side
        self.min_score = min_score
        self.max_boxes = max_boxes
        self.max_overlap = max_overlap

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Detect.

        Args:
            images: As the saliency network gets them, float, shape ``(batch, 3, height, width)``.

        Returns:
            Scores of every class and then boxes of every class, in [0, 1], half precision, shape ``(batch, 2 * classes,
            ~height / 32, ~width / 32)``.
        """
        height, width = images.shape[2:]
        rows, columns = -(-height // CELL), -(-width // CELL)
        levels, size = self._detected(images)
        scores = torch.stack([F.adaptive_max_pool2d(level.scores, (rows, columns)) for level in levels]).amax(0)
        every_box = torch.cat([level.boxes.flatten(2) for level in levels], dim=2).movedim(1, 2)
        every_score = torch.cat([level.scores.flatten(2) for level in levels], dim=2).movedim(1, 2)
        # In cells of the maps.
        sides = torch.tensor([columns / size[1], rows / size[0]] * 2).to(every_box)
        drawn = [
            draw_boxes(*self.best_boxes(boxes, scored), scored.shape[1], (rows, columns))
            for boxes, scored in zip(every_box * sides, every_score, strict=True)
        ]
        return (torch.cat([scores, torch.stack(drawn)], dim=1).half(),)

    @torch.no_grad()
    def boxes(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The boxes of one image that are drawn.

        Args:
            image: As the saliency network gets it, float, shape ``(1, 3, height, width)``.

        Returns:
            As :meth:`best_boxes`, edges as fractions of the image's sides; a little of a box may lie outside.
        """
        levels, size = self._detected(image)
        boxes = torch.cat([level.boxes[0].flatten(1) for level in levels], dim=1).T
        scores = torch.cat([level.scores[0].flatten(1) for level in levels], dim=1).T
        best, kept, numbers = self.best_boxes(boxes, scores)
        return best / torch.tensor([size[1], size[0]] * 2).to(best), kept, numbers

    def _detected(self, images: Tensor) -> tuple[list[Detections], tuple[int, int]]:
        """What the detector says at each stride, and the height and width of its input."""
        height, width = images.shape[2:]
        inputs = self.renormalize(images)
        scale = min(1.0, self.longer_side / max(height, width))
        if scale < 1:
            size = (round(height * scale), round(width * scale))
            inputs = F.interpolate(inputs, size, mode="bilinear", antialias=True, align_corners=False)
        return self.detector(inputs), (inputs.shape[2], inputs.shape[3])

    def best_boxes(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The boxes of one image to draw.

        Args:
            boxes: Left, top, right and bottom edge, shape ``(positions, 4)``.
            scores: Of each class, shape ``(positions, classes)``.

        Returns:
            Boxes, shape ``(boxes, 4)``, their scores and the numbers of their classes, best first; there may be none.
        """
        from torchvision.ops import batched_nms  # takes seconds, and is needed only to detect

        best, numbers = scores.max(dim=1)
        chosen = (best >= self.min_score).nonzero().flatten()
        kept = chosen[batched_nms(boxes[chosen], best[chosen], numbers[chosen], self.max_overlap)][: self.max_boxes]
        return boxes[kept], best[kept], numbers[kept]


def draw_boxes(boxes: Tensor, scores: Tensor, numbers: Tensor, classes: int, grid: tuple[int, int]) -> Tensor:
    """Draw boxes as Gaussians, one map a class.

    Args:
        boxes: Left, top, right and bottom edge in cells of the grid, shape ``(boxes, 4)``; may lie outside it in part.
        scores: The peak of each Gaussian, shape ``(boxes,)``.
        numbers: The class of each, int64, shape ``(boxes,)``.
        classes: Number of classes.
        grid: Rows and columns.

    Returns:
        The largest of a class's Gaussians in each cell, 0 without any, shape ``(classes, rows, columns)``.
    """
    maps = boxes.new_zeros(classes, *grid)
    rows, columns = (torch.arange(side, dtype=boxes.dtype, device=boxes.device) + 0.5 for side in grid)
    centre_x, centre_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    sigma_x = ((boxes[:, 2] - boxes[:, 0]) / _SIGMAS).clamp_min(_SMALLEST_SIGMA)
    sigma_y = ((boxes[:, 3] - boxes[:, 1]) / _SIGMAS).clamp_min(_SMALLEST_SIGMA)
    across = (-(((columns - centre_x[:, None]) / sigma_x[:, None]) ** 2) / 2).exp()
    down = (-(((rows - centre_y[:, None]) / sigma_y[:, None]) ** 2) / 2).exp()
    gaussians = scores[:, None, None] * down[:, :, None] * across[:, None, :]
    for number in {*numbers.tolist()}:
        maps[number] = gaussians[numbers == number].amax(dim=0)
    return maps


def draw_best(boxes: Tensor, scores: Tensor, grid: tuple[int, int], min_score: float, max_boxes: int) -> Tensor:
    """Draw the boxes of one image that fit each of some texts best.

    Args:
        boxes: As of :func:`draw_boxes`.
        scores: Of each text, shape ``(texts, boxes)``.
        grid: Rows and columns.
        min_score: Boxes with lower scores are not drawn.
        max_boxes: Most boxes that are drawn for a text.

    Returns:
        Shape ``(texts, rows, columns)``.
    """
    best, chosen = scores.topk(min(max_boxes, scores.shape[1]))
    best = best * (best >= min_score)
    numbers = torch.arange(len(scores), device=scores.device).repeat_interleave(best.shape[1])
    return draw_boxes(boxes[chosen.flatten()], best.flatten(), numbers, len(scores), grid)


class DetectionGrounder(ImageGrounder):
    r"""Where an image shows the things of COCO that a text names, by a detector.

    A thing weighs in three ways: as much as its name is similar to the whole text, :math:`w_c = \mathrm{softmax}_c(\tau
    \, s_c)` with :math:`s_c` the cosine of their sentence features; 1 if the text names it first; and 1 if the text
    names it later ("a cup on the table" is about the cup). The two latter are 0 where the text names nothing, see
    :func:`saltext.models.grounding.coco.named_things`.

    The detector is frozen and excluded from state dicts.

    Args:
        detector: See :class:`DetectionMaps`, with COCO's classes in COCO's order.
        sharpness: :math:`\tau`. None: the text encoder's own.
        longer_side: See :class:`DetectionMaps`.

    Attributes:
        num_maps: Grounding maps of a text: the three ways to weigh, of the detector's scores and of its boxes.
    """

    num_maps = 6

    def __init__(self, detector: Any, sharpness: float | None = 20.0, longer_side: int = 416) -> None:
        super().__init__()
        self.image_encoder = exclude_from_state_dict(freeze(DetectionMaps(detector, longer_side)))
        self.sharpness = sharpness
        self.vocabulary = VOCABULARY  # decides cached maps
        self._class_weights = ClassWeights()

    @torch.no_grad()
    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Grounding maps of texts.

        Args:
            activations: Of :class:`DetectionMaps`, shape ``(batch, 2 * classes, rows, columns)``.
            texts: One text per image.
            encoder: Frozen encoder of texts and names.

        Returns:
            Maps without gradient, shape ``(batch, num_maps, rows, columns)``.
        """
        weights = self._class_weights.of(texts, encoder, partial(self._weigh_classes, encoder=encoder))
        weights = to_device(weights, activations.device)
        scores, boxes = activations.float().chunk(2, dim=1)
        return torch.cat([torch.einsum("bkc,bchw->bkhw", weights, maps) for maps in (scores, boxes)], dim=1)

    def semantic_dim(self, encoder: TextEncoder) -> int:
        """Size of the sentence features."""
        return encoder.dim

    @torch.no_grad()
    def semantic_map(self, activations: Tensor, encoder: TextEncoder) -> Tensor:
        """Sum of the sentence features of the names at each position, weighted by their scores there.

        Args:
            activations: As for :meth:`maps`.
            encoder: As for :meth:`maps`.

        Returns:
            Maps without gradient, shape ``(batch, dim, rows, columns)``; near 0 where nothing is detected.
        """
        scores, _ = activations.float().chunk(2, dim=1)
        return torch.einsum("bchw,cd->bdhw", scores, encoder(NAMES).pooled.to(scores))

    def extra_repr(self) -> str:
        """What its results depend on besides weights."""
        sharpness = "of the text encoder" if self.sharpness is None else f"{self.sharpness:g}"
        return f"similarity=cosine, sharpness={sharpness}"

    def _weigh_classes(self, texts: Sequence[str], encoder: TextEncoder) -> dict[str, Tensor]:
        return {text: self._weights_of(text, encoder).cpu() for text in texts}

    def _weights_of(self, text: str, encoder: TextEncoder) -> Tensor:
        """Weights of the things by similarity, named first, and named later, shape ``(3, classes)``."""
        similarity = cosines(encoder, [text], NAMES)[0]
        named = torch.zeros(2, len(NAMES)).to(similarity)
        mentions = named_things(text)
        for position, numbers in enumerate(mentions):
            named[min(position, 1), list(numbers)] = 1
        named[1] *= 1 - named[0]  # what was named first stays with the first
        sharpness = encoder.sharpness if self.sharpness is None else self.sharpness
        return torch.cat([(sharpness * similarity).softmax(0)[None], named])


def nanodet_grounder(sharpness: float | None = 20.0, longer_side: int = 416) -> DetectionGrounder:
    """Build the grounder of NanoDet-g, whose weights come with the package.

    Args:
        sharpness: As of :class:`DetectionGrounder`.
        longer_side: Longer side of the detector's input in pixels. It was trained with 416.

    Raises:
        CheckpointError: The weights are missing, or not the expected ones.
    """
    return DetectionGrounder(nanodet(), sharpness, longer_side)
