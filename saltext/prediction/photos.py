"""Opening an image from a file, a Pillow image or a numpy array."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from saltext.errors import InvalidFileError
from saltext.images import MAX_PIXELS, Photo, check_extent, eight_bits, photo_of, read_photo

ImageLike = str | Path | Image.Image | npt.NDArray[Any]


def open_photo(image: ImageLike, max_pixels: int = MAX_PIXELS) -> Photo:
    """Open an image, as :func:`saltext.images.read_photo` opens files.

    Args:
        image: A file, a Pillow image (which is not changed), or an array: RGB, RGBA or grey, ``(height, width)`` or
            ``(height, width, channels)``; uint8 in 0..255, uint16 in 0..65535, or floats in 0..1.
        max_pixels: Maximum number of pixels.

    Raises:
        InvalidFileError: An invalid file, more than ``max_pixels`` pixels, or an object of another type.
    """
    if isinstance(image, np.ndarray):
        return photo_of(_image_of_array(image, max_pixels), max_pixels)
    if isinstance(image, Image.Image):
        return photo_of(image, max_pixels)
    if isinstance(image, str | Path):
        return read_photo(Path(image), max_pixels)
    raise InvalidFileError("objects that are neither file name, Pillow image nor numpy array", type(image).__name__)


def _image_of_array(array: npt.NDArray[Any], max_pixels: int) -> Image.Image:
    """A checked array as a Pillow image with 8 bits."""
    kind = "arrays that are no picture"
    got = f"got shape {array.shape}, dtype {array.dtype}"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        raise InvalidFileError(kind, f"expected (height, width) or (height, width, 3 or 4), {got}")
    check_extent(array.shape[1], array.shape[0], max_pixels)
    if array.dtype == np.uint16:
        array = eight_bits(array)
    elif array.dtype.kind == "f":
        if not bool(((array >= 0) & (array <= 1)).all()):
            value_range = f"{array.min():.3g} to {array.max():.3g}"
            raise InvalidFileError(kind, f"expected floats in 0..1, {got}, {value_range}")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InvalidFileError(kind, f"expected uint8, uint16 or floats in 0..1, {got}")
    return Image.fromarray(array)
