"""Images that show the same picture, though their files differ: other sizes, compression, brightness, or mirrored."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from saltext.data.kept_results import computed_once
from saltext.images import read_photo

HASH_BITS = 256
"""Bits of a difference hash. Two unrelated photographs differ in about half of them."""

_SIDE = 16  # rows and columns of the hash
_FORMAT = 1  # of the file of hashes


@dataclass(frozen=True)
class NearestImage:
    """The image of other images that is most like an image.

    Attributes:
        image: That image's file.
        distance: Differing bits of the two hashes, of :data:`HASH_BITS`.
    """

    image: Path
    distance: int


def difference_hash(path: Path) -> npt.NDArray[np.bool_]:
    """Difference hash (dHash) of an image: whether it gets brighter from each cell to the next one on the right.

    The image is shrunk to 16 rows of 17 grey cells, so that the hash does not change with its size, and hardly with
    compression, contrast or brightness.

    Args:
        path: Image file.

    Returns:
        Bool, shape ``(16, 16)``.

    Raises:
        InvalidFileError: The image cannot be read.
    """
    grey = Image.fromarray(read_photo(path).pixels).convert("L")
    cells = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), dtype=np.int16)
    return cells[:, 1:] > cells[:, :-1]


def nearest_images(images: Sequence[Path], others: Sequence[Path], cache_dir: Path) -> dict[Path, NearestImage]:
    """For each image, the one of others that is most like it, also mirrored.

    Args:
        images: Image files, at least one.
        others: Image files to compare with, at least one.
        cache_dir: Folder of a file that keeps the hashes by content; not written if it cannot be.

    Returns:
        Image -> the nearest of ``others``.

    Raises:
        InvalidFileError: An image cannot be read.
    """
    key = hashlib.blake2b(f"difference hash {_FORMAT}".encode(), digest_size=12).hexdigest()
    every = list(dict.fromkeys([*images, *others]))
    kept = computed_once(every, cache_dir / f"hashes-{key}.json", _as_text, _bits, "hashing images")
    ours = np.stack([_bits(kept[path]) for path in images])
    theirs = np.stack([_bits(kept[path]) for path in others])
    mirrored = ~theirs[:, :, ::-1]  # from right to left, brighter is darker; equal cells, which are rare, are missed
    distances = np.minimum(_differing_bits(ours, theirs), _differing_bits(ours, mirrored))
    nearest = distances.argmin(axis=1)
    return {
        path: NearestImage(others[at], int(distances[row, at]))
        for row, (path, at) in enumerate(zip(images, nearest.tolist(), strict=True))
    }


def _differing_bits(ours: npt.NDArray[np.bool_], theirs: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Number of differing bits of every pair of hashes, shape ``(len(ours), len(theirs))``."""
    left, right = (bits.reshape(len(bits), -1).astype(np.int64) for bits in (ours, theirs))
    counts: npt.NDArray[np.int64] = left @ (1 - right).T + (1 - left) @ right.T
    return counts


def _as_text(path: Path) -> str:
    """The hash of an image, in hexadecimal."""
    return np.packbits(difference_hash(path)).tobytes().hex()


def _bits(text: Any) -> npt.NDArray[np.bool_]:
    """The hash that :func:`_as_text` wrote; ValueError or TypeError for another value."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))
    return bits.reshape(_SIDE, _SIDE).astype(bool)
