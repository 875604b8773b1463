"""Geometry: the box of an image inside the network's input, and fixation counts on a smaller grid."""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Resize = Literal["stretch", "letterbox"]
Size = tuple[int, int]
"""Height, width."""


class Box(NamedTuple):
    """The rectangle of the image content inside the network's input, in cells of that input."""

    top: int
    left: int
    height: int
    width: int


def content_box(native: Size, target: Size, resize: Resize) -> Box:
    """Where an image of size ``native`` lies inside an input of size ``target``.

    ``stretch`` fills the input and changes the aspect ratio (TranBlend); ``letterbox`` keeps the aspect ratio, centres
    the image and leaves the rest zero (TranSalNet's own scripts).
    """
    if resize == "stretch":
        return Box(0, 0, *target)
    scale = min(target[0] / native[0], target[1] / native[1])
    height = min(target[0], max(1, round(native[0] * scale)))
    width = min(target[1], max(1, round(native[1] * scale)))
    return Box((target[0] - height) // 2, (target[1] - width) // 2, height, width)


def count_fixations(points: npt.NDArray[np.integer], native: Size, target: Size, box: Box) -> npt.NDArray[np.float32]:
    """The number of fixations in each cell of a grid; every fixation is kept, none is blurred or merged.

    Args:
        points: (y, x) of each fixation at native resolution. Shape ``(n, 2)``.
        native: Size of the image the points lie in.
        target: Size of the grid.
        box: The image content inside the grid. A point goes to row ``top + floor((y + 0.5) * height / native height)``.

    Returns:
        Counts, shape ``target``; their sum is ``n``.
    """
    rows = box.top + (2 * points[:, 0].astype(np.int64) + 1) * box.height // (2 * native[0])
    columns = box.left + (2 * points[:, 1].astype(np.int64) + 1) * box.width // (2 * native[1])
    counts = np.bincount(rows * target[1] + columns, minlength=target[0] * target[1])
    return counts.astype(np.float32).reshape(target)
