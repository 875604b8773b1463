"""Reader of MIT1003: free viewing of 1003 images by 15 viewers (Judd et al., Learning to predict ..., ICCV 2009)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saltext.data.files import IMAGE_ENDINGS, pixels_of, read_mat
from saltext.data.gaze import fixations_of
from saltext.data.geometry import Size
from saltext.data.index import DatasetIndex
from saltext.data.pairs import FilePair
from saltext.data.report import DataReport, files_by_stem
from saltext.data.sources.free_viewing import CONDITION, FreeViewing
from saltext.data.sources.osie import inside
from saltext.errors import DataError, InvalidFileError

SAMPLES_PER_SECOND, PIXELS_PER_DEGREE = 240, 34
"""Rate of the eye tracker, and pixels in a degree of visual angle at its screen of 1024 pixels."""

_IMAGES, _MAPS, _GAZE = "ALLSTIMULI", "ALLFIXATIONMAPS", "DATA"
_MAP, _POINTS = "_fixMap", "_fixPts"
_ADVICE = "Unpack the published archives again, or fix or remove these files."


@dataclass(frozen=True)
class Mit1003(FreeViewing):
    """MIT1003 as published: ``ALLSTIMULI/NAME.jpeg``, ``ALLFIXATIONMAPS/NAME_fixMap.jpg`` and ``NAME_fixPts.jpg``.

    The last two are the blurred map and the fixations of all viewers. ``DATA/VIEWER/NAME.mat`` has the gaze
    recording of a viewer, from which fixations are found where they are needed by viewer; it may be left out.

    Attributes:
        root: Folder of the data set.
    """

    root: Path | str

    def read(self) -> DatasetIndex:
        """All images, sorted by name.

        Raises:
            DataError: The layout is missing, or images, maps and fixations do not match. One error names all problems.
        """
        root = Path(self.root)
        if not is_mit1003_layout(root):
            raise DataError(
                f"MIT1003 is not under {root}: expected the folders {_IMAGES}/ and {_MAPS}/. Put the published "
                "archives there, unpacked, or point data.root (or MIT1003_DATA) elsewhere."
            )
        issues = DataReport()
        images = files_by_stem(root, root / _IMAGES, IMAGE_ENDINGS, issues)
        files = files_by_stem(root, root / _MAPS, (".jpg", ".jpeg"), issues)
        maps, points = (
            {stem.removesuffix(kind): path for stem, path in files.items() if stem.endswith(kind)}
            for kind in (_MAP, _POINTS)
        )
        issues.add(f"images without a map in {_MAPS}/", *(images.keys() - maps.keys()))
        issues.add(f"images without fixations in {_MAPS}/", *(images.keys() - points.keys()))
        issues.add(f"files of {_MAPS}/ without an image", *((maps.keys() | points.keys()) - images.keys()))
        if not images and not issues.names:
            raise DataError(f"MIT1003 under {root} is empty: {_IMAGES}/ holds no images. Put them there.")
        issues.raise_if_any(f"MIT1003 under {root}", _ADVICE)
        viewers = sorted(path for path in (root / _GAZE).iterdir() if path.is_dir()) if (root / _GAZE).is_dir() else []
        pairs = []
        for name in sorted(images):
            recordings = tuple(path for folder in viewers if (path := folder / f"{name}.mat").is_file())
            by_viewer = RecordedViewers(recordings) if len(recordings) > 1 else None
            pairs.append(FilePair(name, CONDITION, "", images[name], maps[name], points[name], name, viewers=by_viewer))
        return DatasetIndex(root=root, pairs=pairs, conditions=self.conditions)


@dataclass(frozen=True)
class RecordedViewers:
    """Viewers with a file each: a structure named like the image, whose ``DATA.eyeData`` are (x, y) of each sample.

    The fixation that was there when the image appeared is left out, as the data set's authors do.

    # DISCREPANCY: their code (checkFixations.m) detects fixations by acceleration, here they are detected by
    # velocity; coordinates count from 1 in both. Only halves of the viewers depend on it, never the fixations that
    # predictions are scored against, which are the published ones.

    Attributes:
        files: One for each viewer.
    """

    files: tuple[Path, ...]

    def points(self, size: Size) -> list[npt.NDArray[np.int32]]:
        """See :class:`saltext.data.pairs.Viewers`."""
        found = []
        for path in self.files:
            gaze = _read_gaze(path)
            xy = fixations_of(gaze, samples_per_second=SAMPLES_PER_SECOND, pixels_per_degree=PIXELS_PER_DEGREE)
            found.append(inside(pixels_of(xy[1:], counted_from=1), size))
        return found


def is_mit1003_layout(root: Path) -> bool:
    """Whether a folder has MIT1003's layout."""
    return (root / _IMAGES).is_dir() and (root / _MAPS).is_dir()


def _read_gaze(path: Path) -> npt.NDArray[np.float64]:
    """(x, y) of each sample of a recording, float64 (n, 2)."""
    variables = list(read_mat(path).values())
    try:
        (recording,) = variables
        data: Any = np.atleast_1d(recording.DATA)[0]
        samples = np.asarray(data.eyeData, np.float64)
        return samples[:, :2].reshape(-1, 2)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise InvalidFileError("Matlab files without DATA.eyeData, (x, y) of each sample", path.name) from error
