"""Data sets in folders, checked completely before anything is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from saltext.data.density import grey_map, sigma_for
from saltext.data.described import find_described
from saltext.data.description import read_description
from saltext.data.faults import Fault, Faults, Track, in_threads
from saltext.data.files import read_fixations, read_map
from saltext.data.geometry import Size
from saltext.data.pairs import Pair, Points, Recording
from saltext.data.recorded import density_map, image_size
from saltext.data.salicon import LEVELS, find_recordings, levels_of
from saltext.data.sjtu_tis import is_published_layout, read_index
from saltext.data.synthetic import generated_sigma, is_generated
from saltext.data.truth import Truth, fitted_blur
from saltext.errors import DataError, UnusableError
from saltext.images import MAX_PIXELS

Layout = Literal["auto", "sjtu-tis", "salicon", "own"]

_KEPT_PIXELS = 2**25  # of decoded maps; several baselines ask for the same ones in turn


class FileRecords:
    """Recordings whose maps are read, or made, when asked for; only sizes and points are held.

    Args:
        maps: Of each pair, the file of its map, or the deviation in pixels of the Gaussian that makes it.
        sizes: Height and width of each.
        points: (y, x) of the fixations of each, shape (n, 2).
    """

    def __init__(
        self, maps: Sequence[Path | float], sizes: Sequence[Size], points: Sequence[npt.NDArray[np.int32]]
    ) -> None:
        self._maps = maps
        self._sizes = sizes
        self._points = points
        largest = max((height * width for height, width in sizes), default=1)
        self._kept = lru_cache(max(1, _KEPT_PIXELS // largest))(self._made)

    def _made(self, pair: int) -> npt.NDArray[Any]:
        source = self._maps[pair]
        return read_map(source) if isinstance(source, Path) else grey_map(self._points[pair], self._sizes[pair], source)

    def __len__(self) -> int:
        return len(self._maps)

    def native_size(self, pair: int) -> Size:
        """Height and width."""
        return self._sizes[pair]

    def native_density(self, pair: int) -> npt.NDArray[Any]:
        """The map as published, see :func:`saltext.data.files.read_map`, or with 8 bits as it is made."""
        return self._kept(pair)

    def points(self, pair: int) -> npt.NDArray[np.int32]:
        """(y, x) of the fixations, shape (n, 2)."""
        return self._points[pair]


@dataclass(frozen=True)
class DataSet:
    """Ground truth in a folder.

    Attributes:
        truth: All of it.
        parts: Level of each pair, empty where the data set has none.
    """

    truth: Truth
    parts: Sequence[str]


def open_data(root: Path, layout: Layout, track: Track) -> DataSet:
    """The ground truth under ``root``.

    Args:
        root: Folder of the data set, or the file that describes it.
        layout: ``sjtu-tis``: as published. ``salicon``: ``maps/`` and ``fixations/`` with files of equal stems
            (:mod:`saltext.data.files` says which), or these below or above a level ``train``, ``val``, ``test``.
            ``own``: as a YAML file describes it (docs/own-data.md). ``auto`` looks.
        track: Shows how far the check of all files is.

    Raises:
        DataError: Not there, empty, or files that cannot be used, all in one error.
    """
    if not root.exists():
        raise DataError(
            f"Expected a data set under {root}, but there is no such folder. Give the folder it lies in, or the YAML "
            "file that describes it (docs/own-data.md)."
        )
    if layout == "auto":
        layout = _detected(root)
    if layout == "own":
        return _described(root, track)
    if layout == "sjtu-tis":
        pairs = read_index(root)
        sigma = generated_sigma if is_generated(root) else sigma_for
        return DataSet(Truth(pairs, _records(root, pairs, track), sigma), [""] * len(pairs))
    levels = {one.name: (level, one) for level, recordings in find_recordings(root).items() for one in recordings}
    parts, recordings = zip(*(levels[name] for name in sorted(levels)), strict=True)
    records = _records(root, recordings, track)
    return DataSet(Truth(recordings, records, fitted_blur(records)), parts)


def _described(path: Path, track: Track) -> DataSet:
    found = find_described(read_description(path), MAX_PIXELS)
    records = _records(path, found.pairs, track)
    levels = {image_id: part for part, ids in (found.parts or {}).items() for image_id in ids}
    sigma = found.sigma
    blur = fitted_blur(records) if sigma is None else lambda _: sigma
    return DataSet(Truth(found.pairs, records, blur), [levels.get(pair.image_id, "") for pair in found.pairs])


def _detected(root: Path) -> Layout:
    if root.is_file():
        return "own"
    if is_published_layout(root):
        return "sjtu-tis"
    if levels_of(root) != [""] or (root / "maps").is_dir():
        return "salicon"
    raise DataError(
        f"Expected a data set under {root}: image_1800/ map_1800/ fixation_1800/ and the workbook (SJTU-TIS), or "
        f"maps/ and fixations/ (SALICON-style; a level {', '.join(LEVELS)} may be below or above), but none of these "
        "folders is there. Give the folder that holds them."
    )


def _records(root: Path, pairs: Sequence[Pair | Recording], track: Track) -> FileRecords:
    """Recordings after every file was read once."""
    faults = Faults()
    sizes: list[Size] = []
    points: list[npt.NDArray[np.int32]] = []
    for found in in_threads(_recorded, pairs, "checking ground truth", track):
        if isinstance(found, Fault):
            faults.add(*found)
        else:
            sizes.append(found[0])
            points.append(found[1])
    faults.refuse(f"The data set under {root}", "Replace these files.")
    return FileRecords([pair.density for pair in pairs], sizes, points)


def _recorded(pair: Pair | Recording) -> tuple[Size, npt.NDArray[np.int32]] | Fault:
    """Size and fixations, after the same checks as training makes."""
    path = pair.image if isinstance(pair, Pair) else pair.density
    try:
        if isinstance(pair, Pair):
            size = image_size(pair, MAX_PIXELS)
            if isinstance(pair.density, Path):
                path = pair.density
                density_map(path, size, MAX_PIXELS)
        else:
            height, width = density_map(path, None, MAX_PIXELS).shape
            size = height, width
        if isinstance(pair.fixations, Points):
            return size, pair.fixations.places
        path = pair.fixations
        return size, read_fixations(path, size, drop_outside=pair.drop_outside)
    except UnusableError as error:
        return Fault.of(path, error)
