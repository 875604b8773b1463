"""What a model sees: image, text, truth and prediction side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saltext import storage
from saltext.images import read_photo
from saltext.prediction.captions import caption, quoted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMN, _NARROW = 245, 215  # points that a title may be wide above the three columns of pairs, or the five of swaps
_WITHOUT_TICKS: dict[str, tuple[()]] = {"xticks": (), "yticks": ()}  # invisible ticks would still be laid out


@dataclass(frozen=True)
class Panel:
    """One pair.

    Attributes:
        image: RGB, uint8 (h,w,3).
        truth: Ground-truth map, any scale, (h,w).
        prediction: Predicted map, any scale, (h,w).
        title: Task and image id.
        text: The sentence; empty for free viewing.
        note: What stands above the prediction, such as its CC.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.float32]
    prediction: NDArray[np.float32]
    title: str
    text: str
    note: str


@dataclass(frozen=True)
class Reading:
    """An image under one of its texts.

    Attributes:
        text: The sentence.
        truth: Where people looked after reading it, any scale, (h,w).
        prediction: The map predicted under it, any scale, (h,w).
        cc: Of the prediction with ``truth``.
        cc_other: Of the prediction with the truth of the image's other text.
    """

    text: str
    truth: NDArray[np.float32]
    prediction: NDArray[np.float32]
    cc: float
    cc_other: float


@dataclass(frozen=True)
class Swap:
    """An image under two texts.

    Attributes:
        image: RGB, uint8 (h,w,3).
        title: Its id and why it is shown.
        salient: Under the text about its salient objects.
        non_salient: Under the text about the others.
    """

    image: NDArray[np.uint8]
    title: str
    salient: Reading
    non_salient: Reading


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """A picture of the data set as training sees it, RGB, uint8 (h,w,3)."""
    return read_photo(path).pixels


def _overlay(axes: "Axes", image: NDArray[np.uint8], saliency: NDArray[np.float32], title: str) -> None:
    axes.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    axes.imshow(saliency / max(float(saliency.max()), 1e-12), cmap="inferno", alpha=0.6, vmin=0, vmax=1)
    axes.set_title(title, fontsize=9, parse_math=False)


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Write a PNG with one row a pair: the image under its text, the truth, the prediction."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second, and only to draw
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.1 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(panels), 3, squeeze=False, subplot_kw=_WITHOUT_TICKS)
    for panel, (left, middle, right) in zip(panels, grid, strict=True):
        left.imshow(panel.image)
        title = "\n".join([caption(panel.title, _COLUMN, lines=2), caption(quoted(panel.text), _COLUMN)])
        left.set_title(title, fontsize=9, parse_math=False)
        _overlay(middle, panel.image, panel.truth, "where people looked")
        _overlay(right, panel.image, panel.prediction, panel.note)
    for axes in grid.flat:
        axes.set_axis_off()
    storage.write_figure(path, figure, dpi=90)


def draw_swaps(swaps: Sequence[Swap], path: Path, rule: str) -> None:
    """Write a PNG with one row an image: itself, then truth and prediction under either of its texts.

    Args:
        swaps: At least one.
        path: Where to.
        rule: How the images were chosen; written above them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second, and only to draw
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 0.5 + 3.2 * len(swaps)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(caption(rule, 1100), fontsize=9, parse_math=False)
    grid = figure.subplots(len(swaps), 5, squeeze=False, subplot_kw=_WITHOUT_TICKS)
    for swap, (first, *rest) in zip(swaps, grid, strict=True):
        first.imshow(swap.image)
        first.set_title(caption(swap.title, _NARROW), fontsize=9, parse_math=False)
        _draw_reading(rest[:2], swap.image, "salient", swap.salient)
        _draw_reading(rest[2:], swap.image, "non_salient", swap.non_salient)
    for axes in grid.flat:
        axes.set_axis_off()
    storage.write_figure(path, figure, dpi=90)


def _draw_reading(axes: Sequence["Axes"], image: NDArray[np.uint8], name: str, reading: Reading) -> None:
    truth, prediction = axes
    words = caption(quoted(reading.text), _NARROW)
    _overlay(truth, image, reading.truth, f"{name}: where people looked\n{words}")
    note = f"predicted\nCC {reading.cc:.2f}; with the other text's truth {reading.cc_other:.2f}"
    _overlay(prediction, image, reading.prediction, note)
