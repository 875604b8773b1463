"""Tables in Markdown files that follow from the scores kept in ``experiments/``, never typed by hand.

    python -m tests.marked_tables README.md [FILE ...]

Puts between ``<!-- table: STUDY METRIC -->`` and ``<!-- /table -->``, a line each, what the study's ``scores.csv.gz``
gives: a row a task, a column a line of the study, then what was published; mean and 95 % interval over images. Says
below it of which split, and what chose the epoch. ``<!-- table: STUDY METRIC | LINE | LINE -->`` has these columns
alone, in that order.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from saltext import storage
from saltext.console import set_up_streams
from saltext.errors import ConfigError, SaltextError
from saltext.reporting import tables
from saltext.reporting.grid import Grid
from saltext.results import study_results
from saltext.results.study import Study, known_study, studies_folder
from saltext.results.study_results import Cell, cells

_MARKED = re.compile(
    r"(?P<mark><!-- table: (?P<study>\S+) (?P<metric>\S+)(?P<lines>(?: \| [^|\n]+)*) -->\n).*?(?P<end><!-- /table -->)",
    re.DOTALL,
)
_MARKS = re.compile(r"<!-- /?table")


def filled(text: str, folder: Path | None = None) -> str:
    """A Markdown text with its marked tables as the kept scores give them.

    Args:
        text: With or without marks.
        folder: Of the studies; ``experiments/`` by default.

    Raises:
        ConfigError: A mark that is not closed, or names no study, no metric of it, or one without scores.
    """
    known = folder or studies_folder()
    marks, whole = len(_MARKS.findall(text)), len(_MARKED.findall(text))
    if marks != 2 * whole:
        raise ConfigError(
            "Expected tables between <!-- table: STUDY METRIC --> and <!-- /table -->, a line each; found "
            f"{marks} such marks, of which {2 * whole} belong together"
        )
    return _MARKED.sub(
        lambda found: found["mark"] + _table(known, found["study"], found["metric"], found["lines"]) + found["end"],
        text,
    )


def _table(folder: Path, name: str, metric: str, chosen: str) -> str:
    study = known_study(name, folder)
    kept = study_results.kept_file(folder / name)
    if metric not in study.metrics:
        raise ConfigError(f"The study {name} does not show {metric!r}. Choose from: {', '.join(study.metrics)}")
    if kept is None:
        raise ConfigError(
            f"No scores are kept in {folder / name}. Write the study from its runs and put its "
            f"{study_results.OWN_FILE} there"
        )
    one = replace(study, metrics=(metric,))
    scores = study_results.read_kept(one, kept)
    columns = [column.strip() for column in chosen.split("|")[1:]]
    grids = {setting: _grid(one, metric, cells(one, scores.of(setting).own), columns) for setting in scores.settings}
    return "\n".join(f"{grid}\n\n{setting}\n" for setting, grid in grids.items())


def _grid(study: Study, metric: str, found: Sequence[Cell], columns: Sequence[str]) -> str:
    by_place = {(cell.row, cell.line): cell for cell in found}
    known = {line.published: line.name for line in study.lines if line.published}
    names = [line.name for line in study.lines if any(cell.line == line.name and cell.pairs for cell in found)]
    if unknown := [column for column in columns if column not in names]:
        raise ConfigError(f"The study has no line {unknown[0]!r} with scores. Choose from: {', '.join(names)}")
    if columns:
        names, known = [*columns], {}
    rows = [
        [
            row,
            *(str(by_place.get((row, name), "–")) for name in names),
            *(f"{by_place[row, line].published:.3f}" if (row, line) in by_place else "–" for line in known.values()),
        ]
        for row in study.rows
    ]
    headings = [tables.heading(metric), *names, *known]
    return Grid(headings, rows, frozenset(range(1, len(headings)))).markdown()


def main() -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    if {"-h", "--help"} & set(sys.argv) or len(sys.argv) < 2:
        print(__doc__)
        sys.exit(len(sys.argv) < 2)
    try:
        for file in (Path(path) for path in sys.argv[1:]):
            storage.write_text(file, filled(file.read_text(encoding="utf-8")))
    except SaltextError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
