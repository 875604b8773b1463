"""Maps and fixations in files that anybody may have written: read, and refused with a reason."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import loadmat  # type: ignore[import-untyped]
from scipy.io.matlab import MatReadError  # type: ignore[import-untyped]

from saltext.data.geometry import Size
from saltext.errors import DataError

MAX_PIXELS = 50_000_000
"""A larger map is refused before it is decoded: it is more likely broken than meant."""

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
MAP_ENDINGS = (".png", ".jpg", ".jpeg", ".npy")
FIXATION_ENDINGS = (".png", ".npy", ".csv", ".mat")
LITTER = {"Thumbs.db", "desktop.ini"}
"""What file managers leave in folders."""

# scipy parses what it finds; what it stumbles over depends on where the file is broken.
_BROKEN_MAT = (
    MatReadError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NotImplementedError,
    zlib.error,
    struct.error,
)

_Array = npt.NDArray[Any]


class UnusableError(DataError):
    """A file that cannot be used.

    Attributes:
        kind: What is wrong, the same words for all files with this fault.
        detail: What is wrong with this one; may be empty.
    """

    def __init__(self, kind: str, detail: object = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = str(detail)


def read_map(path: Path, max_pixels: int | None = None) -> _Array:
    """A grey picture of 8 or 16 bits, or a 2-D array of real numbers.

    Args:
        path: The file.
        max_pixels: A larger map is refused; ``MAX_PIXELS`` by default.

    Returns:
        Shape ``(height, width)``; uint8 of an 8-bit picture, float32 of other pictures and of arrays of at most that
        precision, else float64.

    Raises:
        UnusableError: The file cannot be decoded, is not grey or not 2-D, has too many pixels, or NaN,
            infinite or negative values.
    """
    most = MAX_PIXELS if max_pixels is None else max_pixels
    values = _read_array(path, most) if path.suffix.lower() == ".npy" else _read_picture(path, most)
    if values.dtype != np.uint8:
        values = values.astype(np.result_type(values.dtype, np.float32))
        if not np.isfinite(values).all():
            raise UnusableError("maps with NaN or infinite values")
        if values.min() < 0:
            raise UnusableError("maps with negative values", f"down to {values.min():.3g}")
    return values


def read_fixations(path: Path, size: Size, drop_outside: bool = False) -> npt.NDArray[np.int32]:
    """Fixations of an image of ``size``, whatever they are written in.

    * ``.png``: non-zero at the fixated pixels.
    * ``.npy``: an array of the image's shape, which counts the fixations at each pixel; or a list of (x, y), shape
      (n, 2), counted from 0.
    * ``.csv``: columns x and y, counted from 0, with or without a heading.
    * ``.mat``: as SALICON publishes them: ``gaze(i).fixations`` are the (x, y) of observer i, counted from 1.

    A point between pixels belongs to the pixel it lies in.

    Args:
        path: The file.
        size: Height and width of the image.
        drop_outside: Whether fixations outside the image are left out, which are refused otherwise.

    Returns:
        (y, x) counted from 0, shape (n, 2), n at least 1.

    Raises:
        UnusableError: The file cannot be read, is made for another size, has no fixation (inside the image) or one
            outside it.
    """
    found = _READERS[path.suffix.lower()](path, size)
    if not np.isfinite(found).all():
        raise UnusableError("fixation files with coordinates that are no numbers")
    points: npt.NDArray[np.int32] = np.floor(found).astype(np.int32)
    outside = ((points < 0) | (points >= size)).any(axis=1)
    if outside.any() and not drop_outside:
        y, x = points[outside][0]
        raise UnusableError(
            "fixation files with points outside the image",
            f"{outside.sum()} of {len(points)}, first x={x}, y={y} in {_named(size)}, counted from 0",
        )
    points = points[~outside]
    if not len(points):
        raise UnusableError("fixation files without a fixation")
    return points


def _named(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def wrong_size(found: Size, expected: Size) -> UnusableError:
    """The refusal of a file made for another size; sizes are said as width x height."""
    return UnusableError("files of another size than the ground truth", f"{_named(found)}, expected {_named(expected)}")


def _unreadable(error: BaseException) -> UnusableError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UnusableError("files that cannot be read", reason)


def _bounded(size: Size, most: int) -> None:
    if size[0] * size[1] > most:
        raise UnusableError(f"maps with more than {most} pixels", _named(size))


def _read_picture(path: Path, most: int) -> _Array:
    try:
        with Image.open(path) as picture:
            _bounded((picture.height, picture.width), most)
            if picture.mode in ("L", "I", "I;16", "I;16B"):
                return np.asarray(picture)
            return _grey(np.asarray(picture.convert("RGB")))
    except UnusableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableError(f"maps with more than {most} pixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(error) from error


def _grey(rgb: _Array) -> _Array:
    if (rgb != rgb[..., :1]).any():
        raise UnusableError("pictures in colour where a grey map is expected")
    return rgb[..., 0]


def _load_array(path: Path) -> _Array:
    try:
        # Memory-mapped, so that a wrong shape is refused before its values are read.
        array: _Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(error) from error
    if array.ndim != 2 or not array.size or array.dtype.kind not in "buif":
        raise UnusableError("arrays that are not 2-D of real numbers", f"shape {array.shape}, dtype {array.dtype}")
    return array


def _read_array(path: Path, most: int) -> _Array:
    array = _load_array(path)
    _bounded((array.shape[0], array.shape[1]), most)
    return np.array(array)


def _of_mask(mask: _Array, size: Size) -> _Array:
    if mask.shape != size:
        raise wrong_size((mask.shape[0], mask.shape[1]), size)
    return np.argwhere(mask)


def _from_picture(path: Path, size: Size) -> _Array:
    try:
        with Image.open(path) as picture:
            if (picture.height, picture.width) != size:
                raise wrong_size((picture.height, picture.width), size)
            return np.argwhere(np.asarray(picture.convert("L")))
    except UnusableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableError("pictures too large to be opened") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(error) from error


def _from_array(path: Path, size: Size) -> _Array:
    array = _load_array(path)
    if array.shape == size:
        return _of_counts(np.array(array), size)
    if array.shape[1] == 2:
        return array[:, ::-1].astype(np.float64)
    raise wrong_size((array.shape[0], array.shape[1]), size)


def _of_counts(counts: _Array, size: Size) -> _Array:
    if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.round(counts)).all()):
        raise UnusableError("fixation maps that hold no counts (0, 1, 2, ...)")
    places = _of_mask(counts, size)
    return places.repeat(counts[tuple(places.T)].astype(np.int64), axis=0)


def _from_csv(path: Path, size: Size) -> _Array:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        heading = [cell.strip().lower() for cell in lines[0].split(",")]
        order = [heading.index(name) for name in ("y", "x")] if {"x", "y"} <= set(heading) else None
        rows = [line.split(",") for line in lines[order is not None :] if line.strip()]
        y, x = order or (1, 0)
        return np.array([(float(row[y]), float(row[x])) for row in rows]).reshape(-1, 2)
    except (OSError, ValueError, IndexError) as error:
        raise _unreadable(error) from error


def _from_mat(path: Path, size: Size) -> _Array:
    try:
        content = loadmat(path)
        resolution = content["resolution"].ravel()
        observers = [fixations.reshape(-1, 2) for fixations in content["gaze"]["fixations"].ravel() if fixations.size]
    except _BROKEN_MAT as error:
        raise _unreadable(error) from error
    height, width = resolution.tolist()
    if (height, width) != size:
        raise wrong_size((height, width), size)
    return np.concatenate(observers)[:, ::-1].astype(np.float64) - 1 if observers else np.zeros((0, 2))


_READERS = {".png": _from_picture, ".npy": _from_array, ".csv": _from_csv, ".mat": _from_mat}
