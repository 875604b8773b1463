"""What training and scoring ask of the files of an image in the same words: its size, and its map."""

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
    """Height and width of a pair's upright image, by its head.

    A picture that EXIF data turn is taken as a person sees it, by training as by prediction. Coordinates may have been
    taken from it as it is stored all the same. Where it lies on its side, a map of the upright size, which is required,
    shows that they were not; otherwise nothing does, and it is refused.

    Raises:
        InvalidFileError: It cannot be used, or it is turned and nothing shows what x and y are.
    """
    head = read_head(pair.image, max_pixels)
    if head.orientation != 1 and not (head.shows_its_frame and isinstance(pair.density, Path)):
        raise InvalidFileError("pictures that EXIF data turn, so that x and y are in doubt (save them upright)")
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
    """The refusal of a file of a data set whose pictures the configuration bounds."""
    kind, name = DataIssue.of(path, error)
    return DataIssue(kind.replace(f"more than {max_pixels} ", f"more than data.max_pixels={max_pixels} "), name)
