"""What a user names on the command line: pictures, texts, and tables of both; checked before anything is predicted."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from saltext.data.files import IGNORED_FILES
from saltext.data.paths import is_pattern, matching, spelled
from saltext.data.report import DataIssue, DataReport, Track, in_threads
from saltext.data.tables import read_cells
from saltext.data.tasks import TASK_BY_NAME
from saltext.errors import InvalidFileError
from saltext.images import ENDINGS
from saltext.prediction.photos import open_photo
from saltext.prediction.texts import TextQuery, checked

COLUMNS = ("image", "text")
"""That a table of texts needs."""

TASK = "task"
"""Its column of conditions, if it has one."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Request:
    """A picture and what is read before it.

    Attributes:
        image: Its file.
        queries: None twice, at least one.
        name: What its results are called.
    """

    image: Path
    queries: tuple[TextQuery, ...]
    name: str

    @property
    def results(self) -> list[str]:
        """What the result of each text is called; unique among the requests, whatever case means on a disk."""
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
    """Everything to predict, in the order it was named; a picture that is named twice has all its texts together.

    Args:
        images: Files, folders (their pictures, not those of folders inside) or patterns (``**`` for any folders). What
            is there as it is written is no pattern.
        texts: Read before each of ``images``.
        table: CSV (:func:`saltext.data.tables.read_cells`) with the columns ``image`` (a file, from the table's own
            folder) and ``text``, and ``task`` for their conditions if they are known.
        issues: Is told of everything that cannot be used.
        tasks: Conditions of ``texts``: one for each, one for all (those of the table, too, where it names none), or
            none.
        known: Conditions there are.
    """
    for_all = tasks[0] if len(tasks) == 1 else None
    told = tasks if len(tasks) > 1 else [for_all] * len(texts)
    said = [_query(text, task, known, "--text", issues) for text, task in zip(texts, told, strict=True)]
    pairs = [(path, query) for image in images for path in _expanded(image, issues) for query in said if query]
    if table is not None:
        pairs += _rows(table, for_all, known, issues)
    found: dict[str, tuple[Path, dict[TextQuery, None]]] = {}
    for path, query in pairs:
        # Path.resolve raises where links go in circles; what is wrong with files is found out later.
        found.setdefault(os.path.realpath(path), (path, {}))[1][query] = None
    return _named([(path, tuple(queries)) for path, queries in found.values()])


def usable(wanted: Sequence[Request], issues: DataReport, track: Track) -> list[Request]:
    """The requests whose pictures can be used; each was decoded once."""
    found = list(in_threads(_issue, wanted, "checking pictures", track))
    for issue in found:
        if issue is not None:
            issues.add(*issue)
    return [request for request, issue in zip(wanted, found, strict=True) if issue is None]


def _issue(request: Request) -> DataIssue | None:
    try:
        open_photo(request.image)
    except InvalidFileError as error:
        return DataIssue.of(request.image, error, str(request.image))
    return None


def _query(text: str, task: str | None, known: Sequence[str], where: str, issues: DataReport) -> TextQuery | None:
    try:
        query = TextQuery(checked(text), task)
    except InvalidFileError as error:
        issues.add(error.kind, f"{where} ({error.detail})")
        return None
    if query.condition in known:
        return query
    meant = "" if task else ", since no condition is named"
    issues.add(f"conditions other than {', '.join(known)}", f"{where} ({query.condition!r}{meant})")
    return None


def _expanded(argument: str, issues: DataReport) -> list[Path]:
    path = Path(argument)
    try:
        if path.is_dir():
            return _pictures(path, issues)
        if (there := spelled(path)) is not None or not is_pattern(argument):
            if there is None and _ADDRESS.match(argument):
                issues.add("addresses, which are not fetched: save the picture and name its file", argument)
                return []
            return [there or path]  # a file that is not there is found out with the others
        files = [found for found in matching(argument)[1] if _counts(found) and not found.is_dir()]
    except InvalidFileError as error:
        issues.add(error.kind, error.detail)
        return []
    except OSError:  # such as a name that is too long
        return [path]
    if not files:
        issues.add("patterns without a picture", argument)
    return files


def _pictures(folder: Path, issues: DataReport) -> list[Path]:
    try:
        files = [path for path in sorted(folder.iterdir()) if _counts(path) and not path.is_dir()]
    except OSError as error:
        issues.add("folders that cannot be read", f"{folder} ({error.strerror})")
        return []
    if not files:
        issues.add(f"folders without a picture ({', '.join(sorted(ENDINGS))})", str(folder))
    return files


def _counts(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.name not in IGNORED_FILES


def _rows(table: Path, task: str | None, known: Sequence[str], issues: DataReport) -> Iterator[tuple[Path, TextQuery]]:
    try:
        cells = read_cells(table)
    except InvalidFileError as error:
        issues.add(*DataIssue.of(table, error, str(table)))
        return
    indices = {name: cells.column_index(name) for name in (*COLUMNS, TASK)}
    lacking = [name for name in COLUMNS if indices[name] is None]
    if lacking or not cells.rows:
        what = f"without {', '.join(lacking)}" if lacking else "it has no rows"
        issues.add(f"tables without the columns {' and '.join(COLUMNS)}", f"{table} ({what})")
        return
    nothing: list[str | None] = [None] * len(cells.rows)
    images, texts, tasks = (nothing if index is None else cells.column(index) for index in indices.values())
    for number, image, text, told in zip(cells.lines, images, texts, tasks, strict=True):
        if not image or text is None or "\0" in image:
            issues.add("rows of a table without image or text", f"{table.name} row {number}")
        elif query := _query(text, told or task, known, f"{table.name} row {number}", issues):
            path = table.parent / image
            yield spelled(path) or path, query


def _named(pairs: Sequence[tuple[Path, tuple[TextQuery, ...]]]) -> list[Request]:
    """Requests called like their files; with a number where results would overwrite each other."""
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
