"""Image-text pairs of any data set."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from saltext.data.geometry import Size


@dataclass(frozen=True, eq=False)
class FixationPoints:
    """Fixations of one pair from a table of the whole data set, not from a separate file.

    Attributes:
        coordinates: (y, x) in pixels from 0, inside the image, int32 ``(n, 2)``; one listed twice counts twice.
    """

    coordinates: npt.NDArray[np.int32]

    @property
    def digest(self) -> str:
        """Digest of the coordinates."""
        return hashlib.blake2b(np.ascontiguousarray(self.coordinates).tobytes(), digest_size=16).hexdigest()


class Viewers(Protocol):
    """The fixations of one pair by the person who made them."""

    def points(self, size: Size) -> list[npt.NDArray[np.int32]]:
        """Fixations of each viewer inside an image of some size.

        Args:
            size: Height and width of the image.

        Returns:
            For each viewer, (y, x) in pixels from 0, int32 ``(n, 2)``; n may be 0.

        Raises:
            InvalidFileError: A file of them cannot be read.
        """


@dataclass(frozen=True)
class Pair:
    """One image-text pair: an image, the text that was read before it, and the fixations and map of the viewing.

    Attributes:
        image_id: The published ID, leading zeros kept; equal for all conditions of one image.
        task: Name of the task (condition).
        text: The text that was read, without outer white space; empty for free viewing.
        image: Image file. Map and fixations refer to its pixels after its EXIF orientation is applied.
        density: Grey picture or ``.npy`` of the blurred fixations; or the standard deviation in pixels of the Gaussian
            to blur them with.
        fixations: File that is non-zero at the fixated pixels, another that
            :func:`saltext.data.files.read_fixations` reads, or the points themselves.
        name: Unique in the data set; of a published pair, the stem of its files.
        drop_outside: Whether fixations outside the image are dropped. Otherwise a file that has one is invalid.
        viewers: Whose the fixations are; None where the data set does not say.
    """

    image_id: str
    task: str
    text: str
    image: Path
    density: Path | float
    fixations: Path | FixationPoints
    name: str
    drop_outside: bool = False
    viewers: Viewers | None = None


@dataclass(frozen=True)
class FilePair(Pair):
    """A pair whose map and fixations are files, as in published data sets."""

    density: Path
    fixations: Path


@dataclass(frozen=True)
class Recording:
    """A pair without its image file: map and fixations, which are enough to score a prediction.

    Attributes: those of :class:`Pair`.
    """

    image_id: str
    task: str
    text: str
    density: Path
    fixations: Path
    name: str
    drop_outside: bool = False
