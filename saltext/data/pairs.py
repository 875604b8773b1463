"""One image-text pair, whatever the data set."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class FixationPoints:
    """Fixations that stand in a table of the whole data set and not in a file of their own.

    Attributes:
        coordinates: (y, x) in pixels from 0, inside the image, int32 ``(n, 2)``; one listed twice counts twice.
    """

    coordinates: npt.NDArray[np.int32]

    @property
    def digest(self) -> str:
        """Of the content."""
        return hashlib.blake2b(np.ascontiguousarray(self.coordinates).tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Pair:
    """One image-text pair: an image, what was read before it, and where people then looked.

    Attributes:
        image_id: The published ID, leading zeros kept; equal for all conditions of one image.
        task: Name of the task (condition).
        text: The text that was read, outer white space removed; empty for free viewing.
        image: Picture file. Its pixels are those after its EXIF orientation is applied, and so are map and fixations.
        density: 8-bit grey file, the blurred fixations; or the deviation in pixels of the Gaussian to blur them with.
        fixations: File that is non-zero at the fixated pixels, another that
            :func:`saltext.data.files.read_fixations` reads, or the points themselves.
        name: Unique in the data set; of a published pair, the stem of its files.
        drop_outside: Whether fixations outside the image are left out. Otherwise the file that has one is refused.
    """

    image_id: str
    task: str
    text: str
    image: Path
    density: Path | float
    fixations: Path | FixationPoints
    name: str
    drop_outside: bool = False


@dataclass(frozen=True)
class FilePair(Pair):
    """A pair whose map and fixations are files, as data sets are published."""

    density: Path
    fixations: Path


@dataclass(frozen=True)
class Recording:
    """Where people looked in an image that need not be there; enough to score a map of it.

    Attributes: those of :class:`Pair`.
    """

    image_id: str
    task: str
    text: str
    density: Path
    fixations: Path
    name: str
    drop_outside: bool = False
