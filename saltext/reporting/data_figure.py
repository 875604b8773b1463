"""A figure of what was read of a data set: images, maps and fixations of a few pairs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from saltext.data.ground_truth import GroundTruth
from saltext.data.pairs import Pair
from saltext.images import read_photo
from saltext.prediction.captions import caption, quoted
from saltext.prediction.pictures import normalize_density, overlay, shrink_density, shrink_image
from saltext.reporting.figures import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _ROW_HEIGHT = 9.0, 2.6  # inches
_TEXT_WIDTH, _TEXT_SIZE = 400, 18  # half points


def pairs_to_show(pairs: Sequence[object], count: int) -> list[int]:
    """Indices of ``count`` pairs with images, evenly spread over the data set; fewer where there are fewer."""
    with_images = [index for index, pair in enumerate(pairs) if isinstance(pair, Pair)]
    spread = np.linspace(0, len(with_images) - 1, min(count, len(with_images))).round().astype(int)
    return [with_images[position] for position in spread]


def data_figure(data: GroundTruth, indices: Sequence[int]) -> "Figure":
    """A row for each pair: the image, its density map over it, its fixations over it.

    Images that were read as they should be have their maps and fixations on their content: exchanged coordinates, a
    map of another image or of another size are seen at once.

    Args:
        data: The ground truth; its pairs have images (:class:`saltext.data.pairs.Pair`).
        indices: Of the pairs, at least one.
    """
    with drawing(_WIDTH, _ROW_HEIGHT * len(indices)) as figure:
        rows = figure.subplots(len(indices), 3, squeeze=False)
        for row, index in zip(rows, indices, strict=True):
            pair = data.pairs[index]
            pixels = shrink_image(read_photo(pair.image).pixels)  # type: ignore[attr-defined]
            density = normalize_density(data.native_density(index))
            points = data.points(index)
            height, width = data.native_size(index)
            scale = pixels.shape[1] / width, pixels.shape[0] / height
            row[0].imshow(pixels)
            row[1].imshow(overlay(pixels, shrink_density(density, pixels)))
            row[2].imshow(pixels // 2)
            row[2].scatter(
                (points[:, 1] + 0.5) * scale[0] - 0.5, (points[:, 0] + 0.5) * scale[1] - 0.5, s=6, c="#ffd000"
            )
            text = caption(quoted(pair.text) if pair.text else "no text", _TEXT_WIDTH, _TEXT_SIZE, 3)
            for axes, title in zip(
                row, (f"{pair.name}, {pair.task}", "density map", f"{len(points)} fixations"), strict=True
            ):
                axes.set_title(caption(title, _TEXT_WIDTH, _TEXT_SIZE, 1))
                axes.set(xticks=[], yticks=[], xlim=(-0.5, pixels.shape[1] - 0.5), ylim=(pixels.shape[0] - 0.5, -0.5))
            row[0].set_xlabel(text)
    return figure
