"""The files that ``saltext predict`` writes, and the table that lists them.

``OUT/density/NAME.npy`` (float32 (height, width), sums to 1; as PNG 16 bits, the largest value is 65535),
``OUT/overlay/NAME.png``, ``OUT/panel/NAME.png`` for an image with several texts, and ``OUT/predictions.csv``. With
explanations also ``OUT/explanation/NAME.png`` for each text, and ``OUT/explanations.csv``.
"""

import csv
import io
import logging
from collections import deque
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from PIL import Image

from saltext import storage
from saltext.console import progress
from saltext.data.report import DataReport
from saltext.errors import ConfigError, DamagedFileError, DataError, InvalidFileError, printable
from saltext.images import Photo, reason
from saltext.prediction.inputs import Request
from saltext.prediction.model import Density, Model
from saltext.prediction.photos import open_photo
from saltext.prediction.phrases import parts
from saltext.prediction.pictures import (
    COMPRESS_LEVEL,
    PANEL_SIDE,
    ImageRecord,
    TextMaps,
    overlay,
    shrink_density,
    shrink_image,
    write_density,
    write_picture,
)
from saltext.prediction.texts import TextQuery

_log = logging.getLogger(__name__)

KINDS = ("density", "overlay", "panel")
"""Kinds of result files."""
_COLUMNS = ("image", "text", "task", *KINDS)
_EXPLAINED = ("image", "text", "task", "part", "moved", "moved_with_neutral_word", "explanation")
PANEL_TEXTS = 8
"""Maximum number of texts in an image's panel."""


@dataclass(frozen=True)
class Output:
    """Which files to write, and where.

    Attributes:
        folder: ``OUT`` above.
        kinds: Some of :data:`KINDS`.
        ending: Ending of density maps, ``npy`` or ``png``.
        explains: Whether to explain each text, too, see :meth:`saltext.prediction.model.Model.explain`.
    """

    folder: Path
    kinds: Sequence[str] = KINDS
    ending: str = "npy"
    explains: bool = False

    @property
    def explanations(self) -> Path:
        """The table of what each phrase and word of a text moves."""
        return self.folder / "explanations.csv"

    def explanation(self, name: str) -> Path:
        """The picture of a text's explanation."""
        return self.path("explanation", name)

    @property
    def table(self) -> Path:
        """The table that lists all written files."""
        return self.folder / "predictions.csv"

    def path(self, kind: str, name: str) -> Path:
        """The file of a result of one kind."""
        return self.folder / kind / f"{name}.{self.ending if kind == 'density' else 'png'}"

    def panel(self, request: Request) -> Path | None:
        """The file of an image's panel; None for a single text."""
        return self.path("panel", request.name) if "panel" in self.kinds and len(request.queries) > 1 else None

    def of_text(self, name: str) -> dict[str, Path]:
        """The files of an image and one of its texts, by kind."""
        return {kind: self.path(kind, name) for kind in ("density", "overlay") if kind in self.kinds}

    def paths(self, request: Request) -> list[Path]:
        """Every file that is written for an image."""
        panel = self.panel(request)
        of_texts = [path for name in request.results for path in self.of_text(name).values()]
        if self.explains:
            of_texts += map(self.explanation, request.results)
        return of_texts if panel is None else [*of_texts, panel]


def predict(model: Model, wanted: Sequence[Request], output: Output, *, batch_size: int = 8) -> None:
    """Predict all requests and write the results.

    Args:
        model: The model that predicts.
        wanted: Valid requests, see :mod:`saltext.prediction.inputs`.
        output: Which files to write, and where.
        batch_size: Image-text pairs per forward pass.

    Raises:
        ConfigError: A file to write is one of the images, the folder cannot be written to, or a model that reads no
            text is to be explained.
        DataError: At the end: files that could not be written, such as one whose name is too long.
    """
    if output.explains and not model.reads_text:
        raise ConfigError(f"--explain: {model.name} reads no text: there is nothing to explain")
    replaced = {path.relative_to(output.folder).as_posix() for request in wanted for path in output.paths(request)}
    table = _Table(output.table, _COLUMNS, len(KINDS), replaced)
    explained = _Table(output.explanations, _EXPLAINED, 1, replaced)
    _check_and_create_folders(output, wanted, table)
    issues = DataReport()
    try:
        for request, photo, densities in _photos_with_densities(model, wanted, batch_size):
            table.rows.writerows(_write_results(output, request, photo, densities, issues))
            if output.explains:
                explained.rows.writerows(_write_explanations(model, output, request, photo, issues))
    finally:  # the tables also list what was written before an error
        table.write()
        if output.explains:
            explained.write()
    issues.raise_if_any("Some of the results", "All others were written, and are in predictions.csv.")


class _Table:
    """A table of results that is written once at the end, with the rows of earlier calls whose files stay.

    Args:
        path: The table's file.
        columns: Its head.
        files: How many of the last columns name a file of the table's folder, or are empty.
        replaced: Files that are written again.
    """

    def __init__(self, path: Path, columns: Sequence[str], files: int, replaced: Set[str]) -> None:
        self._path = path
        self._stream = io.StringIO(newline="")
        self.rows = csv.writer(self._stream)
        self.rows.writerow(columns)
        for row in self._earlier_rows(columns):
            written = {name for name in row[-files:] if name}
            if written and not written & replaced and all((path.parent / name).is_file() for name in written):
                self.rows.writerow(row)

    def _earlier_rows(self, columns: Sequence[str]) -> list[list[str]]:
        try:
            head, *rows = csv.reader(io.StringIO(storage.read_text(self._path), newline=""))
        except (DamagedFileError, ValueError, csv.Error):  # there is none, or it is no table
            return []
        return [row for row in rows if len(row) == len(columns)] if head == list(columns) else []

    def write(self) -> None:
        """Write it; a name that is not UTF-8 is escaped."""
        storage.write_bytes(self._path, self._stream.getvalue().encode("utf-8", "backslashreplace"))


def _write_explanations(
    model: Model, output: Output, request: Request, photo: Photo, issues: DataReport
) -> Iterator[list[str]]:
    """Explain the texts of an image, and yield the rows of their table; texts without words have none."""
    for query, name in zip(request.queries, request.results, strict=True):
        if not parts(query.text):
            continue
        explanation = model.explanation(photo, query, request.image.name)
        path = output.explanation(name)
        with _write_errors_as_issues(path, issues):
            explanation.write(path)
        for words, moved, moved_replaced in explanation.rows():
            yield [
                str(request.image), query.text, query.task or "", words, f"{moved:.4f}", f"{moved_replaced:.4f}",
                path.relative_to(output.folder).as_posix(),
            ]  # fmt: skip


def _photos_with_densities(
    model: Model, wanted: Sequence[Request], batch_size: int
) -> Iterator[tuple[Request, Photo, Iterator[Density]]]:
    """Each image with the densities of its texts, which have to be consumed before the next image."""
    opened: deque[Photo] = deque()  # a batch ahead of what is written

    def queries() -> Iterator[tuple[Photo, TextQuery]]:
        for request in wanted:
            try:
                photo = open_photo(request.image)
            except InvalidFileError as error:
                raise DataError(f"{request.image} changed after it was checked: {error}") from error
            for remark in photo.remarks:
                _log.warning("%s %s", printable(str(request.image)), remark)
            opened.append(photo)
            yield from ((photo, query) for query in request.queries)

    densities = model.densities(queries(), batch_size=batch_size)
    for request in progress(wanted, "predicting", len(wanted)):
        of_request = islice(densities, len(request.queries))
        first = next(of_request)  # opens the image
        yield request, opened.popleft(), chain([first], of_request)


def _check_and_create_folders(output: Output, wanted: Sequence[Request], table: _Table) -> None:
    images = {request.image.resolve() for request in wanted}
    overwritten = [str(path) for request in wanted for path in output.paths(request) if path.resolve() in images]
    if overwritten:
        raise ConfigError(f"{overwritten[0]} is an input image and would be overwritten. Choose another --out.")
    try:
        for kind in (*output.kinds, *["explanation"] * output.explains):
            (output.folder / kind).mkdir(parents=True, exist_ok=True)
        table.write()
    except OSError as error:
        raise ConfigError(f"--out: {output.folder} cannot be written to ({error}). Choose another folder.") from error


def _write_results(
    output: Output, request: Request, photo: Photo, densities: Iterator[Density], issues: DataReport
) -> Iterator[list[str]]:
    """Write all files of an image, and yield its rows of the table, which name the written files."""
    panel = output.panel(request)
    thumbnail = shrink_image(photo.pixels, PANEL_SIDE)
    panel_maps: list[TextMaps] = []
    rows = []
    for query, name, density in zip(request.queries, request.results, densities, strict=True):
        written = {}
        for kind, path in output.of_text(name).items():
            with _write_errors_as_issues(path, issues):
                if kind == "density":
                    write_density(path, density)
                else:
                    with storage.replacing(path) as part:
                        overlaid = Image.fromarray(overlay(photo.pixels, density))
                        overlaid.save(part, "PNG", compress_level=COMPRESS_LEVEL)
                written[kind] = path
        if panel is not None and len(panel_maps) < PANEL_TEXTS:
            panel_maps.append(TextMaps(query.text, shrink_density(density, thumbnail), name=query.task or ""))
        rows.append((query, written))
    if panel is not None:
        with _write_errors_as_issues(panel, issues):
            write_picture([ImageRecord(request.image.name, thumbnail, panel_maps)], panel, side=PANEL_SIDE)
            for _, written in rows:
                written["panel"] = panel
    for query, written in rows:
        files = [written[kind].relative_to(output.folder).as_posix() if kind in written else "" for kind in KINDS]
        yield [str(request.image), query.text, query.task or "", *files]


@contextmanager
def _write_errors_as_issues(path: Path, issues: DataReport) -> Iterator[None]:
    """Add a file that cannot be written to ``issues``, so that the others are still written."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: of a name that no file can have
        issues.add("files that cannot be written", f"{path} ({reason(error)})")
