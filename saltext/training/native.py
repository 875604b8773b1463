"""From the network's map to the ground truth's own resolution."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class NativeGroup:
    """The samples of a batch that share one native size.

    Attributes:
        index: The pairs' numbers in the data set, int64 (n,).
        saliency: Predictions, float32 (n,1,h,w).
        density: Ground-truth maps in 0..1, float32 (n,1,h,w).
        fixations: Number of fixations at each pixel, float32 (n,1,h,w).
    """

    index: Tensor
    saliency: Tensor
    density: Tensor
    fixations: Tensor


def resample(saliency: Tensor, box: Tensor, size: tuple[int, int], input_size: tuple[int, int]) -> Tensor:
    """Bilinear resampling of the part of a map that shows the image.

    Args:
        saliency: Maps over the whole network input, at any resolution, (n,1,h',w').
        box: top, left, height, width of the image inside the input, in input pixels, (4,).
        size: Height and width to return.
        input_size: Height and width of the network input, in which ``box`` is given.

    Returns:
        Maps of the image alone, (n,1,*size).
    """
    top, left, height, width = (int(v) for v in box)
    if (height, width) != tuple(input_size):  # letterboxed: cut the padding off where it is known to the pixel
        saliency = F.interpolate(saliency, size=tuple(input_size), mode="bilinear", align_corners=False)
        saliency = saliency[..., top : top + height, left : left + width]
    return F.interpolate(saliency, size=size, mode="bilinear", align_corners=False)


def fixation_counts(points: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Count maps, float32 (n,1,h,w), of lists of (y,x) points, each int64 (m,2)."""
    height, width = size
    owner = torch.repeat_interleave(
        torch.arange(len(points)), torch.tensor([len(p) for p in points], dtype=torch.long)
    ).to(points[0].device)
    flat = torch.cat(points)
    cells = (owner * height + flat[:, 0]) * width + flat[:, 1]
    counts = torch.bincount(cells, minlength=len(points) * height * width)
    return counts.view(len(points), 1, height, width).float()


def groups(saliency: Tensor, batch: Any) -> Iterator[NativeGroup]:
    """Predictions and truth at native resolution, one group for each distinct (size, box) of the batch."""
    device = saliency.device
    input_size = tuple(batch["image"].shape[-2:])
    keys = torch.cat([batch["size"], batch["box"]], dim=1).cpu()
    distinct, member = torch.unique(keys, dim=0, return_inverse=True)
    for number, key in enumerate(distinct):
        rows = torch.nonzero(member == number).flatten()
        height, width = int(key[0]), int(key[1])
        density = torch.stack([batch["native_density"][i] for i in rows.tolist()])
        points = [batch["native_points"][i] for i in rows.tolist()]
        yield NativeGroup(
            index=batch["index"][rows.to(batch["index"].device)],
            saliency=resample(saliency[rows.to(device)], key[2:], (height, width), (input_size[0], input_size[1])),
            density=density[:, None].to(device, torch.float32) / 255,
            fixations=fixation_counts(points, (height, width)).to(device),
        )
