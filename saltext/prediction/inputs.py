"""Inputs of ``saltext predict``: images, texts, and tables of both, checked before anything is predicted."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from saltext.data.files import IGNORED_FILES
from saltext.data.paths import matching, spelled
from saltext.data.report import DataIssue, DataReport, Track, in_threads
from saltext.data.tables import read_cells
from saltext.data.tasks import TASK_BY_NAME
from saltext.errors import InvalidFileError
from saltext.images import ENDINGS
from saltext.prediction.photos import open_photo
from saltext.prediction.texts import TextQuery, checked

COLUMNS = ("image", "text")
"""Required columns of a table of texts."""

TASK = "task"
"""Optional column of a table of texts: the conditions."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Request:
    """An image and the texts that are read before it.

    Attributes:
        image: File of the image.
        queries: At least one, all different.
        name: Stem of the names of its results.
    """

    image: Path
    queries: tuple[TextQuery, ...]
    name: str

    @property
    def results(self) -> list[str]:
        """Name of the result of each text; unique among the requests, also on a disk that ignores case."""
        count = len(self.queries)
        return [f"{self.name}_text{number}" if count > 1 else self.name for number in range(1, count + 1)]


def requests(
    images: Sequence[str],
    texts: Sequence[str],
    table: Path | None,
    issues: DataReport,
    tasks: Sequence[str] = (),
    known: Sequence[str] = tuple(TASK_BY_NAME),
) -> list[Request]:
    """Everything to predict, in the order it was named; an image that is named twice becomes one request.

    Args:
        images: Files, folders (their images, without those in sub-folders) or patterns (``**`` for any folders). The
            exact name of an existing file is never a pattern.
        texts: Texts that are read before each of ``images``.
        table: CSV (:func:`saltext.data.tables.read_cells`) with the columns ``image`` (a file, relative to the table's
            own folder) and ``text``, and optionally ``task``, the condition.
        issues: Invalid inputs are added to it.
        tasks: Conditions of ``texts``: one for each, one for all (also for rows of the table without one), or none.
        known: Names of the known conditions.
    """
    default_task = tasks[0] if len(tasks) == 1 else None
    text_tasks = tasks if len(tasks) > 1 else [default_task] * len(texts)
    queries = [
        _checked_query(text, task, known, "--text", issues) for text, task in zip(texts, text_tasks, strict=True)
    ]
    pairs = [(path, query) for image in images for path in _image_files(image, issues) for query in queries if query]
    if table is not None:
        pairs += _table_rows(table, default_task, known, issues)
    by_file: dict[str, tuple[Path, dict[TextQuery, None]]] = {}
    for path, query in pairs:
        # Path.resolve raises where links go in circles; invalid files are found later.
        by_file.setdefault(os.path.realpath(path), (path, {}))[1][query] = None
    return _with_unique_names([(path, tuple(queries_of_file)) for path, queries_of_file in by_file.values()])


def usable(wanted: Sequence[Request], issues: DataReport, track: Track) -> list[Request]:
    """The requests whose images are valid, after each was decoded once; the others are added to ``issues``."""

    def invalid_image(request: Request) -> DataIssue | None:
        try:
            open_photo(request.image)
        except InvalidFileError as error:
            return DataIssue.of(request.image, error, str(request.image))
        return None

    results = list(in_threads(invalid_image, wanted, "checking pictures", track))
    for issue in results:
        if issue is not None:
            issues.add(*issue)
    return [request for request, issue in zip(wanted, results, strict=True) if issue is None]


def _checked_query(
    text: str, task: str | None, known: Sequence[str], where: str, issues: DataReport
) -> TextQuery | None:
    """A checked text with its condition; None, with an issue, where one of them is invalid."""
    try:
        query = TextQuery(checked(text), task)
    except InvalidFileError as error:
        issues.add(error.kind, f"{where} ({error.detail})")
        return None
    if query.condition in known:
        return query
    default = "" if task else ", since no condition is named"
    issues.add(f"conditions other than {', '.join(known)}", f"{where} ({query.condition!r}{default})")
    return None


def _image_files(argument: str, issues: DataReport) -> list[Path]:
    """The image files that an argument names: a file, a folder or a pattern."""
    path = Path(argument)
    try:
        if path.is_dir():
            return _images_in_folder(path, issues)
        if (existing := spelled(path)) is not None or not has_magic(argument):
            if existing is None and _ADDRESS.match(argument):
                issues.add("addresses, which are not fetched: save the image and name its file", argument)
                return []
            return [existing or path]  # a missing file is reported with the other invalid ones
        files = [match for match in matching(argument)[1] if _has_image_name(match) and not match.is_dir()]
    except InvalidFileError as error:
        issues.add(error.kind, error.detail)
        return []
    except OSError:  # such as a name that is too long
        return [path]
    if not files:
        issues.add("patterns that match no image", argument)
    return files


def _images_in_folder(folder: Path, issues: DataReport) -> list[Path]:
    try:
        files = [path for path in sorted(folder.iterdir()) if _has_image_name(path) and not path.is_dir()]
    except OSError as error:
        issues.add("folders that cannot be read", f"{folder} ({error.strerror})")
        return []
    if not files:
        issues.add(f"folders without an image ({', '.join(sorted(ENDINGS))})", str(folder))
    return files


def _has_image_name(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.name not in IGNORED_FILES


def _table_rows(
    table: Path, default_task: str | None, known: Sequence[str], issues: DataReport
) -> Iterator[tuple[Path, TextQuery]]:
    """Image file and text of each valid row of a table."""
    try:
        cells = read_cells(table)
    except InvalidFileError as error:
        issues.add(*DataIssue.of(table, error, str(table)))
        return
    indices = {name: cells.column_index(name) for name in (*COLUMNS, TASK)}
    missing = [name for name in COLUMNS if indices[name] is None]
    if missing or not cells.rows:
        what = f"without {', '.join(missing)}" if missing else "it has no rows"
        issues.add(f"tables without the columns {' and '.join(COLUMNS)}", f"{table} ({what})")
        return
    empty: list[str | None] = [None] * len(cells.rows)
    images, texts, tasks = (empty if index is None else cells.column(index) for index in indices.values())
    for number, image, text, task in zip(cells.lines, images, texts, tasks, strict=True):
        if not image or text is None or "\0" in image:
            issues.add("table rows without image or text", f"{table.name} row {number}")
        elif query := _checked_query(text, task or default_task, known, f"{table.name} row {number}", issues):
            path = table.parent / image
            yield spelled(path) or path, query


def _with_unique_names(pairs: Sequence[tuple[Path, tuple[TextQuery, ...]]]) -> list[Request]:
    """Requests named like their files, with a number where results would overwrite each other."""
    taken: set[str] = set()
    named = []
    for path, queries in pairs:
        numbered = (path.stem if number == 1 else f"{path.stem}_{number}" for number in itertools.count(1))
        for request in (Request(path, queries, name) for name in numbered):
            results = {result.casefold() for result in (request.name, *request.results)}
            if not results & taken:
                break
        taken |= results
        named.append(request)
    return named
