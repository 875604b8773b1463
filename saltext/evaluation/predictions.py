"""Predictions of any model as map files in a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saltext.baselines.base import resized
from saltext.data.files import IGNORED_FILES, MAP_ENDINGS, read_map, wrong_size
from saltext.data.geometry import Size
from saltext.data.ground_truth import GroundTruth, ImageTextPair
from saltext.data.index import DatasetIndex
from saltext.data.report import DataIssue, DataReport, Track, in_threads, same_form
from saltext.errors import DataError, InvalidFileError
from saltext.metrics import Fixations

ADVICE = (
    "Expected one map per pair, named like the pair, of the ground truth's size. --resize accepts other sizes, "
    "--allow-missing pairs without a prediction, --task chooses what is scored."
)
"""What to do about maps that cannot be scored."""


class FolderOfMaps:
    """A predictor that reads its maps from files, on demand.

    Args:
        files: Index of a pair -> its file.
    """

    def __init__(self, files: Mapping[int, Path]) -> None:
        self._files = files

    def covers(self, index: int) -> bool:
        """Whether the pair has a file."""
        return index in self._files

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The predictions, float32 or float64 ``(len(indices), 1, *size)``, resized where their size differs."""
        maps = []
        for index in indices:
            values = read_map(self._files[index])
            exact_type = np.result_type(values.dtype, np.float32)
            maps.append(resized(torch.from_numpy(values.astype(exact_type))[None, None], size))
        return torch.cat(maps)

    def ground_truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations] | None:
        """None: the predictions are scored against the pairs' own ground truth."""
        return None


def list_predictions(folder: Path, dataset: DatasetIndex, issues: DataReport) -> dict[int, Path]:
    """The files of a folder of predictions by the index of their pair; none is opened.

    A file is named like its pair (``ID.png``, ``ID_3.npy``; the stem of the map in a SALICON-style data set), and lies
    in the folder itself or in a sub-folder named like the pair's task or level. In the sub-folder of its task, it may
    be named like its image instead.

    Args:
        folder: Holds 8- or 16-bit grey images or ``.npy`` arrays.
        dataset: The data set that the maps predict.
        issues: Superfluous and ambiguous files are added to it.

    Returns:
        Index of a pair -> its file, of all pairs of the data set that have one.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"Expected predictions in {folder}, but there is no such folder. Give the folder of the maps.")
    pairs = list(enumerate(zip(dataset.pairs, dataset.levels, strict=True)))
    expected = {(pair.task, pair.image_id): index for index, (pair, _) in pairs}
    expected |= {(within, pair.name): index for index, (pair, part) in pairs for within in ("", pair.task, part)}
    expected = {(within, same_form(name)): index for (within, name), index in expected.items()}
    files: dict[int, Path] = {}
    for within, path in _files_with_subfolder(folder, dataset, issues):
        index = expected.get((within, same_form(path.relative_to(folder / within).with_suffix("").as_posix())))
        if path.suffix.lower() not in MAP_ENDINGS:
            issues.add(f"entries that are not {', '.join(MAP_ENDINGS)} files", str(path.relative_to(folder)))
        elif index is None:
            issues.add("files that match no pair of the data set", str(path.relative_to(folder)))
        elif index in files:
            issues.add("pairs with two predictions", f"{files[index].name} and {path.relative_to(folder)}")
        else:
            files[index] = path
    return files


def open_predictions(
    folder: Path,
    files: Mapping[int, Path],
    truth: GroundTruth,
    indices: Sequence[int],
    *,
    resize: bool,
    issues: DataReport,
    track: Track,
    constant: bool = True,
    advice: str = ADVICE,
) -> FolderOfMaps:
    """The predictions in a folder, after each was read once to check that it can be scored.

    Args:
        folder: The folder of the maps.
        files: See :func:`list_predictions`.
        truth: Ground truth of the whole data set.
        indices: Indices of the pairs to score.
        resize: Accept maps of another size than the ground truth.
        issues: Issues that :func:`list_predictions` found in the folder.
        track: Shows the progress of the check.
        constant: Accept maps with one value everywhere.
        advice: What to do about issues.

    Raises:
        DataError: Missing or invalid files, or other issues: all in one error.
    """
    missing = (truth.pairs[index] for index in indices if index not in files)
    issues.add("missing predictions", *(f"{_file_name(pair)}.png" for pair in missing))
    chosen = {index: files[index] for index in indices if index in files}

    def check(index: int) -> DataIssue | None:
        try:
            values = read_map(chosen[index])
            height, width = values.shape
            if not resize and (height, width) != truth.native_size(index):
                raise wrong_size((height, width), truth.native_size(index))
            if not constant and values.min() == values.max():
                raise InvalidFileError("maps with one value everywhere", f"{values.flat[0]:g}")
        except InvalidFileError as error:
            return DataIssue.of(chosen[index], error)
        return None

    for issue in in_threads(check, list(chosen), "checking predictions", track):
        if issue is not None:
            issues.add(*issue)
    issues.raise_if_any(f"The predictions in {folder}", advice)
    return FolderOfMaps(chosen)


def _file_name(pair: ImageTextPair) -> str:
    """Where a prediction is expected, without its ending; a name with a slash (own data) is no file name."""
    return f"{pair.task}/{pair.image_id}" if "/" in pair.name else pair.name


def _files_with_subfolder(folder: Path, dataset: DatasetIndex, issues: DataReport) -> list[tuple[str, Path]]:
    """Every file with the name of its sub-folder, which is empty for the folder itself."""
    known = {*(pair.task for pair in dataset.pairs), *dataset.levels}
    files: list[tuple[str, Path]] = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            files.append(("", path))
        elif path.name in known:
            files += [(path.name, inner) for inner in sorted(path.rglob("*")) if not inner.is_dir()]
        elif not path.name.startswith("."):
            issues.add("folders that are not a task or level of the data set", f"{path.name}/")
    return [
        (within, path) for within, path in files if not path.name.startswith(".") and path.name not in IGNORED_FILES
    ]
