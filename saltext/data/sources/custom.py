"""Reader of your own data: images, texts, fixations, maps and a split, as a YAML file describes them."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from saltext.data.files import FIXATION_ENDINGS, IMAGE_ENDINGS, MAP_ENDINGS, pixels_of
from saltext.data.geometry import Size
from saltext.data.index import BlurRule, DatasetIndex
from saltext.data.pairs import FixationPoints, Pair
from saltext.data.paths import Spelling, matching
from saltext.data.recorded import issue
from saltext.data.report import DataIssue, DataReport, in_threads, is_unicode, same_form
from saltext.data.sources.custom_spec import ANY_ENDING, Description, Table, read_description
from saltext.data.splits import PARTS
from saltext.data.tables import Cells, read_cells
from saltext.errors import ConfigError, InvalidFileError, near
from saltext.images import MAX_PIXELS, Head, read_head

_log = logging.getLogger(__name__)

_ADVICE = "Fix these files or the description; docs/own-data.md says what is expected."

_Key = tuple[str, str]
"""Image ID and condition."""


@dataclass(frozen=True)
class _ImageFile:
    """An image file and its size."""

    path: Path
    size: Size


@dataclass(frozen=True)
class Custom:
    """Your own images, fixations and texts, described in a YAML file: docs/own-data.md.

    Attributes:
        description: The YAML file.
        root: Folder that the file's paths are relative to; its own by default.
        max_pixels: Maximum number of pixels of an image.

    Raises:
        ConfigError: No description is named.
    """

    description: Path | str
    root: Path | str = ""
    max_pixels: int = MAX_PIXELS
    published: ClassVar[str | None] = None
    conditions: ClassVar[Sequence[str] | None] = None

    def __post_init__(self) -> None:
        if not self.description:
            raise ConfigError(
                "data=own needs the file that describes your data: data.description=FILE (docs/own-data.md)"
            )
        object.__setattr__(self, "root", Path(self.root or Path(self.description).parent))

    def read(self) -> DatasetIndex:
        """Index the data set that the file describes.

        Headers of images and whole tables are read; no image is decoded.

        Raises:
            DataError: The description is invalid, files are missing, or images, texts, fixations, maps and split do not
                match. One error names all problems.
        """
        description = read_description(self.description, self.root)
        issues = DataReport()
        images = _read_images(description, self.max_pixels, issues)
        tables = _TableReader(description, images, issues)
        texts = tables.read_texts()
        parts = tables.read_split()
        fixations: Mapping[_Key, FixationPoints] | Mapping[_Key, Path] | None
        if isinstance(description.fixations, Table):
            fixations = tables.read_fixations(description.fixations)
        else:
            fixations = _find_fixation_files(description.fixations, description, images)
        pairs = []
        if texts is not None and fixations is not None:
            pairs = _build_pairs(description, images, texts, fixations, issues)
        issues.raise_if_any(f"The data set described in {description.path}", _ADVICE)
        level_of = {image_id: part for part, ids in (parts or {}).items() for image_id in ids}
        sigma = description.sigma
        return DatasetIndex(
            root=description.path,
            pairs=pairs,
            conditions=tuple(description.conditions),
            levels=[level_of.get(pair.image_id, "") for pair in pairs],
            parts=parts,
            blur=None if sigma is None else BlurRule(f"{sigma}", lambda _: sigma),
        )


def _read_images(description: Description, max_pixels: int, issues: DataReport) -> dict[str, _ImageFile]:
    """The images in a folder and its sub-folders, or of a pattern, by ID: the path below the folder without ending."""
    try:
        base, paths = matching(description.images)
        if paths and paths[0] == Path(description.images) and paths[0].is_dir():
            base, paths = matching(f"{description.images}/**")
    except InvalidFileError as error:
        issues.add(error.kind, error.detail)
        return {}
    paths = [path for path in paths if path.suffix.lower() in IMAGE_ENDINGS]
    if not paths:
        issues.add(f"folders or patterns without an image ({', '.join(IMAGE_ENDINGS)})", description.images)
    ids = [path.relative_to(base).with_suffix("").as_posix() for path in paths]
    issues.add("images that differ in their ending alone", *(name for name, count in Counter(ids).items() if count > 1))
    issues.add("names that are not UTF-8", *(name for name in ids if not is_unicode(name)))
    heads = in_threads(lambda path: _head_or_issue(path, max_pixels), paths, "", lambda results, _, __: results)
    images = {}
    for image_id, path, head in zip(ids, paths, heads, strict=True):
        size = (0, 0)  # an invalid image has no size, but its ID is known, so its texts and fixations cause no issue
        if isinstance(head, DataIssue):
            issues.add(*head)
        elif head.orientation != 1 and description.density is None:
            issues.add(
                "images rotated by EXIF data, which leaves x and y unclear (save them upright)",
                "/".join(path.parts[-2:]),
            )
        else:
            size = head.size
        images[image_id] = _ImageFile(path, size)
    return images


def _head_or_issue(path: Path, max_pixels: int) -> Head | DataIssue:
    """Size and orientation of an image, or why it is invalid."""
    try:
        return read_head(path, max_pixels)
    except InvalidFileError as error:
        return issue(path, error, max_pixels)


class _TableReader:
    """Reads the tables of a description, and checks that their names are those of images and conditions.

    Args:
        description: Names the tables.
        images: The images by ID.
        issues: Gets everything that is wrong with the tables.
    """

    def __init__(self, description: Description, images: Mapping[str, _ImageFile], issues: DataReport) -> None:
        self.description = description
        self.images = images
        self.issues = issues
        self.id_of_name: dict[str, str] = {}
        for image_id, image in images.items():
            # A table may name an image by its ID, by its ID with the ending, or by its path relative to the root.
            relative = Path(os.path.relpath(image.path, description.root)).as_posix()
            for name in (image_id, image_id + image.path.suffix, relative):
                self.id_of_name[same_form(name)] = image_id

    def read_texts(self) -> dict[_Key, str] | None:
        """The texts by image and condition; None, with issues, where the table is invalid."""
        table = self.description.texts
        if table is None:
            return {}
        rows = self._read_rows(table)
        if rows is None:
            return None
        with_text = [name for name, reads in self.description.conditions.items() if reads]
        rows = self._check_conditions(table, rows, with_text)
        empty, twice = rows["text"] == "", rows.duplicated(["image", "condition"])
        self.issues.add(f"rows of {table.path.name} without a text", *_line_numbers(rows[empty]))
        self.issues.add(f"rows of {table.path.name} with a second text for an image", *_line_numbers(rows[twice]))
        rows = rows[~empty & ~twice]
        keys = zip(rows["image"], rows["condition"], strict=True)
        return dict(zip(keys, rows["text"], strict=True))

    def read_fixations(self, table: Table) -> dict[_Key, FixationPoints] | None:
        """The fixations by image and condition; None, with issues, where the table is invalid."""
        rows = self._read_rows(table)
        if rows is None:
            return None
        rows = self._check_conditions(table, rows, list(self.description.conditions))
        xy = rows[["x", "y"]].to_numpy(np.float64)
        numbers = np.isfinite(xy).all(axis=1)
        self.issues.add(f"rows of {table.path.name} whose x and y are not numbers", *_line_numbers(rows[~numbers]))
        rows, indices = rows[numbers], pixels_of(xy[numbers], self.description.counted_from)
        inside = self._inside_images(rows, indices)
        rows, indices = rows[inside], indices[inside].astype(np.int32)
        groups = rows.groupby(["image", "condition"], sort=False).indices
        return {(str(key[0]), str(key[1])): FixationPoints(indices[rows_of_key]) for key, rows_of_key in groups.items()}

    def _inside_images(self, rows: pd.DataFrame, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether each point lies inside its image, as a mask; points outside are issues unless they are dropped.

        All points of an invalid image count as inside.
        """
        numbers, names = pd.factorize(rows["image"])
        sizes = np.array([self.images[name].size for name in names]).reshape(-1, 2)[numbers]
        inside = np.asarray(((indices >= 0) & (indices < sizes)).all(axis=1) | ~sizes.any(axis=1))
        outside = np.flatnonzero(~inside)
        if self.description.drop_outside:
            if len(outside):
                _log.info("left out %d of %d fixations, which lie outside their images", len(outside), len(inside))
            return inside
        images, first = np.unique(numbers[outside], return_index=True)
        outside_counts = np.bincount(numbers[outside], minlength=len(names))
        counts = np.bincount(numbers, minlength=len(names))
        for number, index in zip(images.tolist(), outside[first].tolist(), strict=True):
            (y, x), (height, width) = indices[index], sizes[index]
            details = f"{outside_counts[number]} of {counts[number]}, first x={x}, y={y} in {width}x{height}"
            self.issues.add("images with fixations outside them, counted from 0", f"{names[number]} ({details})")
        return inside

    def read_split(self) -> dict[str, list[str]] | None:
        """Image IDs of each part of the given split; None without one."""
        split = self.description.split
        if split is None:
            return None
        if isinstance(split, Table):
            rows = self._read_rows(split)
            return None if rows is None else self._images_by_part(list(zip(rows["image"], rows["part"], strict=True)))
        listed = [(name, part) for part, names in split.items() for name in names]
        known = [(self.id_of_name.get(same_form(name)), name, part) for name, part in listed]
        self.issues.add("names in split of no image", *(name for image_id, name, _ in known if not image_id))
        return self._images_by_part([(image_id, part) for image_id, _, part in known if image_id])

    def _images_by_part(self, named: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
        """Image IDs of each part, sorted.

        Args:
            named: Image ID and name of its part.
        """
        unknown = sorted({part for _, part in named} - set(PARTS))
        self.issues.add(f"parts of split other than {', '.join(PARTS)}", *(f"{p!r}{near(p, PARTS)}" for p in unknown))
        parts_of: dict[str, set[str]] = {image_id: set() for image_id in self.images}
        for image_id, part in named:
            parts_of[image_id].add(part)
        repeated = [image_id for image_id, parts in parts_of.items() if len(parts) > 1]
        self.issues.add("images in several parts of split", *repeated)
        self.issues.add("images in no part of split", *(image_id for image_id, parts in parts_of.items() if not parts))
        images_of: dict[str, list[str]] = {
            part: sorted(image_id for image_id, parts in parts_of.items() if part in parts) for part in PARTS
        }
        self.issues.add("parts of split without an image", *(part for part in ("train", "test") if not images_of[part]))
        return images_of

    def _read_rows(self, table: Table) -> pd.DataFrame | None:
        """The used columns of a table under our own names, images by ID; None, with issues, where it is invalid."""
        name = table.path.name
        try:
            cells = read_cells(table.path)
        except InvalidFileError as error:
            self.issues.add(*DataIssue.of(table.path, error, name))
            return None
        columns = self._column_indices(table, cells)
        if columns is None:
            return None
        rows = pd.DataFrame(
            {
                what: cells.numbers(column) if what in ("x", "y") else [cell or "" for cell in column]
                for what, column in ((what, cells.column(number)) for what, number in columns.items())
            },
            index=pd.Index(cells.lines),
        )
        if "x" not in rows:  # equal rows of fixations are valid: a pixel may be fixated twice
            repeated = pd.DataFrame(list(map(list, cells.rows)), index=rows.index).duplicated()
            self.issues.add(f"rows of {name} that repeat another", *_line_numbers(rows[repeated]))
            rows = rows[~repeated]
        given = rows["image"].map(same_form)
        known = given.isin(self.id_of_name.keys())
        self.issues.add(f"names in {name} of no image", *rows["image"][~known].unique())
        return rows[known].assign(image=given[known].map(self.id_of_name))

    def _column_indices(self, table: Table, cells: Cells) -> dict[str, int] | None:
        """Our name of a column -> its index, of the used columns; None, with an issue, where some are missing."""
        headings = dict(table.columns)
        if not table.needs_condition and cells.column_index(headings.get("condition", "")) is None:
            headings.pop("condition", None)
        indices = {what: cells.column_index(heading) for what, heading in headings.items()}
        absent = [headings[what] for what, index in indices.items() if index is None]
        kind = f"columns that {table.path.name} has not (it has {', '.join(cells.heading)})"
        self.issues.add(kind, *(f"{column!r}{near(column, cells.heading)}" for column in absent))
        return None if absent else {what: index for what, index in indices.items() if index is not None}

    def _check_conditions(self, table: Table, rows: pd.DataFrame, possible: Sequence[str]) -> pd.DataFrame:
        """The rows with a valid condition; where only one is possible, the column is optional."""
        if "condition" not in rows:
            return rows.assign(condition=possible[0])
        known = rows["condition"].isin(possible)
        unknown = rows["condition"][~known].unique()
        kind = f"conditions in {table.path.name} other than {', '.join(possible)}"
        self.issues.add(kind, *(f"{name!r}{near(name, possible)}" for name in unknown))
        return rows[known]


def _line_numbers(rows: pd.DataFrame) -> list[str]:
    """The line numbers of rows in their file, for issues."""
    return [f"line {number}" for number in rows.index]


def _find_fixation_files(pattern: str, description: Description, images: Collection[str]) -> dict[_Key, Path]:
    """The existing fixation files by image and condition."""
    spelling = Spelling()
    keys = [(image_id, condition) for image_id in images for condition in description.conditions]
    files = {key: _find_file(pattern, key, FIXATION_ENDINGS, spelling) for key in keys}
    return {key: path for key, path in files.items() if path is not None}


def _find_file(pattern: str, key: _Key, endings: Collection[str], spelling: Spelling) -> Path | None:
    """The file of an image under a condition, if it exists."""
    name = pattern.replace("{condition}", key[1]).replace("{image}", key[0])
    stem = name.removesuffix(ANY_ENDING)
    candidates = [Path(stem + ending) for ending in endings] if stem != name else [Path(name)]
    return next((path for candidate in candidates if (path := spelling.find(candidate)) is not None), None)


def _build_pairs(
    description: Description,
    images: Mapping[str, _ImageFile],
    texts: Mapping[_Key, str],
    fixations: Mapping[_Key, FixationPoints] | Mapping[_Key, Path],
    issues: DataReport,
) -> list[Pair]:
    """One pair for each image and condition with fixations, sorted by image, conditions in their order.

    Images without fixations, fixations without their text or map, and texts without fixations are issues.
    """
    order, spelling = list(description.conditions), Spelling()
    fixated = {image_id for image_id, _ in fixations}
    issues.add("images without fixations", *(image_id for image_id in images if image_id not in fixated))
    textless = [key for key in fixations if description.conditions[key[1]] and key not in texts]
    issues.add("fixations without a text", *map(_image_and_condition, textless))
    issues.add("texts without fixations", *(_image_and_condition(key) for key in texts if key not in fixations))
    pairs = []
    for key in sorted(fixations, key=lambda key: (key[0], order.index(key[1]))):
        density: Path | float | None = description.sigma
        if description.density is not None:
            density = _find_file(description.density, key, MAP_ENDINGS, spelling)
        if density is None:
            issues.add("fixations without a map", _image_and_condition(key))
            continue
        image_id, condition = key
        pairs.append(
            Pair(
                image_id=image_id,
                task=condition,
                text=texts.get(key, ""),
                image=images[image_id].path,
                density=density,
                fixations=fixations[key],
                name=f"{image_id}/{condition}" if len(order) > 1 else image_id,
                drop_outside=description.drop_outside,
            )
        )
    return pairs


def _image_and_condition(key: _Key) -> str:
    return f"{key[0]} ({key[1]})"
