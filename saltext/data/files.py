"""Reading of untrusted map and fixation files; errors say why a file is invalid."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from saltext.data.geometry import Size
from saltext.data.tables import read_cells
from saltext.errors import InvalidFileError
from saltext.images import MAX_PIXELS, check_file, read_values, reason

MAX_FIXATIONS = 1_000_000
"""Maximum number of fixations of one image: a file with more is no mask, or a map with one huge value."""

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
MAP_ENDINGS = (".png", ".jpg", ".jpeg", ".npy")
_MASK_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
FIXATION_ENDINGS = (*_MASK_ENDINGS, ".npy", ".csv", ".mat")
IGNORED_FILES = {"Thumbs.db", "desktop.ini"}
"""What file managers leave in folders."""

_MAX_COORDINATE = 2**31 - 1
_MAT_BYTES = 2**28  # maximum size of the variables in a .mat file, uncompressed
_WHITE = 128  # of 255; isolated white pixels keep 240 at JPEG's quality 75, pixels around them get up to 40
_COMPRESSED = 15  # type code of a compressed variable in it

_Array = npt.NDArray[Any]


def read_map(path: Path, max_pixels: int | None = None) -> _Array:
    """A grey picture of 8 or 16 bits, or a 2-D array of real numbers.

    Args:
        path: The file.
        max_pixels: A larger map is refused; ``MAX_PIXELS`` by default.

    Returns:
        Shape ``(height, width)``; uint8 of an 8-bit picture, float32 of other pictures and of arrays of at most that
        precision, else float64.

    Raises:
        InvalidFileError: The file cannot be decoded, is not grey or not 2-D, has too many or transparent pixels, or
            NaN, infinite or negative values, or some whose mean or variance its precision cannot hold.
    """
    most = MAX_PIXELS if max_pixels is None else max_pixels
    values = _real_array(path, most) if path.suffix.lower() == ".npy" else _grey_picture(path, most)
    if values.dtype == np.uint8:
        return np.array(values)
    exact_type = np.result_type(values.dtype, np.float32)
    with np.errstate(over="ignore"):  # values too large for float64 become infinite, which is an error below
        values = values.astype(exact_type if exact_type.itemsize <= 8 else np.float64)
    if not np.isfinite(values).all():
        raise InvalidFileError("maps with NaN or infinite values")
    if values.min() < 0:
        raise InvalidFileError("maps with negative values", f"down to {values.min():.3g}")
    largest = float(values.max())
    if largest * largest * values.size > float(np.finfo(values.dtype).max):  # Python's floats become infinite
        raise InvalidFileError(
            f"maps whose values are too large for a mean and variance in {values.dtype}", f"up to {largest:.3g}"
        )
    return values


def read_fixations(path: Path, size: Size, drop_outside: bool = False) -> npt.NDArray[np.int32]:
    """Fixations of an image of ``size``, from any of the supported formats.

    * ``.png``, ``.bmp``, ``.tif``: fixated where any channel is not zero; transparent pixels are not.
    * ``.npy``: an array of the image's shape, which counts the fixations at each pixel; or a list of (x, y), shape
      (n, 2), counted from 0.
    * ``.jpg``: a grey picture whose fixated pixels are white, as MIT1003 has it. Lossy compression leaves a haze around
      them, so only pixels of at least 128 count.
    * ``.csv``: columns x and y, counted from 0, with or without a heading; see :func:`saltext.data.tables.read_cells`.
    * ``.mat``: as SALICON publishes them: ``gaze(i).fixations`` are the (x, y) of observer i, counted from 1, and
      ``resolution`` is the image's height and width; or one matrix of the image's shape, as above, whatever its name.

    :func:`pixels_of` says which pixel a point between pixels belongs to.

    Args:
        path: The file.
        size: Height and width of the image.
        drop_outside: Whether fixations outside the image are dropped; otherwise they make the file invalid.

    Returns:
        (y, x) counted from 0, shape (n, 2), n at least 1. A pixel that was fixated twice is listed twice.

    Raises:
        InvalidFileError: The file cannot be read, is made for another size, has no fixation (inside the image), one
            outside it, or more than ``MAX_FIXATIONS``.
    """
    return points_inside(_READERS[path.suffix.lower()](path, size), size, drop_outside)


def points_inside(points: npt.NDArray[np.integer], size: Size, drop_outside: bool = False) -> npt.NDArray[np.int32]:
    """Fixations, after a check that they lie inside their image; arguments and errors as of :func:`read_fixations`."""
    outside = ((points < 0) | (points >= size)).any(axis=1)
    if outside.any() and not drop_outside:
        y, x = points[outside][0]
        raise InvalidFileError(
            "fixations outside the image",
            f"{outside.sum()} of {len(points)}, first x={x}, y={y} in {_width_x_height(size)}, counted from 0",
        )
    points = points[~outside]
    if not len(points):
        raise InvalidFileError("fixation lists without a fixation")
    return points.astype(np.int32)


def pixels_of(xy: npt.NDArray[np.floating[Any]], counted_from: Literal[0, 1]) -> npt.NDArray[np.int64]:
    """The pixels in which points lie.

    Counted from 0, pixel k reaches from k to k + 1, as in image files: 0.7 lies in the first pixel. Counted from 1,
    pixel k reaches from k - 0.5 to k + 0.5, as in Matlab: .7 to 1.49 lie in the first pixel, 1.5 in the second.

    Args:
        xy: Finite, shape (n, 2).
        counted_from: The coordinate of the first pixel.

    Returns:
        (y, x) counted from 0, shape (n, 2), limited to +-(2**31 - 1).
    """
    first_edge = {0: 0.0, 1: 0.5}[counted_from]
    limit = _MAX_COORDINATE
    pixels: npt.NDArray[np.int64] = np.floor(xy[:, ::-1] - first_edge).clip(-limit, limit).astype(np.int64)
    return pixels


def _width_x_height(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def wrong_size(found: Size, expected: Size) -> InvalidFileError:
    """The error for a file of another size; the message says which is which, since arrays have the height first."""
    return InvalidFileError(
        "files of another size than the ground truth",
        f"{found[1]} wide, {found[0]} high; expected {expected[1]} wide, {expected[0]} high",
    )


def _unreadable(error: BaseException) -> InvalidFileError:
    return InvalidFileError("files that cannot be read", reason(error))


def _too_many(count: float) -> InvalidFileError:
    return InvalidFileError(f"fixation files with more than {MAX_FIXATIONS} fixations", f"{count:.4g}")


def _grey_picture(path: Path, most: int) -> _Array:
    values, opacity = read_values(path, most)
    if opacity is not None:
        raise InvalidFileError("maps with transparent pixels", "save it without transparency")
    if values.ndim == 2:
        return values
    if (values != values[..., :1]).any():
        raise InvalidFileError("colour images where a grey map is expected")
    return values[..., 0]


def _real_array(path: Path, most: int | None = None) -> _Array:
    """A 2-D array, memory-mapped, so that its shape is checked before its values are read."""
    check_file(path)
    try:
        with path.open("rb") as stream:
            if stream.read(2) == b"PK":
                raise InvalidFileError("files that cannot be read", "an .npz archive; save one array with numpy.save")
        array: _Array = np.lib.format.open_memmap(path, mode="r")
    except InvalidFileError:
        raise
    except Exception as error:  # numpy parses the head as Python, and maps whatever shape it names
        raise _unreadable(error) from error
    if array.ndim != 2 or not array.size or array.dtype.kind not in "buif":
        raise InvalidFileError("arrays that are not 2-D of real numbers", f"shape {array.shape}, dtype {array.dtype}")
    if most is not None and array.size > most:
        raise InvalidFileError(f"maps with more than {most} pixels", _width_x_height((array.shape[0], array.shape[1])))
    return array


def _points_of_mask(marked: npt.NDArray[np.bool_], size: Size) -> _Array:
    """(y, x) of the marked pixels, one fixation each."""
    if marked.shape != size:
        raise wrong_size((marked.shape[0], marked.shape[1]), size)
    total = int(np.count_nonzero(marked))
    if total > MAX_FIXATIONS:
        raise _too_many(total)
    return np.stack(np.divmod(np.flatnonzero(marked), marked.shape[1]), axis=1)


def _points_of_counts(counts: _Array, size: Size) -> _Array:
    """(y, x) of each fixation, from the number of fixations at each pixel."""
    if counts.dtype == np.bool_:
        return _points_of_mask(counts, size)
    if counts.shape != size:
        raise wrong_size((counts.shape[0], counts.shape[1]), size)
    if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.round(counts)).all()):
        raise InvalidFileError("fixation maps that hold no counts (0, 1, 2, ...)")
    total = counts.sum(dtype=np.float64)
    if total > MAX_FIXATIONS:
        raise _too_many(total)
    positions = np.argwhere(counts)
    return positions.repeat(counts[tuple(positions.T)].astype(np.int64), axis=0)


def _points_of_coordinates(xy: _Array, counted_from: Literal[0, 1]) -> _Array:
    if len(xy) > MAX_FIXATIONS:
        raise _too_many(len(xy))
    xy = xy.astype(np.float64)
    if not np.isfinite(xy).all():
        raise InvalidFileError("fixation files with coordinates that are not numbers")
    return pixels_of(xy, counted_from)


def _from_picture(path: Path, size: Size) -> _Array:
    values, opacity = read_values(path)
    # Channels one by one: numpy's any(axis=2) takes ten times as long.
    marked = values != 0 if values.ndim == 2 else (values[..., 0] | values[..., 1] | values[..., 2]) != 0
    return _points_of_mask(marked if opacity is None else marked & (opacity > 0), size)


def _from_lossy_picture(path: Path, size: Size) -> _Array:
    return _points_of_mask(_grey_picture(path, MAX_PIXELS) >= _WHITE, size)


def _from_array(path: Path, size: Size) -> _Array:
    array = _real_array(path)
    if array.shape == size:
        return _points_of_counts(array, size)
    if array.shape[1] == 2:
        return _points_of_coordinates(array, 0)
    raise wrong_size((array.shape[0], array.shape[1]), size)


def _from_csv(path: Path, size: Size) -> _Array:
    cells = read_cells(path)
    positions = cells.column_index("x"), cells.column_index("y")
    if None in positions:
        cells, positions = cells.without_heading(), (0, 1)
    xy = [cells.numbers(cells.column(position)) for position in positions if position is not None]
    return _points_of_coordinates(np.stack(xy, axis=1), 0)


@contextmanager
def _matlab_errors(path: Path) -> Iterator[None]:
    """Inside, a Matlab file is read; whatever is wrong with it is an InvalidFileError."""
    check_file(path)
    try:
        _check_uncompressed_size(path)
        yield
    except InvalidFileError:
        raise
    except NotImplementedError as error:
        raise InvalidFileError("files that cannot be read", "Matlab 7.3 (HDF5); save it with -v7") from error
    except Exception as error:  # which error scipy raises depends on where the file is damaged
        raise _unreadable(error) from error


def _from_mat(path: Path, size: Size) -> _Array:
    from scipy.io import loadmat, whosmat  # type: ignore[import-untyped]  # half a second

    with _matlab_errors(path):
        found = {name: (shape, kind) for name, shape, kind in whosmat(path)}
        masks = [name for name, (shape, _) in found.items() if shape == size and name != "resolution"]
        if "gaze" in found:
            return _points_of_coordinates(_gaze_points(loadmat(path, variable_names=["gaze", "resolution"]), size), 1)
        content = loadmat(path, variable_names=masks)
        arrays = [content[name] for name in masks if isinstance(content[name], np.ndarray)]
        matrices = [array for array in arrays if array.dtype.kind in "buif"]
    if len(matrices) == 1:
        return _points_of_counts(matrices[0], size)
    named = ", ".join(f"{name} ({'x'.join(map(str, shape))} {kind})" for name, (shape, kind) in found.items())
    raise InvalidFileError(
        f"Matlab files without gaze and resolution, or one matrix of the image's {size[0]} rows and {size[1]} columns",
        f"variables found: {named or 'none'}",
    )


def read_mat(path: Path, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The variables of a Matlab file, structures as objects with their fields as attributes, single elements unpacked.

    Args:
        path: A file of version 4 to 7.
        names: The variables to read; None: all.

    Raises:
        InvalidFileError: It cannot be read, or holds more than 256 MiB.
    """
    from scipy.io import loadmat  # half a second

    with _matlab_errors(path):
        chosen = None if names is None else list(names)
        found: dict[str, Any] = loadmat(path, variable_names=chosen, squeeze_me=True, struct_as_record=False)
    return {name: value for name, value in found.items() if not name.startswith("__")}


def _gaze_points(content: dict[str, Any], size: Size) -> _Array:
    """(x, y) of all observers' fixations; each observer is an element of a structure, or a cell with a structure."""
    if "resolution" not in content:
        raise InvalidFileError("files that cannot be read", "gaze without resolution")
    resolution = content["resolution"].ravel().tolist()
    if len(resolution) != 2 or not all(isinstance(number, int | float) for number in resolution):
        raise InvalidFileError("files that cannot be read", f"resolution is {resolution}, not a height and a width")
    if (resolution[0], resolution[1]) != size:
        raise wrong_size((resolution[0], resolution[1]), size)
    gaze = content["gaze"]
    structures = [gaze] if gaze.dtype.names else list(gaze.ravel())
    of_observers = [points for structure in structures for points in structure["fixations"].ravel()]
    return np.concatenate([np.zeros((0, 2)), *(points.reshape(-1, 2) for points in of_observers if points.size)])


def _check_uncompressed_size(path: Path) -> None:
    """Raise an InvalidFileError for a file with more than ``_MAT_BYTES`` of variables, before they are decompressed."""
    total = path.stat().st_size
    content = memoryview(path.read_bytes() if total <= _MAT_BYTES else b"")
    order: Literal["little", "big"] = "big" if bytes(content[126:128]) == b"MI" else "little"
    start = 128 if bytes(content[126:128]) in (b"MI", b"IM") else len(content)  # version 4 packs nothing
    while start + 8 <= len(content) and total <= _MAT_BYTES:
        kind, count = (int.from_bytes(content[start + at : start + at + 4], order) for at in (0, 4))
        packed, start = content[start + 8 : start + 8 + count], start + 8 + count
        unpacker = zlib.decompressobj()
        while kind == _COMPRESSED and packed and total <= _MAT_BYTES and not unpacker.eof:
            total += len(unpacker.decompress(packed, 2**20))
            packed = memoryview(unpacker.unconsumed_tail)
    if total > _MAT_BYTES:
        raise InvalidFileError(f"Matlab files that hold more than {_MAT_BYTES // 2**20} MiB")


_READERS = {
    **dict.fromkeys(_MASK_ENDINGS, _from_picture),
    ".jpg": _from_lossy_picture,
    ".npy": _from_array,
    ".csv": _from_csv,
    ".mat": _from_mat,
}
