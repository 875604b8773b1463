"""Predicted maps as pictures: alone, over the image, and under several texts side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from saltext import storage
from saltext.prediction.captions import caption, quoted
from saltext.prediction.model import Density

_Pixels = npt.NDArray[np.uint8]

PANEL_SIDE = 640
"""Longest side of an image in a panel, in pixels."""

HEAT, CHANGE = "inferno", "RdBu_r"
"""Colour maps of densities and of their differences."""

_COVER = 0.6  # how far the colours cover the image
_COLUMN = 230  # points that a title may be wide: a quarter of a panel, less its margins
_HIGHEST = 65535  # of 16 bits


@dataclass(frozen=True)
class TextMap:
    """A text and what it makes of an image.

    Attributes:
        text: Empty for free viewing.
        density: Sums to 1, float32 (h,w), at the size of the image it is shown with.
        task: The condition that was told, if one was.
    """

    text: str
    density: Density
    task: str | None = None


def write_density(path: Path, density: Density) -> None:
    """Write a map: NPY as it is, PNG in 16 bits with a maximum of 65535."""
    with storage.replacing(path) as part, part.open("wb") as stream:
        if path.suffix == ".npy":
            np.save(stream, density, allow_pickle=False)
            return
        scaled = density.astype(np.float64) * (_HIGHEST / float(density.max()))  # a density has a value above 0
        Image.fromarray(scaled.round().astype(np.uint16)).save(stream, "PNG")


def heat(density: Density, highest: float | None = None) -> _Pixels:
    """A heat map alone.

    Args:
        density: Not negative, (h,w).
        highest: The density of the brightest colour, by default the largest.

    Returns:
        RGB, uint8 (h,w,3).
    """
    top = float(density.max()) if highest is None else highest
    level = np.clip(density * (255 / top), 0, 255).astype(np.uint8) if top > 0 else np.zeros(density.shape, np.uint8)
    coloured: _Pixels = colours(HEAT)[level]
    return coloured


def overlay(pixels: _Pixels, density: Density, highest: float | None = None) -> _Pixels:
    """A heat map over the image in grey.

    Args:
        pixels: RGB, uint8 (h,w,3).
        density: As of :func:`heat`.
        highest: As of :func:`heat`.

    Returns:
        RGB, uint8 (h,w,3).
    """
    return np.asarray(Image.blend(_grey(pixels), Image.fromarray(heat(density, highest)), _COVER))


def change_overlay(pixels: _Pixels, change: Density, highest: float) -> _Pixels:
    """What is gained and lost over the image in grey, which shows through where little changes.

    Args:
        pixels: RGB, uint8 (h,w,3).
        change: Difference of two densities, (h,w).
        highest: The change of the strongest colours, red for a gain and blue for a loss.

    Returns:
        RGB, uint8 (h,w,3).
    """
    strength = np.clip(change / max(highest, 1e-30), -1, 1)
    colour = colours(CHANGE)[((strength + 1) * 127.5).round().astype(np.uint8)]
    cover = np.sqrt(np.abs(strength))[..., None]
    mixed: _Pixels = (np.asarray(_grey(pixels)) * (1 - cover) + colour * cover).round().astype(np.uint8)
    return mixed


def _grey(pixels: _Pixels) -> Image.Image:
    return Image.fromarray(pixels).convert("L").convert("RGB")


@cache
def colours(name: str) -> _Pixels:
    """A colour map: RGB, uint8 (256,3)."""
    from matplotlib import colormaps  # a second, and only to draw

    table: _Pixels = (colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return table


def small(pixels: _Pixels, side: int = PANEL_SIDE) -> _Pixels:
    """An image whose longer side is at most ``side``."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def reduced(density: Density, like: _Pixels) -> Density:
    """A density at the size of a smaller image; sums to 1 again."""
    height, width = like.shape[:2]
    if density.shape == (height, width):
        return density
    shrunk = np.asarray(Image.fromarray(density).resize((width, height), Image.Resampling.BOX))
    scaled: Density = shrunk / shrunk.sum(dtype=np.float64).astype(np.float32)
    return scaled


def moved(one: Density, other: Density) -> float:
    """The share of one density that lies elsewhere in the other, 0 to 1: half the sum of absolute differences."""
    return float(np.abs(one.astype(np.float64) - other).sum()) / 2


def draw_panel(pixels: _Pixels, readings: Sequence[TextMap], path: Path) -> None:
    """Write a PNG: image | first text | another text | what changes, one row for each text after the first.

    Colours of one panel mean the same density everywhere. In the last column red is where the other text puts more,
    blue where it puts less; its title says how much moves (:func:`moved`).

    Args:
        pixels: RGB, uint8 (h,w,3).
        readings: At least two, densities of the same (h,w).
        path: Where to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first, *others = readings
    highest = max(float(reading.density.max()) for reading in readings)
    height, width = pixels.shape[:2]
    # The shape of a cell follows the image, within what can still be looked at.
    figure = Figure(figsize=(14, len(others) * (0.6 + 3.2 * min(max(height / width, 0.3), 2))), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(others), 4, squeeze=False)
    for other, (left, before, after, change) in zip(others, grid, strict=True):
        left.imshow(pixels)
        for axes, reading in ((before, first), (after, other)):
            axes.imshow(overlay(pixels, reading.density, highest))
            _title(axes, reading)
        change.imshow(change_overlay(pixels, other.density - first.density, highest))
        change.set_title(f"{moved(first.density, other.density):.0%} of the density moves", fontsize=9)
    for axes in grid.flat:
        axes.set_axis_off()
    # Titles of several lines reach out of it.
    storage.write_figure(path, figure, dpi=90, bbox_inches="tight", pad_inches=0.05)


def _title(axes: Any, shown: TextMap) -> None:
    said = caption(quoted(shown.text), _COLUMN)
    lines = [said, shown.task.replace("_", " ")] if shown.task else [said]
    axes.set_title("\n".join(lines), fontsize=9, parse_math=False)  # a $ is a $
