"""A study's paired differences: models minus a line they are compared with, and own text minus other texts."""

from collections.abc import Mapping, Sequence

import pandas as pd

from saltext.metrics import METRICS
from saltext.reporting import page
from saltext.reporting.compare import Difference, compare
from saltext.reporting.scores import without_absent
from saltext.reporting.study_expected import Study
from saltext.reporting.study_scores import StudyScores
from saltext.reporting.text_effect import TITLES, text_effects

_INTERVALS = "mean and 95 % interval (paired bootstrap over images); bold where it excludes zero."


def differences(study: Study, scores: StudyScores) -> list[page.Block]:
    """Every model minus each line named in ``against``, on the pairs both have.

    Args:
        study: What is compared.
        scores: Of one split and choice of the epoch.
    """
    blocks: list[page.Block] = []
    models = [line.name for line in study.lines if not line.model]
    for base in study.against:
        other = _of_line(scores.own, base)
        own = {name: _of_line(scores.own, name) for name in models if name != base}
        found = {name: compare(table, other) for name, table in own.items() if _share_pairs(table, other)}
        if found:
            said = f"Minus {base}, on the same test pairs: {_INTERVALS}"
            blocks += [page.Paragraph(said), _grid("line", found, study.metrics)]
    return blocks


def effects(study: Study, scores: StudyScores) -> list[page.Block]:
    """What the text is worth to each line named in ``text_effects``: own text minus others.

    Args:
        study: What is compared.
        scores: Of one split and choice of the epoch.
    """
    blocks: list[page.Block] = []
    for name in study.text_effects:
        own, variants = (_of_line(table, name) for table in (scores.own, scores.variants))
        if len(own) and len(variants):
            found = text_effects(own, variants)
            # In the order in which they are usually named, which the sorted file has not.
            titled = {TITLES.get(v, v): found[v] for v in dict.fromkeys([*TITLES, *found]) if v in found}
            said = f"Effect of the text on {name}: its score with a pair's own text minus that with another one, "
            blocks += [page.Paragraph(said + _INTERVALS), _grid("own text minus", titled, study.metrics)]
    return blocks


def _of_line(scores: pd.DataFrame, line: str) -> pd.DataFrame:
    return without_absent(scores[scores["line"] == line])


def _share_pairs(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return not one.merge(other, on=["image_id", "task"]).empty


def _grid(first: str, found: Mapping[str, Sequence[Difference]], metrics: Sequence[str]) -> page.Grid:
    """A row for each name and task, its first column headed ``first``."""
    headings = [first, "task", "images", *(METRICS[metric].title for metric in metrics)]
    rows: list[list[str]] = []
    strong: set[tuple[int, int]] = set()
    for name, differences in found.items():
        for task in dict.fromkeys(d.task for d in differences):
            cells = {d.metric: d for d in differences if d.task == task}
            strong |= {(len(rows), 3 + at) for at, m in enumerate(metrics) if m in cells and cells[m].excludes_zero}
            texts = (_text(cells[metric]) if metric in cells else "–" for metric in metrics)
            rows.append([name, task, str(next(iter(cells.values())).images), *texts])
    numbers = frozenset(range(2, len(headings)))
    return page.Grid(headings, rows, numbers, strong=frozenset(strong))


def _text(difference: Difference) -> str:
    return f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
