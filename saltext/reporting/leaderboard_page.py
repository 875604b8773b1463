"""The leaderboard as Markdown, as a page and as a table of numbers."""

from collections.abc import Sequence
from pathlib import Path

from saltext import storage
from saltext.evaluation.protocols import PAPERS
from saltext.reporting import document, glossary, tables
from saltext.reporting.document import Block, Command, Document, Points, Section
from saltext.reporting.figures import Kind, Series
from saltext.reporting.grid import Grid
from saltext.reporting.run_page import estimates_chart
from saltext.reporting.tables import Cell
from saltext.results import leaderboard
from saltext.results.leaderboard import SHOWN, ConditionResult, Leaderboard

_ABLATION, _SWAP = "own text − empty text (CC)", "text-swap test (CC)"
_NOTES = (
    "Each row: mean over the images of the condition with its 95 % interval (bootstrap over images, not over "
    "trainings), at each image's own resolution with the original fixation points. Rows are sorted by CC; those that "
    "lack images of the condition stand below those that have all.",
    "AUC-J: all pixels are negatives; sAUC: all fixations on other images of the same condition are; IG: bits per "
    "fixation over the centre prior of the other images.",
    f"{_ABLATION}: same weights, paired over images. {_SWAP}: share of the images with both texts whose prediction for "
    "the correct text scores higher against this condition's human map than the prediction for the swapped text.",
    "Human rows are made from human data of the test image itself, which no model has seen. Split-half fixations: one "
    "half predicts the other, an optimistic ceiling, since the halves share viewers.",
    "Published rows are of other splits, other pairs and the papers' own metrics at their own size; only CC has the "
    "same definition. They do not compare with the rows above them.",
)


def write(found: Leaderboard, files: Sequence[Path], to: Path) -> Path:
    """Write ``leaderboard.md``, ``.html`` and ``.csv`` into a folder.

    Args:
        found: The leaderboard.
        files: The files that it is made from, as the command names them.
        to: The folder.

    Returns:
        The page.
    """
    to.mkdir(parents=True, exist_ok=True)
    results = found.results()
    page = _page(found, results, files)
    numbers = leaderboard.frame(results).to_csv(index=False, float_format="%.5g", lineterminator="\n")
    storage.write_text(to / "leaderboard.csv", numbers)
    storage.write_text(to / "leaderboard.md", document.markdown(page))
    storage.write_text(to / "leaderboard.html", document.html(page))
    return to / "leaderboard.html"


def by_condition(found: Leaderboard, results: Sequence[ConditionResult], task: str) -> Grid:
    """The table of one condition: a row for each model, then the published ones."""
    keys = ["model", "protocol", "images" if found.folds is None else "images (whole folds)"]
    headings = [tables.heading(metric) for metric in SHOWN]
    cells = []
    for result in (result for result in results if result.task == task):
        key = (result.row.name, _protocol(result), _images(found, result))
        cells += [Cell(key, tables.heading(name), str(result.estimates[name])) for name in SHOWN]
        cells.append(Cell(key, _ABLATION, result.ablation.signed() if result.ablation.images else ""))
        cells.append(Cell(key, _SWAP, str(result.swap or "")))
    for paper, model, row, values in leaderboard.published_rows():
        if row == task:
            key = (model, f"protocol not comparable ({PAPERS[paper].title} paper)", "")
            cells.append(Cell(key, tables.heading("cc"), f"{values['cc']:.3f}"))
    for model in found.unknown:
        cells.append(Cell((model, "protocol not comparable", ""), tables.heading("cc"), "unknown"))
    return tables.pivot(cells, keys, columns=[*headings, _ABLATION, _SWAP], title=task)


def _protocol(result: ConditionResult) -> str:
    """What a row was trained on, and whether it lacks images."""
    protocol = result.row.protocol or "not stated"
    return protocol if result.is_complete else f"not all folds: {protocol}"


def _images(found: Leaderboard, result: ConditionResult) -> str:
    return (
        f"{result.images}" if found.folds is None else f"{result.images} ({result.folds} of {len(found.folds.images)})"
    )


def _page(found: Leaderboard, results: Sequence[ConditionResult], files: Sequence[Path]) -> Document:
    tasks = found.tasks
    first: list[Block] = [Points(_best_models(results), summary=True)]
    conditions = glossary.conditions(tasks)
    first += [conditions] if conditions else []
    first.append([_chart(results)])
    sections: list[Section] = [("", first), ("By condition", [by_condition(found, results, task) for task in tasks])]
    sections += [("Published values, in the papers' own metrics", [_published()]), ("Rows", [_rows(found)])]
    notes = [*_NOTES, *(f"{model}: {why}" for model, why in found.unknown.items())]
    sections.append(("How to read it", [Points([(note, "") for note in notes])]))
    made: list[Block] = [Command(f"saltext leaderboard {' '.join(path.as_posix() for path in files)}")]
    if found.folds is not None:
        made.append(f"{found.folds.method}, seed {found.folds.seed}, digest {found.folds.digest}.")
    sections.append(("Provenance", made))
    return Document("Leaderboard", sections)


def _best_models(results: Sequence[ConditionResult]) -> list[tuple[str, str]]:
    """For each condition, the model with all images that has the highest CC, and the next one as a caveat."""
    sentences = []
    for task in dict.fromkeys(result.task for result in results):
        of_task = [
            result for result in results if result.task == task and result.row.kind == "model" and result.is_complete
        ]
        if of_task:
            cc = of_task[0].estimates["cc"]
            sentence = f"{task}: {of_task[0].row.name} has the highest mean, CC {cc}, {of_task[0].images} images."
            following = [f"Next: {result.row.name}, {result.estimates['cc']}." for result in of_task[1:2]]
            sentences.append((sentence, "".join(following)))
    return sentences


def _chart(results: Sequence[ConditionResult]) -> document.Figure:
    series = []
    shown = [result for result in results if result.estimates["cc"].images and result.row.name != "uniform map"]
    for name in dict.fromkeys(result.row.name for result in shown):
        own = [result for result in shown if result.row.name == name]
        kind: Kind = "model" if own[0].row.kind == "model" else "baseline"
        series.append(Series(name, {result.task: result.estimates["cc"] for result in own}, kind))
    series.sort(key=lambda one: one.kind == "baseline")
    return estimates_chart("CC by condition", "CC, mean with its 95 % interval", series)


def _published() -> Grid:
    """The published values: a row for each model and condition."""
    cells = []
    for paper, model, task, values in leaderboard.published_rows():
        names = dict(zip(PAPERS[paper].metrics, PAPERS[paper].metric_names, strict=True))
        cells += [Cell((model, task), names[metric], f"{value:.3f}") for metric, value in values.items()]
    note = (
        "Protocol not comparable: each paper's own metrics and split. AUC and sAUC of maps cut at their 0.8 quantile; "
        "NSS of CLIP-SalGAN is taken over the map, not over fixations."
    )
    return tables.pivot(cells, ["model", "condition"], keys=2, grouped=True, note=note)


def _rows(found: Leaderboard) -> Grid:
    rows = [
        [entry.row.name, entry.row.kind, entry.row.protocol, entry.row.source, entry.row.note]
        for entry in found.entries
    ]
    return Grid(["row", "kind", "trained on", "source", "note"], rows)
