"""Reader of OSIE: free viewing of 700 images by 15 viewers (Xu et al. 2014, Predicting human gaze beyond pixels)."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saltext.data.files import IMAGE_ENDINGS, pixels_of, read_mat
from saltext.data.geometry import Size
from saltext.data.index import BlurRule, DatasetIndex
from saltext.data.pairs import FixationPoints, Pair
from saltext.data.report import DataIssue, DataReport, files_by_stem, same_form
from saltext.data.sources.free_viewing import CONDITION, FreeViewing
from saltext.errors import DataError, InvalidFileError

SIGMA = 24.0
"""A degree of visual angle in pixels, by which its authors blur the fixations."""

_ADVICE = "Take the files of the published repository again, or fix or remove these."


@dataclass(frozen=True)
class Osie(FreeViewing):
    """OSIE as published: ``stimuli/1001.jpg`` to ``1700.jpg`` and ``eye/fixations.mat``, perhaps below ``data/``.

    The file lists, for each image, the fixations of each viewer: ``fixations{i}.img`` and
    ``fixations{i}.subjects{j}.fix_x``, ``fix_y``, in pixels counted from 1. It may also lie beside ``stimuli/``.
    Fixations outside their image are dropped.

    Attributes:
        root: Folder of the data set.
        sigma: Standard deviation in pixels of the Gaussian that blurs the fixations; no maps are published.
    """

    root: Path | str
    sigma: float = SIGMA

    def read(self) -> DatasetIndex:
        """All images that have fixations, sorted by name.

        Raises:
            DataError: The layout is missing, or images and fixations do not match. One error names all problems.
        """
        root = Path(self.root)
        files = _stimuli_and_fixations(root)
        if files is None:
            raise DataError(
                f"OSIE is not under {root}: expected stimuli/ and eye/fixations.mat (or both below data/). Put the "
                "published repository there, or point data.root (or OSIE_DATA) elsewhere."
            )
        stimuli, table = files
        issues = DataReport()
        images = files_by_stem(root, stimuli, IMAGE_ENDINGS, issues)
        recorded: dict[str, list[npt.NDArray[np.float64]]] = {}
        try:
            recorded = _recorded(table)
        except InvalidFileError as error:
            issues.add(*DataIssue.of(table, error))
        else:
            issues.add("images without fixations", *(images.keys() - recorded.keys()))
        issues.add("fixations without an image", *(recorded.keys() - images.keys()))
        pairs = []
        for name in sorted(images.keys() & recorded.keys()):
            viewers = ViewersInTable(tuple(recorded[name]))
            points = FixationPoints(viewers.everything())
            if not len(points.coordinates):
                issues.add("images without a fixation inside", name)
            pairs.append(Pair(name, CONDITION, "", images[name], float(self.sigma), points, name, True, viewers))
        issues.raise_if_any(f"OSIE under {root}", _ADVICE)
        rule = BlurRule(f"{self.sigma:g} pixels", partial(_fixed_sigma, float(self.sigma)))
        return DatasetIndex(root=root, pairs=pairs, conditions=self.conditions, blur=rule)


@dataclass(frozen=True, eq=False)
class ViewersInTable:
    """Viewers whose fixations a table of the whole data set lists.

    Attributes:
        of_viewers: (x, y) of each viewer, counted from 1.
    """

    of_viewers: tuple[npt.NDArray[np.float64], ...]

    def points(self, size: Size) -> list[npt.NDArray[np.int32]]:
        """See :class:`saltext.data.pairs.Viewers`."""
        return [inside(pixels_of(xy, counted_from=1), size) for xy in self.of_viewers]

    def everything(self) -> npt.NDArray[np.int32]:
        """(y, x) of all viewers' fixations, also outside the image, counted from 0, int32 (n, 2)."""
        pixels = [pixels_of(xy, counted_from=1) for xy in self.of_viewers]
        return np.concatenate([np.zeros((0, 2), np.int64), *pixels]).astype(np.int32)


def inside(points: npt.NDArray[np.integer], size: Size) -> npt.NDArray[np.int32]:
    """Those of some (y, x), counted from 0, that lie inside an image, int32 (n, 2)."""
    kept: npt.NDArray[np.int32] = points[((points >= 0) & (points < size)).all(axis=1)].astype(np.int32)
    return kept


def is_osie_layout(root: Path) -> bool:
    """Whether a folder has OSIE's layout."""
    return _stimuli_and_fixations(root) is not None


def _fixed_sigma(sigma: float, size: Size) -> float:
    """A blur in pixels that does not depend on the size of the image."""
    return sigma


def _stimuli_and_fixations(root: Path) -> tuple[Path, Path] | None:
    """The folder of images and the file of fixations."""
    for base in (root, root / "data"):
        for table in (base / "eye" / "fixations.mat", base / "fixations.mat"):
            if (base / "stimuli").is_dir() and table.is_file():
                return base / "stimuli", table
    return None


def _recorded(table: Path) -> dict[str, list[npt.NDArray[np.float64]]]:
    """Stem of an image -> (x, y) of each viewer, counted from 1.

    Raises:
        InvalidFileError: The file cannot be read, has another form, or lists an image twice.
    """
    content = read_mat(table, ["fixations"])
    found: dict[str, list[npt.NDArray[np.float64]]] = {}
    try:
        for of_image in np.atleast_1d(content["fixations"]):
            name = same_form(Path(str(of_image.img)).stem)
            if name in found:
                raise InvalidFileError("Matlab files that list an image twice", name)
            found[name] = [_coordinates(viewer) for viewer in np.atleast_1d(of_image.subjects)]
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, InvalidFileError):
            raise
        raise InvalidFileError(
            "Matlab files without fixations{i}.img and fixations{i}.subjects{j}.fix_x, fix_y", str(error)
        ) from error
    return found


def _coordinates(viewer: Any) -> npt.NDArray[np.float64]:
    """(x, y) of a viewer, float64 (n, 2); ValueError for other numbers of x than of y, or no numbers."""
    x, y = (np.atleast_1d(np.asarray(values, np.float64)).ravel() for values in (viewer.fix_x, viewer.fix_y))
    xy = np.stack([x, y], axis=1)
    if not np.isfinite(xy).all():
        raise ValueError("coordinates that are not finite")
    return xy
