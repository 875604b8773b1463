"""The one opener of pictures, which anybody may have made: read safely and upright, or refused with a reason.

Training, prediction, scoring and the demo page see the same pixels of a picture, since all of them open it here. A
picture's size and pixels are always those after its EXIF orientation is applied.
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
"""A larger picture or map is refused before it is decoded: it is more likely broken than meant."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "PPM")
"""What is opened. Pillow knows more formats, some of which it reads by starting other programs (EPS)."""

ENDINGS = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".tif", ".tiff", ".bmp", ".jp2", ".ppm", ".pgm", ".mpo")
)
"""Of the files that are taken from a folder. A file that is named itself may have any."""

_Pixels = npt.NDArray[np.uint8]
_Values = npt.NDArray[Any]

_SIXTEEN_BITS = 65535
_ORIENTATION = 0x0112  # the EXIF entry that says which way up a picture is
_ON_ITS_SIDE = range(5, 9)  # its values under which height and width change places
_SAY_ORIENTATION = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
_NAMED_FORMATS = "JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP, JPEG 2000 and PPM are read"


@dataclass(frozen=True)
class Photo:
    """A picture as a person sees it.

    Attributes:
        pixels: RGB, uint8 ``(height, width, 3)``, at the picture's own size, turned as its EXIF data say.
        remarks: What was decided on the way and should be said; often nothing.
    """

    pixels: _Pixels
    remarks: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def digest(self) -> str:
        """Of its pixels; made once."""
        shape = str(self.pixels.shape).encode()
        return hashlib.blake2b(shape + self.pixels.tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Head:
    """What the first bytes of a picture say.

    Attributes:
        size: Height and width of the upright picture.
        orientation: EXIF's, 1 to 8; 1 is a picture stored upright.
    """

    size: tuple[int, int]
    orientation: int = 1

    @property
    def shows_its_frame(self) -> bool:
        """Whether a file of the upright size cannot have been made for the picture as it is stored."""
        height, width = self.size
        return self.orientation == 1 or (self.orientation in _ON_ITS_SIDE and height != width)


def read_photo(path: Path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a picture file.

    * EXIF orientation is applied. Transparent pixels lie on white. Grey, palette and CMYK pictures become RGB.
    * 16 bits of grey, and of PPM, are scaled to 8: v / 257, to the nearest. Of 16 bits a colour in other formats Pillow
      keeps the upper 8, v // 256, which is at most one step below.
    * Of several frames or pages the first is taken, and a remark says so.
    * Size and format are checked in the file's head: nothing large is decoded to be refused.

    Args:
        path: The file.
        max_pixels: More are refused.

    Raises:
        InvalidFileError: Anything else: no file, no picture, damaged or cut short, more than ``max_pixels`` pixels, 32
            bits a pixel, or a TIFF of 16 bits that Pillow would misread.
    """
    with _opened(path, max_pixels) as picture:
        return photo_of(picture, max_pixels)


def read_head(path: Path, max_pixels: int = MAX_PIXELS) -> Head:
    """Size and orientation of a picture; nothing is decoded.

    Raises:
        InvalidFileError: As :func:`read_photo`, as far as the head tells.
    """
    with _opened(path, max_pixels) as picture:
        check_extent(picture.width, picture.height, max_pixels)
        orientation = _orientation(picture)
        height, width = picture.height, picture.width
    return Head((width, height) if orientation in _ON_ITS_SIDE else (height, width), orientation)


def read_values(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[_Values, _Values | None]:
    """The stored numbers of a map or of marked pixels: upright, not scaled, not composited.

    Args:
        path: The picture.
        max_pixels: More are refused.

    Returns:
        A grey picture's values, ``(height, width)``, uint8 of 1 and 8 bits (1 bit is 0 and 255), otherwise of whatever
        integer or float it holds; or the RGB of another one, uint8 ``(height, width, 3)``. Then its opacity, uint8
        ``(height, width)``, 255 where it is opaque; None for a picture that is opaque everywhere.

    Raises:
        InvalidFileError: As :func:`read_photo`; or several channels of 16 bits each, of which Pillow keeps 8.
    """
    with _opened(path, max_pixels) as picture:
        if _has_deep_colours(picture):
            raise InvalidFileError(
                "pictures with several channels of 16 bits where a map is expected", "save it as grey"
            )
        picture, _ = _decoded(picture, max_pixels)
        if picture.has_transparency_data:
            opacity = np.asarray(picture.convert("RGBA"))[..., 3]
            return np.asarray(picture.convert("RGB")), None if bool((opacity == 255).all()) else opacity
        if picture.mode in ("L", "I", "F") or picture.mode.startswith("I;16"):
            return np.asarray(picture), None
        return np.asarray(_in_mode(picture, "L" if picture.mode == "1" else "RGB")), None


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    check_file(path, "a picture")
    try:
        picture = Image.open(path, formats=_readable_formats())
    except UnidentifiedImageError as error:
        raise InvalidFileError("files that are no pictures", _NAMED_FORMATS) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(max_pixels) from error
    except PermissionError as error:
        raise InvalidFileError("files that may not be read") from error
    except Exception as error:
        raise _damaged(error) from error
    with picture:
        yield picture


def check_file(path: Path, expected: str = "a file") -> None:
    """Look before opening: to open a pipe would wait for whoever writes into it, and a device may never end.

    Args:
        path: What somebody named, or what lies in a folder.
        expected: What it should be, in words.

    Raises:
        InvalidFileError: It does not exist (a link to nothing, or in a circle), is empty, or is no regular file.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        kind = "links that lead nowhere" if path.is_symlink() else "files that are not there"
        raise InvalidFileError(kind) from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise InvalidFileError("files that cannot be found", reason(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise InvalidFileError(f"folders where {expected} is expected")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidFileError(f"pipes or devices where {expected} is expected")
    if not status.st_size:
        raise InvalidFileError("empty files")


@cache
def _readable_formats() -> tuple[str, ...]:
    """Pillow may be built without some."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def photo_of(picture: Image.Image, max_pixels: int = MAX_PIXELS) -> Photo:
    """An opened picture, which is not changed, as :func:`read_photo` reads one."""
    upright, remarks = _decoded(picture, max_pixels)
    # Of PNG and PPM, Pillow's 32-bit mode holds 16 bits.
    sixteen = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))
    pixels = _in_three(eight_bits(np.asarray(upright))) if sixteen else _rgb(upright)
    return Photo(pixels, remarks)


def _has_deep_colours(picture: Image.Image) -> bool:
    """Whether a picture that is not decoded yet has several channels of 16 bits, as its decoder is told."""
    told = [str(tile) for tile in getattr(picture, "tile", ())]
    sixteen = any(";16" in tile or f", {_SIXTEEN_BITS})" in tile for tile in told)
    return sixteen and not picture.mode.startswith("I")


def _refuse_misread(picture: Image.Image) -> None:
    """Of these Pillow 13 makes other pixels without a word."""
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(BITSPERSAMPLE, (1,))
    if max(bits) <= 8:
        return
    if len(bits) > 1 and (tags.get(PLANAR_CONFIGURATION, 1), tags.get(COMPRESSION, 1)) == (2, 1):
        raise InvalidFileError("TIFF files with 16 bits in planes of their own", "save it as PNG, or compressed")
    if len(bits) == 1 and tags.get(PHOTOMETRIC_INTERPRETATION) == 0:
        raise InvalidFileError("TIFF files with 16 bits of grey in which 0 is white", "save it as PNG")


def _decoded(picture: Image.Image, max_pixels: int) -> tuple[Image.Image, tuple[str, ...]]:
    """The first frame, upright, and what was decided on the way."""
    check_extent(picture.width, picture.height, max_pixels)
    if not picture.width or not picture.height:
        raise InvalidFileError("pictures without a pixel")
    _refuse_misread(picture)
    remarks = []
    try:
        if _has_frames(picture):
            remarks.append("holds several frames or pages; the first one is taken")
        picture.load()
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise _damaged(error) from error
    return _upright(picture, remarks), tuple(remarks)


def check_extent(width: int, height: int, max_pixels: int) -> None:
    """Raise an InvalidFileError for more pixels than are allowed."""
    if width * height > max_pixels:
        raise _too_large(max_pixels, f"{width}x{height}")


def _orientation(picture: Image.Image) -> int:
    if picture.format == "PNG" and not _SAY_ORIENTATION & picture.info.keys():
        return 1  # asked, Pillow would decode it to look behind its pixels
    try:
        found = int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # as in _upright
        return 1
    return found if 1 <= found <= 8 else 1


def _has_frames(picture: Image.Image) -> bool:
    # The further pictures of an MPO, a JPEG by some phones, belong to the first: brightness, depth, the other eye.
    return bool(getattr(picture, "is_animated", False)) and picture.format != "MPO"


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """A picture in a mode; not copied where it has that already, as Pillow would."""
    return picture if picture.mode == mode else picture.convert(mode)


def _upright(picture: Image.Image, remarks: list[str]) -> Image.Image:
    try:
        # Pillow copies a picture that is not turned.
        return ImageOps.exif_transpose(picture) if picture.getexif().get(_ORIENTATION, 1) != 1 else picture
    except Exception:  # as above; the pixels are good all the same
        remarks.append("has EXIF data that cannot be read; it is taken as it lies")
        return picture


def _rgb(picture: Image.Image) -> _Pixels:
    if picture.mode in ("I", "F"):
        raise InvalidFileError(
            "pictures with 32 bits a pixel, whose black and white are not known", "save it with 8 or 16 bits"
        )
    try:
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            if np.asarray(layer)[..., 3].min() < 255:
                picture = Image.new("RGBA", layer.size, "white")
                picture.alpha_composite(layer)
        return np.asarray(_in_mode(picture, "RGB"))
    except ValueError as error:
        raise InvalidFileError("pictures whose colours cannot be converted to RGB", error) from error


def _in_three(grey: _Pixels) -> _Pixels:
    return np.repeat(grey[..., None], 3, axis=2)


def eight_bits(values: npt.NDArray[Any]) -> _Pixels:
    """From 0..65535, to the nearest."""
    scaled = (values.astype(np.uint32) * 255 + _SIXTEEN_BITS // 2) // _SIXTEEN_BITS
    return scaled.astype(np.uint8)


def _too_large(max_pixels: int, detail: str = "") -> InvalidFileError:
    return InvalidFileError(f"pictures with more than {max_pixels} pixels", detail)


def reason(error: BaseException) -> str:
    """The first line of what a library says, which may repeat a whole file, in at most 200 characters."""
    said = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
    return said if len(said) <= 200 else f"{said[:200]} ..."


def _damaged(error: BaseException) -> InvalidFileError:
    return InvalidFileError("pictures that are cut short or damaged", reason(error))
