"""Pairs with their ground truth at the size they are scored at: from a batch of a loader, or from the recordings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from saltext.data.geometry import Size
from saltext.data.ground_truth import GroundTruth
from saltext.data.report import Track
from saltext.metrics import Fixations, Targets
from saltext.metrics.maps import PixelLists
from saltext.metrics.scores import one_thread_each

EvaluationBatch = Mapping[str, Any]
"""A :class:`saltext.data.dataset.Batch` of an evaluation loader; only what is scored is read of it."""

_BATCH_PIXELS = 2**22
_BATCH_POINTS = 2**23  # of other images' fixations, which each image of a batch is compared with


@dataclass(frozen=True)
class Group:
    """Pairs that are scored together, at one size.

    Attributes:
        index: The pairs' numbers in the data set.
        size: Height and width at which they are scored.
        density: Ground-truth maps in 0..1, float32 (n,1,*size), on the device they are scored on.
        fixations: Where people looked, at ``size``, on the same device.
        others: Fixations on other images, or None if no metric asks for them.
        baseline: Density that the information gain is measured against, float32 (n,1,*size), or None likewise.
    """

    index: Sequence[int]
    size: Size
    density: Tensor
    fixations: Fixations
    others: Fixations | None = None
    baseline: Tensor | None = None

    @cached_property
    def targets(self) -> Targets:
        """What predictions for the pairs are scored against, made once for all predictors."""
        return Targets(self.density, self.fixations, others=self.others, baseline=self.baseline)

    def select(self, indices: Sequence[int]) -> "Group":
        """Some of the pairs."""
        if list(indices) == list(range(len(self.index))):
            return self
        rows = torch.tensor(indices, dtype=torch.long, device=self.density.device)
        return Group(
            [self.index[index] for index in indices],
            self.size,
            self.density[rows],
            _rows(self.fixations, rows),
            None if self.others is None else _rows(self.others, rows),
            None if self.baseline is None else self.baseline[rows],
        )


def _rows(fixations: Fixations, rows: Tensor) -> Fixations:
    pixels = PixelLists(fixations.each.index[rows], fixations.each.valid[rows])
    return Fixations(pixels, (len(rows), *fixations.shape[1:]), fixations.name)


def native_groups(batch: EvaluationBatch, device: torch.device) -> Iterator[Group]:
    """The samples of an evaluation batch at their own resolution.

    One group for each size of an image and box in the network input, so that a network's maps of a group are resampled
    together.

    Args:
        batch: Its tensors may lie on any devices.
        device: Where the groups shall lie; their values are the same to the last bit on all.
    """
    for indices, (height, width, *_) in _alike(torch.cat([batch["size"].cpu(), batch["box"].cpu()], dim=1)):
        size = height, width
        density = torch.stack([batch["native_density"][i].cpu() for i in indices])[:, None]
        fixations = Fixations.from_points([batch["native_points"][i].cpu() for i in indices], size)
        yield Group(_numbers(batch, indices), size, _unit(density, device), fixations.to(device))


def resized_groups(batch: EvaluationBatch, size: Size, device: torch.device) -> Iterator[Group]:
    """The samples of an evaluation batch at one size for all, as the papers' scripts score them.

    Maps and fixation images are resized like pictures (Pillow, bilinear with antialiasing, 8 bits), so that each
    fixation covers several pixels; every pixel above 0 counts as one fixation.

    Args:
        batch: As for :func:`native_groups`.
        size: Height and width of all maps.
        device: As for :func:`native_groups`.
    """
    for indices, _ in _alike(batch["box"].cpu()):
        density = [_shrunk(batch["native_density"][i].cpu().numpy(), size) for i in indices]
        looked_at = [_shrunk(_fixation_image(batch["native_points"][i], batch["size"][i]), size) for i in indices]
        fixations = Fixations.from_points([image.nonzero() for image in looked_at], size)
        yield Group(_numbers(batch, indices), size, _unit(torch.stack(density)[:, None], device), fixations.to(device))


def recorded_groups(truth: GroundTruth, indices: Sequence[int], track: Track) -> Iterator[Group]:
    """Pairs at their own resolution as they were recorded, without a loader; on the CPU.

    Pairs of one size are taken together, a few at a time, and none is kept: memory depends on the largest image, not on
    the number of pairs.

    Args:
        truth: The whole data set.
        indices: Of the pairs in it.
        track: Shows how far it is.
    """
    for batch in _batches(truth, indices, track):
        with one_thread_each(torch.device("cpu")):
            size = truth.native_size(batch[0])
            group = Group(batch, size, truth.density(batch), truth.fixations(batch, size))
        yield group


def _batches(truth: GroundTruth, indices: Sequence[int], track: Track) -> Iterator[list[int]]:
    """Pairs of one size, those of one image next to each other, few enough at a time."""
    ordered = sorted(indices, key=lambda index: (truth.native_size(index), truth.pairs[index].image_id, index))
    tasks = {truth.pairs[index].task for index in indices}
    most_points = max((sum(len(truth.points(index)) for index in truth.tasks[task]) for task in tasks), default=0)
    batch: list[int] = []
    for index in track(ordered, "scoring", len(ordered)):
        if batch and (
            truth.native_size(batch[0]) != truth.native_size(index)
            or (len(batch) + 1) * int(np.prod(truth.native_size(index))) > _BATCH_PIXELS
            or (len(batch) + 1) * most_points > _BATCH_POINTS
        ):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def resample(saliency: Tensor, box: Sequence[int], size: Size, input_size: Size) -> Tensor:
    """Bilinear resampling of the part of a map that shows the image.

    Args:
        saliency: Maps over the whole network input, at any resolution, (n,1,h',w').
        box: top, left, height, width of the image inside the input, in input pixels.
        size: Height and width to return.
        input_size: Height and width of the network input, in which ``box`` is given.

    Returns:
        Maps of the image alone, (n,1,*size).
    """
    top, left, height, width = box
    if (height, width) != tuple(input_size):  # letterboxed: cut the padding off where it is known to the pixel
        saliency = F.interpolate(saliency, size=tuple(input_size), mode="bilinear", align_corners=False)
        saliency = saliency[..., top : top + height, left : left + width]
    return F.interpolate(saliency, size=size, mode="bilinear", align_corners=False)


def _alike(keys: Tensor) -> Iterator[tuple[list[int], list[int]]]:
    """Places of equal rows of ``keys``, int64 (B,k) on the CPU, with the row they share."""
    distinct, member = torch.unique(keys, dim=0, return_inverse=True)
    for number, key in enumerate(distinct):
        yield torch.nonzero(member == number).flatten().tolist(), key.tolist()


def _numbers(batch: EvaluationBatch, indices: Sequence[int]) -> list[int]:
    numbers = batch["index"].tolist()
    return [numbers[index] for index in indices]


def _unit(density: Tensor, device: torch.device) -> Tensor:
    return (density.float() / 255).to(device)  # divided on the CPU: CUDA multiplies by a rounded 1/255


def _fixation_image(points: Tensor, size: Tensor) -> np.ndarray:
    height, width = size.tolist()
    image = np.zeros((height, width), np.uint8)
    y, x = points.cpu().numpy().T
    image[y, x] = 255
    return image


def _shrunk(image: np.ndarray, size: Size) -> Tensor:
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized))
