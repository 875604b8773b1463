"""Groups of pairs with ground truth at the size they are scored at, from a loader's batch or from the data set."""

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
"""A :class:`saltext.data.dataset.Batch` of an evaluation loader; only the fields that scoring needs are read."""

_BATCH_PIXELS = 2**22
_BATCH_POINTS = 2**23  # of other images' fixations, which each image of a batch is compared with


@dataclass(frozen=True)
class Group:
    """Pairs that are scored together, at one size.

    Attributes:
        index: Indices of the pairs in the data set.
        size: Height and width at which they are scored.
        density: Ground-truth maps in 0..1, float32 (n,1,*size), on the device they are scored on.
        fixations: Human fixations at ``size``, on the same device.
        others: Fixations on other images, or None if no metric needs them.
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
        """What predictions for the pairs are scored against, computed once for all predictors."""
        return Targets(self.density, self.fixations, others=self.others, baseline=self.baseline)

    def select(self, indices: Sequence[int]) -> "Group":
        """The group of the pairs at ``indices``, positions in this group."""
        if list(indices) == list(range(len(self.index))):
            return self
        rows = torch.tensor(indices, dtype=torch.long, device=self.density.device)
        return Group(
            [self.index[index] for index in indices],
            self.size,
            self.density[rows],
            _select_images(self.fixations, rows),
            None if self.others is None else _select_images(self.others, rows),
            None if self.baseline is None else self.baseline[rows],
        )


def _select_images(fixations: Fixations, rows: Tensor) -> Fixations:
    pixels = PixelLists(fixations.each.index[rows], fixations.each.valid[rows])
    return Fixations(pixels, (len(rows), *fixations.shape[1:]), fixations.name)


def native_groups(batch: EvaluationBatch, device: torch.device) -> Iterator[Group]:
    """The samples of an evaluation batch at their own resolution.

    One group for each image size and box in the network input, so that a network's maps of a group are resampled
    together.

    Args:
        batch: Its tensors may lie on any device.
        device: Device of the groups; their values are the same to the last bit on every device.
    """
    numbers = batch["index"].tolist()
    for rows, (height, width, *_) in _equal_rows(torch.cat([batch["size"].cpu(), batch["box"].cpu()], dim=1)):
        size = height, width
        density = torch.stack([batch["native_density"][row].cpu() for row in rows])[:, None]
        fixations = Fixations.from_points([batch["native_points"][row].cpu() for row in rows], size)
        yield Group([numbers[row] for row in rows], size, _in_unit_range(density, device), fixations.to(device))


def resized_groups(batch: EvaluationBatch, size: Size, device: torch.device) -> Iterator[Group]:
    """The samples of an evaluation batch, all at one size, as the papers' scripts score them.

    Maps and fixation images are resized like photos (Pillow, bilinear with antialiasing, 8 bits), so each fixation
    covers several pixels; every pixel above 0 counts as one fixation.

    Args:
        batch: As for :func:`native_groups`.
        size: Height and width of all maps.
        device: As for :func:`native_groups`.
    """
    numbers = batch["index"].tolist()
    for rows, _ in _equal_rows(batch["box"].cpu()):
        maps = [_resized_image(batch["native_density"][row].cpu().numpy(), size) for row in rows]
        fixation_images = [
            _resized_image(_fixation_image(batch["native_points"][row], batch["size"][row]), size) for row in rows
        ]
        density = _in_unit_range(torch.stack(maps)[:, None], device)
        fixations = Fixations.from_points([image.nonzero() for image in fixation_images], size)
        yield Group([numbers[row] for row in rows], size, density, fixations.to(device))


def recorded_groups(truth: GroundTruth, indices: Sequence[int], track: Track) -> Iterator[Group]:
    """Pairs of a data set at their own resolution, without a loader; on the CPU.

    Pairs of one size are grouped, a few at a time, and none is kept: memory depends on the largest image, not on the
    number of pairs.

    Args:
        truth: Ground truth of the whole data set.
        indices: Indices of the pairs to group.
        track: Shows the progress.
    """
    for batch in _batches_of_one_size(truth, indices, track):
        with one_thread_each(torch.device("cpu")):
            size = truth.native_size(batch[0])
            group = Group(batch, size, truth.density(batch), truth.fixations(batch, size))
        yield group


def _batches_of_one_size(truth: GroundTruth, indices: Sequence[int], track: Track) -> Iterator[list[int]]:
    """Indices of pairs of one size, those of one image next to each other, few enough to score at once."""
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
        input_size: Height and width of the network input that ``box`` refers to.

    Returns:
        Maps of the image alone, (n,1,*size).
    """
    top, left, height, width = box
    if (height, width) != tuple(input_size):  # letterboxed: cut the padding off where it is known to the pixel
        saliency = F.interpolate(saliency, size=tuple(input_size), mode="bilinear", align_corners=False)
        saliency = saliency[..., top : top + height, left : left + width]
    return F.interpolate(saliency, size=size, mode="bilinear", align_corners=False)


def _equal_rows(keys: Tensor) -> Iterator[tuple[list[int], list[int]]]:
    """Row numbers of equal rows of ``keys``, int64 (B,k) on the CPU, with the row they share."""
    distinct, inverse = torch.unique(keys, dim=0, return_inverse=True)
    for number, key in enumerate(distinct):
        yield torch.nonzero(inverse == number).flatten().tolist(), key.tolist()


def _in_unit_range(density: Tensor, device: torch.device) -> Tensor:
    return (density.float() / 255).to(device)  # divided on the CPU: CUDA multiplies by a rounded 1/255


def _fixation_image(points: Tensor, size: Tensor) -> np.ndarray:
    """Fixations (y, x), int64 (n, 2), as an image: uint8, 255 at each fixated pixel, 0 elsewhere."""
    height, width = size.tolist()
    image = np.zeros((height, width), np.uint8)
    y, x = points.cpu().numpy().T
    image[y, x] = 255
    return image


def _resized_image(image: np.ndarray, size: Size) -> Tensor:
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized))
