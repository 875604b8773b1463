"""Safe reading of untrusted image files: upright pixels, or an error that says why a file is invalid.

Training, prediction, scoring and the demo open every image here, so all of them see the same pixels. Size and pixels of
an image are always those after its EXIF orientation is applied.
"""

import hashlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, COMPRESSION, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION

from saltext.errors import InvalidFileError

MAX_PIXELS = 50_000_000
"""A larger image or map is refused before it is decoded: it is more likely broken than intended."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "PPM")
"""Supported formats. Pillow knows more, some of which it reads by starting other programs (EPS)."""

ENDINGS = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".tif", ".tiff", ".bmp", ".jp2", ".ppm", ".pgm", ".mpo")
)
"""Endings of the image files that are taken from a folder. A file that is named itself may have any ending."""

_Pixels = npt.NDArray[np.uint8]
_Values = npt.NDArray[Any]

_SIXTEEN_BITS = 65535
_ORIENTATION_TAG = 0x0112  # of EXIF
_ROTATED_90 = range(5, 9)  # values of the orientation that exchange height and width
_ORIENTATION_KEYS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
_NAMED_FORMATS = "JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP, JPEG 2000 and PPM are read"


@dataclass(frozen=True)
class Photo:
    """A decoded image, upright.

    Attributes:
        pixels: RGB, uint8 ``(height, width, 3)``, at the image's own size, after its EXIF orientation is applied.
        remarks: Decisions while decoding that a user should know, such as the choice of a frame; often none.
    """

    pixels: _Pixels
    remarks: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def digest(self) -> str:
        """Digest of size and pixels, computed once."""
        shape = str(self.pixels.shape).encode()
        return hashlib.blake2b(shape + self.pixels.tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Head:
    """Size and orientation in the header of an image file.

    Attributes:
        size: Height and width of the upright image.
        orientation: EXIF orientation, 1 to 8; 1 is an image stored upright.
    """

    size: tuple[int, int]
    orientation: int = 1

    @property
    def shows_its_frame(self) -> bool:
        """Whether a map of the upright size must belong to the upright image, not to the image as it is stored."""
        height, width = self.size
        return self.orientation == 1 or (self.orientation in _ROTATED_90 and height != width)


def read_photo(path: Path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read an image file.

    * EXIF orientation is applied. Transparent pixels are composited on white. Grey, palette and CMYK images become RGB.
    * 16-bit grey and 16-bit PPM are scaled to 8 bits: v / 257, rounded to nearest. Of 16-bit colours in other formats
      Pillow keeps the upper 8 bits, v // 256, which is at most one level below.
    * Of several frames or pages the first is taken, and a remark says so.
    * Size and format are checked in the file's header, before anything large is decoded.

    Args:
        path: The file.
        max_pixels: Maximum number of pixels.

    Raises:
        InvalidFileError: No file, no image, damaged or truncated, more than ``max_pixels`` pixels, 32 bits per pixel,
            or a 16-bit TIFF that Pillow would misread.
    """
    with _open_picture(path, max_pixels) as picture:
        return photo_of(picture, max_pixels)


def read_head(path: Path, max_pixels: int = MAX_PIXELS) -> Head:
    """Size and orientation of an image; nothing is decoded.

    Raises:
        InvalidFileError: As :func:`read_photo`, as far as the header shows.
    """
    with _open_picture(path, max_pixels) as picture:
        check_extent(picture.width, picture.height, max_pixels)
        orientation = _exif_orientation(picture)
        height, width = picture.height, picture.width
    return Head((width, height) if orientation in _ROTATED_90 else (height, width), orientation)


def read_values(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[_Values, _Values | None]:
    """The stored values of a map or fixation image: upright, not scaled, not composited.

    Args:
        path: The file.
        max_pixels: Maximum number of pixels.

    Returns:
        The values of a grey image, ``(height, width)``: uint8 for 1 and 8 bits (1 bit gives 0 and 255), else the
        integer or float type of the file; or the RGB of another image, uint8 ``(height, width, 3)``. Then its opacity,
        uint8 ``(height, width)``, 255 where it is opaque; None for an image that is opaque everywhere.

    Raises:
        InvalidFileError: As :func:`read_photo`; or several channels of 16 bits each, of which Pillow keeps 8.
    """
    with _open_picture(path, max_pixels) as picture:
        if _has_deep_colours(picture):
            raise InvalidFileError("images with several channels of 16 bits where a map is expected", "save it as grey")
        picture, _ = _decoded_upright(picture, max_pixels)
        if picture.has_transparency_data:
            values = np.asarray(_in_mode(picture, "RGBA"))
            opacity = values[..., 3]
            return values[..., :3], None if bool((opacity == 255).all()) else opacity
        if picture.mode in ("L", "I", "F") or picture.mode.startswith("I;16"):
            return np.asarray(picture), None
        return np.asarray(_in_mode(picture, "L" if picture.mode == "1" else "RGB")), None


@contextmanager
def _open_picture(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """An image file opened by Pillow, not decoded yet; any failure is an InvalidFileError."""
    check_file(path, "an image")
    try:
        picture = Image.open(path, formats=_readable_formats())
    except UnidentifiedImageError as error:
        raise InvalidFileError("files that are not images", _NAMED_FORMATS) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(max_pixels) from error
    except PermissionError as error:
        raise InvalidFileError("files without permission to read") from error
    except Exception as error:
        raise _damaged(error) from error
    with picture:
        yield picture


def check_file(path: Path, expected: str = "a file") -> None:
    """Check that a path is a regular file, before it is opened: opening a pipe would block, and a device may never end.

    Args:
        path: The path to check.
        expected: What it should be, for the message.

    Raises:
        InvalidFileError: It does not exist (a broken or circular link, too), is empty, or is no regular file.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        kind = "links that lead nowhere" if path.is_symlink() else "files not found"
        raise InvalidFileError(kind) from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise InvalidFileError("files not found", reason(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise InvalidFileError(f"folders where {expected} is expected")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidFileError(f"pipes or devices where {expected} is expected")
    if not status.st_size:
        raise InvalidFileError("empty files")


@cache
def _readable_formats() -> tuple[str, ...]:
    """The supported formats that this build of Pillow can read."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def photo_of(picture: Image.Image, max_pixels: int = MAX_PIXELS) -> Photo:
    """The photo of an opened Pillow image, which is not changed; see :func:`read_photo`."""
    upright, remarks = _decoded_upright(picture, max_pixels)
    # Of PNG and PPM, Pillow's 32-bit mode holds 16 bits.
    is_16_bit_grey = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))
    if is_16_bit_grey:
        return Photo(np.repeat(eight_bits(np.asarray(upright))[..., None], 3, axis=2), remarks)
    return Photo(_rgb_on_white(upright), remarks)


def _has_deep_colours(picture: Image.Image) -> bool:
    """Whether an image that is not decoded yet has several channels of 16 bits, by its decoder's arguments."""
    tiles = [str(tile) for tile in getattr(picture, "tile", ())]
    sixteen = any(";16" in tile or f", {_SIXTEEN_BITS})" in tile for tile in tiles)
    return sixteen and not picture.mode.startswith("I")


def _check_tiff(picture: Image.Image) -> None:
    """Raise InvalidFileError for 16-bit TIFF files that Pillow 13 silently decodes to wrong pixels."""
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(BITSPERSAMPLE, (1,))
    if max(bits) <= 8:
        return
    if len(bits) > 1 and (tags.get(PLANAR_CONFIGURATION, 1), tags.get(COMPRESSION, 1)) == (2, 1):
        raise InvalidFileError("TIFF files with 16 bits in planes of their own", "save it as PNG, or compressed")
    if len(bits) == 1 and tags.get(PHOTOMETRIC_INTERPRETATION) == 0:
        raise InvalidFileError("TIFF files with 16 bits of grey in which 0 is white", "save it as PNG")


def _decoded_upright(picture: Image.Image, max_pixels: int) -> tuple[Image.Image, tuple[str, ...]]:
    """The decoded first frame, upright, and remarks on it."""
    check_extent(picture.width, picture.height, max_pixels)
    if not picture.width or not picture.height:
        raise InvalidFileError("images without a pixel")
    _check_tiff(picture)
    remarks = []
    try:
        # The further images of an MPO, a JPEG by some phones, belong to the first: brightness, depth, the other eye.
        if getattr(picture, "is_animated", False) and picture.format != "MPO":
            remarks.append("holds several frames or pages; the first one is taken")
        picture.load()
    except Exception as error:  # Pillow's decoders raise errors of any type
        raise _damaged(error) from error
    try:
        if picture.getexif().get(_ORIENTATION_TAG, 1) != 1:  # Pillow would copy an image that is upright already
            picture = ImageOps.exif_transpose(picture)
    except Exception:  # broken EXIF data; the pixels are good all the same
        remarks.append("has EXIF data that cannot be read; its orientation is not changed")
    return picture, tuple(remarks)


def check_extent(width: int, height: int, max_pixels: int) -> None:
    """Raise an InvalidFileError for more pixels than are allowed."""
    if width * height > max_pixels:
        raise _too_large(max_pixels, f"{width}x{height}")


def _exif_orientation(picture: Image.Image) -> int:
    """EXIF orientation of an image that is not decoded, 1 to 8; 1 where it is missing or invalid."""
    if picture.format == "PNG" and not _ORIENTATION_KEYS & picture.info.keys():
        return 1  # getexif would decode the pixels to look for EXIF data behind them
    try:
        orientation = int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF data, as in _decoded_upright
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """An image in a mode; not copied, as Pillow would, where it has that mode already."""
    return picture if picture.mode == mode else picture.convert(mode)


def _rgb_on_white(picture: Image.Image) -> _Pixels:
    """RGB, uint8 (height, width, 3), of a decoded image; transparent pixels are composited on white."""
    if picture.mode in ("I", "F"):
        raise InvalidFileError(
            "images with 32 bits per pixel, whose black and white are unknown", "save it with 8 or 16 bits"
        )
    try:
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            if np.asarray(layer)[..., 3].min() < 255:
                picture = Image.new("RGBA", layer.size, "white")
                picture.alpha_composite(layer)
        return np.asarray(_in_mode(picture, "RGB"))
    except ValueError as error:
        raise InvalidFileError("images whose colours cannot be converted to RGB", error) from error


def eight_bits(values: npt.NDArray[Any]) -> _Pixels:
    """Values of 0..65535 scaled to 0..255, rounded to nearest, uint8."""
    scaled = (values.astype(np.uint32) * 255 + _SIXTEEN_BITS // 2) // _SIXTEEN_BITS
    return scaled.astype(np.uint8)


def _too_large(max_pixels: int, detail: str = "") -> InvalidFileError:
    return InvalidFileError(f"images with more than {max_pixels} pixels", detail)


def reason(error: BaseException) -> str:
    """The first line of a library's error message, cut to 200 characters: a message may repeat a whole file."""
    line = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
    return line if len(line) <= 200 else f"{line[:200]} ..."


def _damaged(error: BaseException) -> InvalidFileError:
    return InvalidFileError("images that are cut short or damaged", reason(error))
