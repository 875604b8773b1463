"""Data sets in folders, all of whose files that are needed are checked before anything is scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saltext.baselines.centre_prior import GRID, prior_of_others, sum_to_one
from saltext.data.cache import digest_files
from saltext.data.density import grey_map
from saltext.data.files import read_fixations, read_map
from saltext.data.geometry import Size
from saltext.data.ground_truth import GroundTruth, fitted_blur, in_unit_range, indices_for_blur_fit
from saltext.data.index import DatasetIndex, Layout
from saltext.data.pairs import FixationPoints, Pair, Recording
from saltext.data.recorded import density_map, image_size
from saltext.data.report import DataIssue, DataReport, Track, in_threads
from saltext.data.sources.detect import source_of
from saltext.errors import InvalidFileError
from saltext.evaluation.score_cache import ScoreCache
from saltext.images import MAX_PIXELS, check_file, read_photo
from saltext.metrics.scores import one_thread_each

_KEPT_PIXELS = 2**25  # of decoded maps; several baselines ask for the same ones in turn
_KEPT = ("sizes", "points", "point_starts", "totals")


class FileFixationData:
    """Recordings whose maps are read, or made, when asked for; only sizes and points are held.

    Args:
        maps: Of each pair, the file of its map, or the deviation in pixels of the Gaussian that makes it.
        sizes: Height and width of each that will be asked for, by its index.
        points: (y, x) of the fixations of each, shape (n, 2).
    """

    def __init__(
        self,
        maps: Sequence[Path | float],
        sizes: Mapping[int, Size],
        points: Mapping[int, npt.NDArray[np.int32]],
    ) -> None:
        self._maps = maps
        self._sizes = sizes
        self._points = points
        largest = max((height * width for height, width in sizes.values()), default=1)
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
        depends_on: Digests of the content of all that was read, and by what rules; empty where that is not known.
    """

    truth: GroundTruth
    parts: Sequence[str]
    depends_on: Sequence[Any] = ()


def open_data(root: Path, layout: Layout | Literal["auto"], track: Track) -> DataSet:
    """The ground truth under ``root``, all of whose files are read once, images as well.

    Args:
        root: Folder of the data set, or the YAML file that describes it.
        layout: See :func:`saltext.data.sources.detect.source_of`.
        track: Shows how far the check of all files is.

    Raises:
        DataError: Not there, empty, or files that cannot be used, all in one error.
    """
    dataset = source_of(root, layout).read()
    found = read_data(dataset, range(len(dataset.pairs)), (), ScoreCache(None), track)
    _check_images(dataset, track)
    return found


def _check_images(dataset: DatasetIndex, track: Track) -> None:
    """Decode every image, which scoring does without and training cannot."""

    def issue_of(path: Path) -> DataIssue | None:
        try:
            read_photo(path, MAX_PIXELS)
        except InvalidFileError as error:
            return DataIssue.of(path, error)
        return None

    issues = DataReport()
    paths = list(dict.fromkeys(pair.image for pair in dataset.pairs if isinstance(pair, Pair)))
    for found in in_threads(issue_of, paths, "checking images", track):
        if found is not None:
            issues.add(*found)
    issues.raise_if_any(f"The data set under {dataset.root}", "Replace these files.")


def needed(dataset: DatasetIndex, indices: Sequence[int]) -> list[int]:
    """Which pairs the scores of some depend on: those of their conditions and those of their images.

    And those that decide the blur, where that has to be found.
    """
    tasks = {dataset.pairs[index].task for index in indices}
    images = {dataset.pairs[index].image_id for index in indices}
    wanted = {index for index, pair in enumerate(dataset.pairs) if pair.task in tasks or pair.image_id in images}
    return sorted(wanted.union(indices_for_blur_fit(len(dataset.pairs)) if dataset.blur is None and indices else ()))


def read_data(
    dataset: DatasetIndex, indices: Sequence[int], prior_of: Sequence[str], cache: ScoreCache, track: Track
) -> DataSet:
    """Sizes and fixations of some pairs, after every file of theirs was read once, now or when they were kept.

    Args:
        dataset: The data set.
        indices: Of the pairs, ascending; of others nothing can be asked.
        prior_of: Conditions of which the centre prior of other images is needed; all their pairs are among ``indices``.
        cache: Where what was found is kept.
        track: Shows how far the check of all files is.

    Raises:
        DataError: Files that cannot be used, all in one error.
    """
    depends_on = _contents(dataset, indices, prior_of, cache)
    kept = cache.get(depends_on, _KEPT) if depends_on else None
    if kept is None:
        kept = _read(dataset, indices, prior_of, track)
        if depends_on:
            cache.put(depends_on, kept)
    starts = kept["point_starts"].tolist()
    sizes = {index: (height, width) for index, (height, width) in zip(indices, kept["sizes"].tolist(), strict=True)}
    points = {index: kept["points"][starts[row] : starts[row + 1]] for row, index in enumerate(indices)}
    records = FileFixationData([pair.density for pair in dataset.pairs], sizes, points)
    truth = GroundTruth(dataset.pairs, records, fitted_blur(records) if dataset.blur is None else dataset.blur.sigma)
    prior_of_others(truth).totals.update(zip(prior_of, torch.from_numpy(kept["totals"]), strict=True))
    return DataSet(truth, dataset.levels, depends_on)


def _contents(dataset: DatasetIndex, indices: Sequence[int], prior_of: Sequence[str], cache: ScoreCache) -> list[Any]:
    """What all that can be asked of a data set depends on; empty where nothing is kept, or a file is not there."""
    if cache.folder is None or not indices:
        return []
    files = [
        (kind, source)
        for index in indices
        for kind, source in (("density", dataset.pairs[index].density), ("fixations", dataset.pairs[index].fixations))
        if isinstance(source, Path)
    ]
    try:
        for _, path in files:
            check_file(path)
        sizes = [image_size(pair, MAX_PIXELS) for index in indices if isinstance(pair := dataset.pairs[index], Pair)]
        digests = digest_files(files, dataset.root, cache.folder)
    except (InvalidFileError, OSError):
        return []  # it is refused when it is read
    rows = []
    for index in indices:
        pair = dataset.pairs[index]
        density = digests[pair.density] if isinstance(pair.density, Path) else pair.density
        fixations = pair.fixations.digest if isinstance(pair.fixations, FixationPoints) else digests[pair.fixations]
        rows.append([index, pair.image_id, pair.task, bool(pair.text), density, fixations, pair.drop_outside])
    blur = "fitted" if dataset.blur is None else dataset.blur.name
    return [rows, sizes, list(prior_of), blur]


def _read(
    dataset: DatasetIndex, indices: Sequence[int], prior_of: Sequence[str], track: Track
) -> dict[str, npt.NDArray[Any]]:
    """The arrays named in ``_KEPT``."""
    issues = DataReport()
    sizes: list[Size] = []
    points: list[npt.NDArray[np.int32]] = [np.zeros((0, 2), np.int32)]
    totals = {task: torch.zeros(1, *GRID, dtype=torch.float64) for task in prior_of}

    def recorded(index: int) -> tuple[Size, npt.NDArray[np.int32], Tensor | None] | DataIssue:
        return _recorded(dataset.pairs[index], dataset.pairs[index].task in totals)

    with one_thread_each(torch.device("cpu")):
        for index, found in zip(indices, in_threads(recorded, indices, "checking ground truth", track), strict=True):
            if isinstance(found, DataIssue):
                issues.add(*found)
                continue
            size, of_pair, normalized = found
            sizes.append(size)
            points.append(of_pair)
            if normalized is not None:
                totals[dataset.pairs[index].task] += normalized
    issues.raise_if_any(f"The data set under {dataset.root}", "Replace these files.")
    return {
        "sizes": np.array(sizes, np.int64).reshape(-1, 2),
        "points": np.concatenate(points),
        "point_starts": np.cumsum([len(of_pair) for of_pair in points]),
        "totals": np.concatenate([np.zeros((0, 1, *GRID)), *(total[None].numpy() for total in totals.values())]),
    }


def _recorded(pair: Pair | Recording, shared: bool) -> tuple[Size, npt.NDArray[np.int32], Tensor | None] | DataIssue:
    """Size, fixations and, where it is wanted, the map divided by its sum, after the same checks as training makes."""
    path = pair.image if isinstance(pair, Pair) else pair.density
    try:
        density: npt.NDArray[Any] | None = None
        if isinstance(pair, Pair):
            size = image_size(pair, MAX_PIXELS)
            if isinstance(pair.density, Path):
                path = pair.density
                density = density_map(path, size, MAX_PIXELS)
        else:
            density = density_map(path, None, MAX_PIXELS)
            size = density.shape[0], density.shape[1]
        if isinstance(pair.fixations, FixationPoints):
            points = pair.fixations.coordinates
        else:
            path = pair.fixations
            points = read_fixations(path, size, drop_outside=pair.drop_outside)
    except InvalidFileError as error:
        return DataIssue.of(path, error)
    if not shared:
        return size, points, None
    if density is None and not isinstance(pair.density, Path):
        density = grey_map(points, size, pair.density)
    normalized = None if density is None else sum_to_one(in_unit_range(density)[None])
    return DataIssue("maps that are zero everywhere", pair.name) if normalized is None else (size, points, normalized)
