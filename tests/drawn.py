"""Where images and texts of a figure lie once it is drawn."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest import mock

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from saltext import storage


def written_figure(draw: Callable[[], object]) -> Figure:
    """The figure that a function writes with :func:`saltext.storage.write_figure`, laid out."""
    figures: list[Figure] = []

    def keep(path: Path, figure: Figure, dpi: float, **how: Any) -> None:
        figure.set_dpi(dpi)  # letters are whole pixels wide
        figures.append(figure)

    with mock.patch.object(storage, "write_figure", keep):
        draw()
    (figure,) = figures
    figure.draw_without_rendering()
    return figure


def images(figure: Figure) -> list[Bbox]:
    """The places of its axes' images, in pixels."""
    return [axes.images[0].get_window_extent() for axes in figure.axes if axes.images]


def overlaps(figure: Figure) -> list[str]:
    """What lies over something else: a text over an image, or over another text."""
    titles = [axes.title for axes in figure.axes]
    texts = [text for text in (*titles, *figure.texts) if text.get_text()]
    found = [text.get_text() for text in texts for place in images(figure) if _meet(text.get_window_extent(), place)]
    pairs = combinations(texts, 2)
    return found + [
        f"{one.get_text()} | {other.get_text()}"
        for one, other in pairs
        if _meet(one.get_window_extent(), other.get_window_extent())
    ]


def _meet(one: Bbox, other: Bbox) -> bool:
    common = Bbox.intersection(one, other)
    return common is not None and common.width > 1 and common.height > 1  # pixels
