"""Checks of a pair's image size and map that training and scoring share."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saltext.data.files import read_map, wrong_size
from saltext.data.geometry import Size
from saltext.data.pairs import Pair
from saltext.data.report import DataIssue
from saltext.errors import InvalidFileError
from saltext.images import read_head


def image_size(pair: Pair, max_pixels: int) -> Size:
    """Height and width of a pair's upright image, from the header of its file.

    Training and prediction apply the EXIF orientation of an image. Its fixations, however, may refer to the image as it
    is stored. For an image rotated by 90 degrees, a map of the upright size, which is required, shows that they do not.
    In all other cases nothing shows it, and the image is invalid.

    Raises:
        InvalidFileError: The image is invalid, or it is rotated and the meaning of x and y is unknown.
    """
    head = read_head(pair.image, max_pixels)
    if head.orientation != 1 and not (head.shows_its_frame and isinstance(pair.density, Path)):
        raise InvalidFileError("images rotated by EXIF data, which leaves x and y unclear (save them upright)")
    return head.size


def density_map(path: Path, size: Size | None, max_pixels: int) -> npt.NDArray[Any]:
    """A published map, see :func:`saltext.data.files.read_map`.

    Raises:
        InvalidFileError: As there; or it is of another ``size`` than its image, or has one value everywhere.
    """
    density = read_map(path, max_pixels)
    if size is not None and density.shape != size:
        raise wrong_size((density.shape[0], density.shape[1]), size)
    if density.min() == density.max():
        raise InvalidFileError("maps with one value everywhere", f"{np.asarray(density.max()):.3g}")
    return density


def issue(path: Path, error: InvalidFileError, max_pixels: int) -> DataIssue:
    """The issue of a data set's invalid file; a message about too many pixels names ``data.max_pixels``."""
    kind, name = DataIssue.of(path, error)
    return DataIssue(kind.replace(f"more than {max_pixels} ", f"more than data.max_pixels={max_pixels} "), name)
