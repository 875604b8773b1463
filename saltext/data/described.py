"""Finds the data set that a description describes: images, texts, fixations, maps and a division, checked together."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from saltext.data.description import ANY_ENDING, Description, Table
from saltext.data.faults import Fault, Faults, in_threads
from saltext.data.files import FIXATION_ENDINGS, IMAGE_ENDINGS, MAP_ENDINGS, UnusableError
from saltext.data.geometry import Size
from saltext.data.pairs import Found, Pair, Points
from saltext.data.splits import PARTS
from saltext.errors import near

_log = logging.getLogger(__name__)

_FAR = 2**31
_TURNED = 0x0112  # the EXIF entry that says which way up a picture is
_ADVICE = "Mend these files or the description; docs/own-data.md says what is expected."

_Key = tuple[str, str]
"""Image ID and condition."""


@dataclass(frozen=True)
class _Picture:
    """An image file and what its head says."""

    path: Path
    size: Size


def find_described(description: Description, max_pixels: int) -> Found:
    """The data set that a description describes.

    Heads of images and whole tables are read here, nothing is decoded.

    Args:
        description: What to look for.
        max_pixels: A larger image is refused.

    Raises:
        DataError: Files are missing or cannot be used, or images, texts, fixations, maps and division do not belong
            together. One error names all problems.
    """
    faults = Faults()
    pictures = _pictures(description, max_pixels, faults)
    tables = _Tables(description, pictures, faults)
    texts, parts, source = tables.texts(), tables.parts(), description.fixations
    fixations = tables.points(source) if isinstance(source, Table) else _files(source, description, pictures)
    pairs = []
    if texts is not None and fixations is not None:
        _check_belonging(description, pictures, texts, fixations, faults)
        pairs = _pairs(description, pictures, texts, fixations, faults)
    faults.refuse(f"The data set described in {description.path}", _ADVICE)
    return Found(pairs, parts, description.sigma)


def _pictures(description: Description, max_pixels: int, faults: Faults) -> dict[str, _Picture]:
    """The images by ID: the path below their folder, without its ending."""
    base, paths = _image_files(description.images)
    if not paths:
        faults.add(f"places without an image ({', '.join(IMAGE_ENDINGS)})", description.images)
    ids = [path.relative_to(base).with_suffix("").as_posix() for path in paths]
    faults.add("images that differ in their ending alone", *(name for name, count in Counter(ids).items() if count > 1))
    heads = in_threads(lambda path: _head(path, max_pixels), paths, "", lambda results, _, __: results)
    found = {}
    for image_id, path, head in zip(ids, paths, heads, strict=True):
        if isinstance(head, Fault):
            faults.add(*head)
        # An image that cannot be used has no size, but what belongs to it is not unknown.
        found[image_id] = _Picture(path, (0, 0) if isinstance(head, Fault) else head)
    return found


def _image_files(images: str) -> tuple[Path, list[Path]]:
    """The folder that IDs start from, and the images in it (also in folders inside), sorted."""
    folder = Path(images)
    pattern = str(Path(glob.escape(images)) / "**" / "*") if folder.is_dir() else images
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), folder.parts))
    base = folder if folder.is_dir() else fixed if glob.has_magic(images) else folder.parent
    found = (Path(name) for name in glob.glob(pattern, recursive=True))  # noqa: PTH207 - also from the root of a disk
    return base, sorted(path for path in found if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())


def _head(path: Path, max_pixels: int) -> Size | Fault:
    """Height and width, or why the image cannot be used."""
    name = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > max_pixels:
                return Fault(f"pictures with more than data.max_pixels={max_pixels} pixels", name)
            # A PNG would have to be decoded to know.
            if picture.format != "PNG" and picture.getexif().get(_TURNED, 1) != 1:
                return Fault("pictures that EXIF data turn, so that x and y are in doubt (save them upright)", name)
            return picture.height, picture.width
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Fault(f"pictures with more than data.max_pixels={max_pixels} pixels", name)
    except (OSError, SyntaxError, ValueError) as error:
        return Fault.of(path, UnusableError("files that cannot be read", error))


class _Tables:
    """Reads the tables of a description; every name in them has to be that of an image or a condition."""

    def __init__(self, description: Description, pictures: Mapping[str, _Picture], faults: Faults) -> None:
        self.description = description
        self.pictures = pictures
        self.faults = faults
        self.names = {
            name: image_id for image_id, picture in pictures.items() for name in self._names(image_id, picture)
        }

    def _names(self, image_id: str, picture: _Picture) -> Iterator[str]:
        """What an image may be called: its ID, the same with its ending, its path from the description's root."""
        yield image_id
        yield image_id + picture.path.suffix
        yield Path(os.path.relpath(picture.path, self.description.root)).as_posix()

    def texts(self) -> dict[_Key, str] | None:
        """What was read; None after noting why the table cannot be used."""
        table = self.description.texts
        if table is None:
            return {}
        rows = self._rows(table)
        if rows is None:
            return None
        reading = [name for name, reads in self.description.conditions.items() if reads]
        rows = self._of_conditions(table, rows, reading)
        empty, twice = rows["text"] == "", rows.duplicated(["image", "condition"])
        self.faults.add(f"rows of {table.path.name} without a text", *_lines(rows[empty]))
        self.faults.add(f"rows of {table.path.name} with a second text for an image", *_lines(rows[twice]))
        rows = rows[~empty & ~twice]
        keys = zip(rows["image"], rows["condition"], strict=True)
        return dict(zip(keys, rows["text"], strict=True))

    def points(self, table: Table) -> dict[_Key, Points] | None:
        """Where people looked; None after noting why the table cannot be used."""
        rows = self._rows(table)
        if rows is None:
            return None
        rows = self._of_conditions(table, rows, list(self.description.conditions))
        xy = rows[["x", "y"]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64) - self.description.counted_from
        numbers = np.isfinite(xy).all(axis=1)
        self.faults.add(f"rows of {table.path.name} whose x and y are no numbers", *_lines(rows[~numbers]))
        places = np.floor(xy[:, ::-1]).clip(-_FAR, _FAR)  # y, x; what is not even near an image fits a whole number
        rows, places = rows[numbers], places[numbers].astype(np.int64)
        inside = self._inside(rows, places)
        rows, places = rows[inside], places[inside].astype(np.int32)
        groups = rows.groupby(["image", "condition"], sort=False).indices
        return {(str(key[0]), str(key[1])): Points(places[where]) for key, where in groups.items()}

    def _inside(self, rows: pd.DataFrame, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which points lie in their image; of an image that cannot be used, all."""
        numbers, names = pd.factorize(rows["image"])
        sizes = np.array([self.pictures[name].size for name in names]).reshape(-1, 2)[numbers]
        inside = np.asarray(((places >= 0) & (places < sizes)).all(axis=1) | ~sizes.any(axis=1))
        outside = np.flatnonzero(~inside)
        if self.description.drop_outside:
            if len(outside):
                _log.info("left out %d of %d fixations, which lie outside their images", len(outside), len(inside))
            return inside
        which, first = np.unique(numbers[outside], return_index=True)
        counts = np.bincount(numbers[outside], minlength=len(names)), np.bincount(numbers, minlength=len(names))
        for number, place in zip(which.tolist(), outside[first].tolist(), strict=True):
            (y, x), (height, width) = places[place], sizes[place]
            where = f"{counts[0][number]} of {counts[1][number]}, first x={x}, y={y} in {width}x{height}"
            self.faults.add("images with fixations outside them, counted from 0", f"{names[number]} ({where})")
        return inside

    def parts(self) -> dict[str, list[str]] | None:
        """Image IDs of each part of the given division."""
        split = self.description.split
        if split is None:
            return None
        if isinstance(split, Table):
            rows = self._rows(split)
            return None if rows is None else self._divided(list(zip(rows["image"], rows["part"], strict=True)))
        listed = [(name, part) for part, names in split.items() for name in names]
        self.faults.add("names in split that are no image's", *(name for name, _ in listed if name not in self.names))
        return self._divided([(self.names[name], part) for name, part in listed if name in self.names])

    def _divided(self, named: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
        strange = sorted({part for _, part in named} - set(PARTS))
        self.faults.add(f"parts of split other than {', '.join(PARTS)}", *(f"{p!r}{near(p, PARTS)}" for p in strange))
        of_image: dict[str, set[str]] = {image_id: set() for image_id in self.pictures}
        for image_id, part in named:
            of_image[image_id].add(part)
        self.faults.add(
            "images in several parts of split", *(name for name, parts in of_image.items() if len(parts) > 1)
        )
        self.faults.add("images in no part of split", *(name for name, parts in of_image.items() if not parts))
        divided: dict[str, list[str]] = {
            part: sorted(name for name, parts in of_image.items() if part in parts) for part in PARTS
        }
        self.faults.add("parts of split without an image", *(part for part in ("train", "test") if not divided[part]))
        return divided

    def _rows(self, table: Table) -> pd.DataFrame | None:
        """The used columns of a table by what they are, images by ID; None after noting why it cannot be used."""
        name = table.path.name
        try:
            cells = _cells(table.path)
        except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
            self.faults.add("tables that cannot be read", f"{name} ({str(error).splitlines()[0]})")
            return None
        heading = [str(cell).strip() for cell in cells.iloc[0]]
        columns = self._columns(table, heading)
        if columns is None:
            return None
        cells = cells.iloc[1:].map(str.strip)
        cells = cells[(cells != "").any(axis=1)]
        if set(heading) - set(columns.values()) or "x" not in columns:
            # Where nothing but places is told, two people may well have looked at one pixel.
            self.faults.add(f"rows of {name} that repeat another", *_lines(cells[cells.duplicated()]))
            cells = cells.drop_duplicates()
        rows = pd.DataFrame({what: cells[heading.index(column)] for what, column in columns.items()})
        known = rows["image"].isin(self.names.keys())
        self.faults.add(f"names in {name} that are no image's", *rows["image"][~known].unique())
        return rows[known].assign(image=rows["image"][known].map(self.names))

    def _columns(self, table: Table, heading: Sequence[str]) -> dict[str, str] | None:
        """What a column is -> its heading, of those to use; None after noting which are absent."""
        columns = dict(table.columns)
        if not table.needs_condition and columns.get("condition") not in heading:
            columns.pop("condition", None)
        absent = [column for column in columns.values() if column not in heading]
        kind = f"columns that {table.path.name} has not (it has {', '.join(heading)})"
        self.faults.add(kind, *(f"{column!r}{near(column, heading)}" for column in absent))
        return None if absent else columns

    def _of_conditions(self, table: Table, rows: pd.DataFrame, possible: Sequence[str]) -> pd.DataFrame:
        """The rows with a condition; where only one is possible, a table need not say it."""
        if "condition" not in rows:
            return rows.assign(condition=possible[0])
        known = rows["condition"].isin(possible)
        strange = rows["condition"][~known].unique()
        expected = f"conditions in {table.path.name} other than {', '.join(possible)}"
        self.faults.add(expected, *(f"{name!r}{near(name, possible)}" for name in strange))
        return rows[known]


def _cells(path: Path) -> pd.DataFrame:
    """All cells of a CSV as text, its heading first; separated by what its heading has most of: , ; or a tab.

    A row that is too short ends with empty cells, one that is too long cannot be read.
    """
    with path.open(encoding="utf-8-sig") as stream:
        first = stream.readline()
    separator = max(",;\t", key=first.count)
    return pd.read_csv(
        path,
        sep=separator,
        header=None,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,  # the index tells the line
        encoding="utf-8-sig",
    )


def _lines(rows: pd.DataFrame) -> list[str]:
    """Where rows stand in their file; a text with line breaks makes that inexact."""
    return [f"line {number + 1}" for number in rows.index]


def _files(pattern: str, description: Description, pictures: Mapping[str, _Picture]) -> dict[_Key, Path]:
    """The fixation files that are there."""
    keys = [(image_id, condition) for image_id in pictures for condition in description.conditions]
    found = {key: _located(pattern, key, FIXATION_ENDINGS) for key in keys}
    return {key: path for key, path in found.items() if path is not None}


def _located(pattern: str, key: _Key, endings: Collection[str]) -> Path | None:
    """The file of an image under a condition, if it is there."""
    name = pattern.replace("{image}", key[0]).replace("{condition}", key[1])
    stem = name.removesuffix(ANY_ENDING)
    candidates = [Path(stem + ending) for ending in endings] if stem != name else [Path(name)]
    return next((path for path in candidates if path.is_file()), None)


def _check_belonging(
    description: Description,
    pictures: Collection[str],
    texts: Collection[_Key],
    fixations: Collection[_Key],
    faults: Faults,
) -> None:
    """Every image was looked at, everything looked at after a text has that text, and every text was read."""
    seen = {image_id for image_id, _ in fixations}
    faults.add("images without fixations", *(name for name in pictures if name not in seen))
    reads = description.conditions
    faults.add("fixations without a text", *(_named(key) for key in fixations if reads[key[1]] and key not in texts))
    faults.add("texts without fixations", *(_named(key) for key in texts if key not in fixations))


def _named(key: _Key) -> str:
    return f"{key[0]} ({key[1]})"


def _pairs(
    description: Description,
    pictures: Mapping[str, _Picture],
    texts: Mapping[_Key, str],
    fixations: Mapping[_Key, Points] | Mapping[_Key, Path],
    faults: Faults,
) -> list[Pair]:
    """One pair for each image and condition with fixations, sorted by image, conditions in their order."""
    order = list(description.conditions)
    pairs = []
    for key in sorted(fixations, key=lambda key: (key[0], order.index(key[1]))):
        density = _density(description, key)
        if density is None:
            faults.add("fixations without a map", _named(key))
            continue
        image_id, condition = key
        name = f"{image_id}/{condition}" if len(order) > 1 else image_id
        picture, text = pictures[image_id].path, texts.get(key, "")
        pairs.append(Pair(image_id, condition, text, picture, density, fixations[key], name, description.drop_outside))
    return pairs


def _density(description: Description, key: _Key) -> Path | float | None:
    """The file of a map, the blur that makes it, or None for a file that is not there."""
    return description.sigma if description.density is None else _located(description.density, key, MAP_ENDINGS)
