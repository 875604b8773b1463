"""What a model sees: image, text, truth and prediction side by side."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray


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


def _overlay(axes: "object", image: NDArray[np.uint8], saliency: NDArray[np.float32], title: str) -> None:
    grey = image.mean(axis=2)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)  # type: ignore[attr-defined]
    axes.imshow(saliency / max(float(saliency.max()), 1e-12), cmap="inferno", alpha=0.6, vmin=0, vmax=1)  # type: ignore[attr-defined]
    axes.set_title(title, fontsize=9)  # type: ignore[attr-defined]


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Write a PNG with one row a pair: the image under its text, the truth, the prediction."""
    figure = Figure(figsize=(11, 3.1 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(panels), 3, squeeze=False)
    for panel, (left, middle, right) in zip(panels, grid, strict=True):
        left.imshow(panel.image)
        words = f"“{panel.text}”" if panel.text else "(no text)"
        left.set_title("\n".join([panel.title, *textwrap.wrap(words, 52)]), fontsize=9)
        _overlay(middle, panel.image, panel.truth, "where people looked")
        _overlay(right, panel.image, panel.prediction, panel.note)
    for axes in grid.flat:
        axes.set_axis_off()
    figure.savefig(path, dpi=90)
