"""Ground truth of a data set in a folder; every file that the scores depend on is checked before scoring starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saltext.baselines.centre_prior import GRID, prior_of_others, sum_to_one
from saltext.data.density import grey_map
from saltext.data.digests import digest_files
from saltext.data.files import points_inside, read_fixations, read_map
from saltext.data.geometry import Size
from saltext.data.ground_truth import GroundTruth, fitted_blur, in_unit_range, indices_for_blur_fit
from saltext.data.index import DatasetIndex, Source
from saltext.data.pairs import FixationPoints, Pair, Recording
from saltext.data.recorded import density_map, image_size
from saltext.data.report import DataIssue, DataReport, Track, in_threads
from saltext.errors import InvalidFileError
from saltext.evaluation.score_cache import ScoreCache
from saltext.images import MAX_PIXELS, check_file, read_photo
from saltext.metrics.scores import one_thread_each

_MAX_CACHED_PIXELS = 2**25  # of decoded maps; several baselines ask for the same ones in turn
_CACHED_ARRAYS = ("sizes", "points", "point_starts", "totals")


class FileFixationData:
    """Fixation data whose maps are read, or blurred, on demand; only sizes and points are held in memory.

    Args:
        maps: For each pair, the file of its map, or the standard deviation in pixels of the Gaussian that blurs it.
        sizes: Index of a pair -> height and width; only these pairs can be used.
        points: Index of a pair -> (y, x) of its fixations, shape (n, 2).
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

        def read_or_blur(pair: int) -> npt.NDArray[Any]:
            source = maps[pair]
            return read_map(source) if isinstance(source, Path) else grey_map(points[pair], sizes[pair], source)

        self._cached_map = lru_cache(max(1, _MAX_CACHED_PIXELS // largest))(read_or_blur)

    def __len__(self) -> int:
        return len(self._maps)

    def native_size(self, pair: int) -> Size:
        """Height and width."""
        return self._sizes[pair]

    def native_density(self, pair: int) -> npt.NDArray[Any]:
        """The published map, see :func:`saltext.data.files.read_map`, or the blurred fixations with 8 bits."""
        return self._cached_map(pair)

    def points(self, pair: int) -> npt.NDArray[np.int32]:
        """(y, x) of the fixations, shape (n, 2)."""
        return self._points[pair]


@dataclass(frozen=True)
class DataSet:
    """Ground truth in a folder.

    Attributes:
        ground_truth: Of the whole data set.
        parts: Level of each pair, empty where the data set has none.
        depends_on: Digests of all content that was read, and the rules it was read by; empty where unknown.
    """

    ground_truth: GroundTruth
    parts: Sequence[str]
    depends_on: Sequence[Any] = ()


def open_data(source: Source, track: Track) -> DataSet:
    """The ground truth of a data set, after every file was read once.

    That includes the images, which scoring does not need but training does.

    Args:
        source: Its reader, see :func:`saltext.data.sources.detect.source_of`.
        track: Shows the progress of the check.

    Raises:
        DataError: The data set is missing or empty, or has invalid files, all in one error.
    """
    dataset = source.read()
    data = read_data(dataset, range(len(dataset.pairs)), (), ScoreCache(None), track)

    def invalid_image(path: Path) -> DataIssue | None:
        try:
            read_photo(path, MAX_PIXELS)
        except InvalidFileError as error:
            return DataIssue.of(path, error)
        return None

    issues = DataReport()
    paths = list(dict.fromkeys(pair.image for pair in dataset.pairs if isinstance(pair, Pair)))
    for issue in in_threads(invalid_image, paths, "checking images", track):
        if issue is not None:
            issues.add(*issue)
    issues.raise_if_any(f"The data set under {dataset.root}", "Replace these files.")
    return data


def needed(dataset: DatasetIndex, indices: Sequence[int]) -> list[int]:
    """Indices of all pairs that the scores of ``indices`` depend on, ascending.

    These are all pairs of the same conditions or images and, where the blur has to be fitted, the pairs it is fitted
    to.
    """
    tasks = {dataset.pairs[index].task for index in indices}
    images = {dataset.pairs[index].image_id for index in indices}
    related = {index for index, pair in enumerate(dataset.pairs) if pair.task in tasks or pair.image_id in images}
    return sorted(related.union(indices_for_blur_fit(len(dataset.pairs)) if dataset.blur is None and indices else ()))


def read_data(
    dataset: DatasetIndex, indices: Sequence[int], prior_of: Sequence[str], cache: ScoreCache, track: Track
) -> DataSet:
    """Ground truth of some pairs, from the cache or after each of their files was read once.

    Args:
        dataset: The data set.
        indices: Indices of the pairs, ascending; the ground truth of others cannot be used.
        prior_of: Conditions whose centre prior of other images is needed; ``indices`` has all their pairs.
        cache: Where sizes, fixations and sums of maps are cached.
        track: Shows the progress of the check.

    Raises:
        DataError: Invalid files, all in one error.
    """
    depends_on = _content_digests(dataset, indices, prior_of, cache)
    arrays = cache.get(depends_on, _CACHED_ARRAYS) if depends_on else None
    if arrays is None:
        arrays = _read_and_check(dataset, indices, prior_of, track)
        if depends_on:
            cache.put(depends_on, arrays)
    starts = arrays["point_starts"].tolist()
    sizes = {index: (height, width) for index, (height, width) in zip(indices, arrays["sizes"].tolist(), strict=True)}
    points = {index: arrays["points"][starts[row] : starts[row + 1]] for row, index in enumerate(indices)}
    fixation_data = FileFixationData([pair.density for pair in dataset.pairs], sizes, points)
    sigma = fitted_blur(fixation_data) if dataset.blur is None else dataset.blur.sigma
    truth = GroundTruth(dataset.pairs, fixation_data, sigma)
    prior_of_others(truth).totals.update(zip(prior_of, torch.from_numpy(arrays["totals"]), strict=True))
    return DataSet(truth, dataset.levels, depends_on)


def _content_digests(
    dataset: DatasetIndex, indices: Sequence[int], prior_of: Sequence[str], cache: ScoreCache
) -> list[Any]:
    """Everything the ground truth of the pairs depends on; empty without a cache, or where a file is invalid."""
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
        return []  # reading the file raises the error
    rows = []
    for index in indices:
        pair = dataset.pairs[index]
        density = digests[pair.density] if isinstance(pair.density, Path) else pair.density
        fixations = pair.fixations.digest if isinstance(pair.fixations, FixationPoints) else digests[pair.fixations]
        rows.append([index, pair.image_id, pair.task, bool(pair.text), density, fixations, pair.drop_outside])
    blur = "fitted" if dataset.blur is None else dataset.blur.name
    return [rows, sizes, list(prior_of), blur]


def _read_and_check(
    dataset: DatasetIndex, indices: Sequence[int], prior_of: Sequence[str], track: Track
) -> dict[str, npt.NDArray[Any]]:
    """The arrays named in ``_CACHED_ARRAYS``, read from the pairs' files.

    ``sizes`` int64 (pairs, 2); ``points`` int32, all pairs' (y, x) one after another, those of row ``i`` in
    ``point_starts[i] : point_starts[i + 1]``; ``totals`` float64, a sum of normalised maps for each of ``prior_of``.

    Raises:
        DataError: Invalid files, all in one error.
    """
    issues = DataReport()
    sizes: list[Size] = []
    points: list[npt.NDArray[np.int32]] = [np.zeros((0, 2), np.int32)]
    totals = {task: torch.zeros(1, *GRID, dtype=torch.float64) for task in prior_of}

    def read_pair(index: int) -> tuple[Size, npt.NDArray[np.int32], Tensor | None] | DataIssue:
        return _fixation_data_of_pair(dataset.pairs[index], dataset.pairs[index].task in totals)

    with one_thread_each(torch.device("cpu")):
        for index, result in zip(indices, in_threads(read_pair, indices, "checking ground truth", track), strict=True):
            if isinstance(result, DataIssue):
                issues.add(*result)
                continue
            size, pair_points, normalized = result
            sizes.append(size)
            points.append(pair_points)
            if normalized is not None:
                totals[dataset.pairs[index].task] += normalized
    issues.raise_if_any(f"The data set under {dataset.root}", "Replace these files.")
    return {
        "sizes": np.array(sizes, np.int64).reshape(-1, 2),
        "points": np.concatenate(points),
        "point_starts": np.cumsum([len(pair_points) for pair_points in points]),
        "totals": np.concatenate([np.zeros((0, 1, *GRID)), *(total[None].numpy() for total in totals.values())]),
    }


def _fixation_data_of_pair(
    pair: Pair | Recording, needs_normalized_map: bool
) -> tuple[Size, npt.NDArray[np.int32], Tensor | None] | DataIssue:
    """Size, fixations and, where needed, the map divided by its sum, after the same checks as in training."""
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
            points = points_inside(pair.fixations.coordinates, size, pair.drop_outside)
        else:
            path = pair.fixations
            points = read_fixations(path, size, drop_outside=pair.drop_outside)
    except InvalidFileError as error:
        return DataIssue.of(path, error)
    if not needs_normalized_map:
        return size, points, None
    if density is None and not isinstance(pair.density, Path):
        density = grey_map(points, size, pair.density)
    normalized = None if density is None else sum_to_one(in_unit_range(density)[None])
    return DataIssue("maps that are zero everywhere", pair.name) if normalized is None else (size, points, normalized)
