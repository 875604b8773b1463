"""Reader of SJTU-TIS in its published layout: the files and the text of each image-text pair."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from zipfile import ZipFile

from saltext.data.density import sigma_for
from saltext.data.files import IGNORED_FILES
from saltext.data.index import BlurRule, DatasetIndex
from saltext.data.pairs import FilePair, Pair
from saltext.data.report import DataIssue, DataReport
from saltext.data.synthetic import generated_sigma, is_generated
from saltext.data.tasks import FOLDERS, PART_SHEET, TASK_BY_NAME, TASK_BY_SUFFIX, TASK_ORDER, TASKS, WHOLE_SHEET
from saltext.errors import DataError, InvalidFileError
from saltext.images import check_file, reason

ImageSet = Literal["A", "B"]

_WAY_OUT = (
    "Put the published archive (github.com/IntMeGroup/TGSal) there, point data.root (or SALTEXT_DATA) elsewhere, or "
    "start with data=synthetic."
)
_WORKBOOK_BYTES = 2**26  # unpacked; the published one has less than one MiB
_WORKBOOK_ROWS = 100_000  # of a sheet; the published ones have 2,000
_FILE_NAME = re.compile(r"(?P<id>\d+)(?P<suffix>(_\w+)?)\.png", re.ASCII)


@dataclass(frozen=True)
class SjtuTis:
    """SJTU-TIS in the published layout, or generated in it.

    Attributes:
        root: Folder that holds ``image_1800`` (or ``image``), ``map_1800`` (or ``map``), ``fixation_1800``
            (or ``fixation``) and the workbook of texts, whatever the workbook is called.
    """

    root: Path | str
    published: ClassVar[str | None] = "sjtu_tis"
    conditions: ClassVar[Sequence[str]] = tuple(TASK_BY_NAME)

    def read(self) -> DatasetIndex:
        """Every image-text pair, sorted by image ID and then by task order.

        A pair's index does not depend on the order in which files are listed. No picture is opened here;
        :func:`saltext.data.cache.open_cache` looks inside them.

        Raises:
            DataError: The layout is not there, or files and texts do not belong together. One error names all
                problems.
        """
        root = Path(self.root)
        folders, workbook = _folders_and_workbook(root)
        problems = DataReport()
        files = {kind: _list_files(folder, problems) for kind, folder in folders.items()}
        texts = _read_texts(workbook, problems)
        keys = _complete_triples(files, problems)
        _check_images(keys, problems)
        pairs = []
        for key in keys:
            image_id, suffix = key
            task = TASK_BY_SUFFIX[suffix].name
            text = texts.get((int(image_id), task), "")
            image, density, fixations = (files[kind][key] for kind in ("image", "map", "fixation"))
            pairs.append(FilePair(image_id, task, text, image, density, fixations, name=image_id + suffix))
        _check_texts(pairs, texts, problems)
        way_out = "Unpack the published archive again, or fix these files and the workbook."
        problems.raise_if_any(f"SJTU-TIS under {root}", way_out)
        pairs.sort(key=lambda pair: (pair.image_id, TASK_ORDER[pair.task]))
        rule = generated_sigma if is_generated(root) else sigma_for
        return DatasetIndex(
            root=root,
            pairs=pairs,
            conditions=self.conditions,
            image_sets=image_sets(pairs),
            blur=BlurRule(rule.__name__, rule),
            is_sjtu_tis=True,
        )


def is_published_layout(root: Path) -> bool:
    """Whether a folder has the layout of SJTU-TIS, complete or not."""
    return any((root / name).is_dir() for name in (*FOLDERS["map"], *FOLDERS["fixation"]))


def image_sets(pairs: Iterable[Pair]) -> dict[str, ImageSet]:
    """The half of the data set each image belongs to: A has whole and pure texts, B the other four tasks.

    Returns:
        Image ID -> ``"A"`` or ``"B"``. An image with the task ``pure`` alone counts as B.
    """
    described = {pair.image_id for pair in pairs if pair.task == "whole"}
    return {pair.image_id: "A" if pair.image_id in described else "B" for pair in pairs}


_Key = tuple[str, str]  # image ID, suffix


def _folders_and_workbook(root: Path) -> tuple[dict[str, Path], Path]:
    """The three folders and the workbook, or one error that lists what was found and what is missing."""
    if not root.is_dir():
        raise DataError(f"SJTU-TIS is not under {root}: there is no such folder. {_WAY_OUT}")
    found, missing, folders = [], [], {}
    for kind, names in FOLDERS.items():
        present = [root / name for name in names if (root / name).is_dir()]
        if present:
            folders[kind] = present[0]
            found.append(f"{present[0].name}/ ({sum(1 for _ in present[0].glob('*.png'))} files)")
        else:
            missing.append(f"{names[0]}/")
    workbooks, refused = _find_workbooks(root)
    found += [path.name for path in workbooks]
    if len(workbooks) > 1:
        names_found = ", ".join(path.name for path in workbooks)
        raise DataError(f"several workbooks of texts under {root}: {names_found}. Keep only the published one there.")
    if not workbooks:
        sheets = f"with the sheets {WHOLE_SHEET} and {PART_SHEET}"
        missing.append(f"the workbook of texts (text最终版本.xlsx {sheets}{refused})")
    if missing:
        present_parts = " and ".join(found) if found else f"none of its parts{_nested_folder_hint(root)}"
        raise DataError(
            f"SJTU-TIS is not complete under {root}: found {present_parts}, missing {', '.join(missing)}. {_WAY_OUT}"
        )
    return folders, workbooks[0]


def _nested_folder_hint(root: Path) -> str:
    """A hint at the usual mistake: the archive was unpacked one level further down."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if any((folder / name).is_dir() for names in FOLDERS.values() for name in names):
            return f" (but {folder} looks like it: set data.root to that)"
    return ""


def _find_workbooks(root: Path) -> tuple[list[Path], str]:
    """The workbooks that have both sheets, and what is wrong with the others."""
    usable, refused = [], ""
    for path in sorted(root.glob("*.xlsx")):
        if path.name.startswith(("~$", ".")):  # lock files of an open spreadsheet program
            continue
        try:
            with _open_workbook(path) as book:
                sheets = [sheet.title for sheet in book.worksheets]  # of cells; a sheet may be a chart
        except InvalidFileError as error:
            refused += f"; {path.name} cannot be read: {error}"
            continue
        if {WHOLE_SHEET, PART_SHEET} <= set(sheets):
            usable.append(path)
        else:
            refused += f"; {path.name} has the sheets {', '.join(sheets)}"
    return usable, refused


@contextmanager
def _open_workbook(path: Path) -> Iterator[Any]:
    """A workbook, read sheet by sheet; any error in it, also while it is read, is an InvalidFileError."""
    check_file(path)
    try:
        with ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > _WORKBOOK_BYTES:
            raise InvalidFileError(f"workbooks of more than {_WORKBOOK_BYTES // 2**20} MiB", "unpacked")
        import openpyxl

        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except InvalidFileError:
        raise
    except Exception as error:  # openpyxl parses what it finds; what it stumbles over depends on where it is broken
        raise InvalidFileError("files that cannot be read as a workbook", reason(error)) from error
    with closing(book):
        try:
            yield book
        except InvalidFileError:
            raise
        except Exception as error:
            raise InvalidFileError("files that cannot be read as a workbook", reason(error)) from error


def _list_files(folder: Path, problems: DataReport) -> dict[_Key, Path]:
    files: dict[_Key, Path] = {}
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in IGNORED_FILES:
            continue
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or match["suffix"] not in TASK_BY_SUFFIX:
            problems.add(
                "files whose name is not an ID with one of the endings .png, _0.png, _1.png, _2.png, _3.png",
                f"{folder.name}/{path.name}",
            )
            continue
        files[match["id"], match["suffix"]] = path
    return files


def _complete_triples(files: Mapping[str, Mapping[_Key, Path]], problems: DataReport) -> list[_Key]:
    """The keys that have an image, a map and a fixation file."""
    everything = set().union(*files.values())
    complete = everything.copy()
    for kind, present in files.items():
        absent = everything - present.keys()
        problems.add(f"missing {kind} files", *(f"{image_id}{suffix}.png" for image_id, suffix in absent))
        complete -= absent
    if not everything:
        problems.add("empty folders", *(f"{names[0]}/" for names in FOLDERS.values()))
    return sorted(complete)


def _check_images(keys: Iterable[_Key], problems: DataReport) -> None:
    """Every image must have the tasks of set A or those of set B, and an ID the workbook can tell apart."""
    suffixes: dict[str, set[str]] = defaultdict(set)
    for image_id, suffix in keys:
        suffixes[image_id].add(suffix)
    allowed = [{task.suffix for task in TASKS if half in task.image_sets} for half in "AB"]
    problems.add(
        "images whose tasks are neither those of set A (pure, whole) nor of B (pure, general, salient, non_salient)",
        *(image_id for image_id, present in suffixes.items() if present not in allowed),
    )
    by_number: dict[int, list[str]] = defaultdict(list)
    for image_id in suffixes:
        by_number[int(image_id)].append(image_id)
    problems.add(
        "IDs that differ only in leading zeros, which the workbook does not keep",
        *(" = ".join(same) for same in by_number.values() if len(same) > 1),
    )


_Texts = dict[tuple[int, str], str]  # number of the image, task name -> text


def _read_texts(workbook: Path, problems: DataReport) -> _Texts:
    """The texts by image number and task; an empty cell counts as no text."""
    texts: _Texts = {}
    tasks = {task.label: task.name for task in TASKS if task.sheet == PART_SHEET}
    try:
        with _open_workbook(workbook) as book:
            for number, text in _sheet_rows(book[WHOLE_SHEET], ("image", "text"), problems):
                _add_text(texts, (number, "whole"), text, problems)
            for number, label, text in _sheet_rows(book[PART_SHEET], ("image", "描述种类", "text"), problems):
                if label in tasks:
                    _add_text(texts, (number, tasks[label]), text, problems)
                else:
                    kind = f"rows of {PART_SHEET} whose kind is not one of {', '.join(map(str, tasks))}"
                    problems.add(kind, f"{number}")
    except InvalidFileError as error:
        problems.add(*DataIssue.of(workbook, error, workbook.name))
    return texts


def _sheet_rows(sheet: Any, columns: Sequence[str], problems: DataReport) -> Iterable[tuple[Any, ...]]:
    """The named cells of each row, the first of them as an integer; rows without any of them are left out."""
    rows = sheet.iter_rows(values_only=True)
    header = [str(cell).strip() if cell is not None else "" for cell in next(rows, ())]
    absent = [name for name in columns if name not in header]
    if absent:
        problems.add(f"columns missing in the workbook's sheet {sheet.title}", *absent)
        return
    indices = [header.index(name) for name in columns]
    for line, row in enumerate(rows, start=2):
        if line > _WORKBOOK_ROWS:
            problems.add(f"sheets of more than {_WORKBOOK_ROWS} rows", sheet.title)
            return
        cells = [row[index] if index < len(row) else None for index in indices]
        if all(cell is None for cell in cells):
            continue
        try:
            number = int(cells[0] if cells[0] is not None else "")
            if isinstance(cells[0], float) and cells[0] != number:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            problems.add("workbook rows without an image number", f"{sheet.title} row {line}")
            continue
        yield number, *(str(cell).strip() if cell is not None else "" for cell in cells[1:])


def _add_text(texts: _Texts, key: tuple[int, str], text: str, problems: DataReport) -> None:
    if texts.setdefault(key, text) != text:
        problems.add("images with two different texts for one task", f"{key[0]} {key[1]}")


def _check_texts(pairs: Sequence[Pair], texts: _Texts, problems: DataReport) -> None:
    problems.add(
        "images without a text in the workbook",
        *(f"{pair.name} ({pair.task})" for pair in pairs if TASK_BY_NAME[pair.task].has_text and not pair.text),
    )
    present = {(int(pair.image_id), pair.task) for pair in pairs}
    problems.add(
        "texts in the workbook without image files",
        *(f"{number} ({task})" for number, task in texts.keys() - present),
    )
