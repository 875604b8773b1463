"""What a study found, beside what was published: tables, figure and one page.

The study is what ``experiments/NAME/expected.yaml`` describes. The command line is ``saltext reproduce``.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from saltext import storage
from saltext.data.splits import fold_in
from saltext.errors import ConfigError
from saltext.evaluation.protocols import PAPERS
from saltext.metrics import METRICS
from saltext.reporting import curves, origin, page, study_cells, study_curves, study_differences, study_scores
from saltext.reporting.study_cells import Cell, Job, Verdict
from saltext.reporting.study_expected import Study, studies
from saltext.reporting.study_scores import StudyScores
from saltext.system.run_folder import RunFolder

_ARROWS = {True: "↑", False: "↓"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")  # of files, so that links to them need no escapes
_GENERATED = (
    "These runs read a generated data set: they show that the command works. Their scores say nothing about the "
    "published ones, and get no verdict."
)
_KEPT = f"Made again from the scores of single pairs kept in {study_scores.OWN_FILE}, without the runs."


def write(experiment: str, jobs: Sequence[RunFolder], to: Path) -> None:
    """Write every study that an experiment belongs to, from its jobs; nothing where there is none.

    Args:
        experiment: A choice of conf/experiment, the ``name`` of its jobs.
        jobs: Their folders, finished or not.
        to: Each study is written to ``studies/NAME`` in here.

    Raises:
        ConfigError: An ``expected.yaml`` that does not say what is needed.
    """
    for study in studies():
        if experiment in study.experiments:
            write_study(study, jobs, to / "studies" / study.name)


def write_study(study: Study, jobs: Sequence[RunFolder], to: Path) -> Path | None:
    """Write ``results.md``, ``.csv`` and ``.html``, the scores they are made from (``scores.csv.gz`` and, where the
    study shows what the text is worth, ``text_effect.csv.gz``), and ``curves.png`` and ``.csv`` where it has a figure.

    Args:
        study: What is compared.
        jobs: Runs of its experiments, finished or not; others are left out.
        to: Folder of the files; made if there is something to write.

    Returns:
        The page; None where no run has got as far as having a split.
    """
    found = study_cells.by_circumstances(study_cells.read_jobs(jobs), study.lines)
    if not found:
        return None
    to.mkdir(parents=True, exist_ok=True)
    study_scores.write(to, study_scores.pooled(study, found))
    return _write(study, study_scores.read(study, to / study_scores.OWN_FILE), found, to)


def write_again(study: Study, kept: Path, to: Path) -> Path:
    """Write ``results.md``, ``.csv`` and ``.html`` from scores that :func:`write_study` kept: the same tables, without
    what only the runs tell (who ran when and where, curves, pictures).

    Args:
        study: What is compared.
        kept: The file ``scores.csv.gz``; ``text_effect.csv.gz`` is read if it lies beside it.
        to: Folder of the files; made if it is not there.

    Returns:
        The page.

    Raises:
        ConfigError: A file that does not hold scores of the study.
    """
    scores = study_scores.read(study, kept)
    to.mkdir(parents=True, exist_ok=True)
    return _write(study, scores, {}, to)


def _write(study: Study, scores: StudyScores, found: Mapping[str, Sequence[Job]], to: Path) -> Path:
    parts = {how: scores.of(how) for how in found or scores.ways}
    cells = {how: study_cells.cells(study, part.own) for how, part in parts.items()}
    storage.write_csv(to / "results.csv", study_cells.frame(cells, study), float_format=None)
    generated = bool(scores.own["generated"].any())
    blocks = [*_opening(study, found, generated), *_results(study, parts, cells), *_of_runs(study, found, to)]
    report = page.Report(study.title, [*blocks, page.Heading("How to read this"), page.Points(_notes(study))])
    storage.write_text(to / "results.md", page.markdown(report))
    written = to / "results.html"
    storage.write_text(written, page.html(report))
    return written


def _opening(study: Study, found: Mapping[str, Sequence[Job]], generated: bool) -> list[page.Block]:
    commands = "\n".join(f"python -m saltext.run +experiment={name} -m" for name in study.experiments)
    again = "\n".join(f"make reproduce-{target}" for target in study.targets)
    blocks: list[page.Block] = [page.Paragraph(f"Published: {study.source}")]
    blocks += [page.Heading("What the paper says"), page.Points(study.claims)] if study.claims else []
    blocks += [page.Paragraph(_GENERATED)] if generated else []
    blocks += [page.Heading("How this was made"), page.Command(again or commands)]
    return [*blocks, _runs(found) if found else page.Paragraph(_KEPT)]


def _runs(found: Mapping[str, Sequence[Job]]) -> page.Grid:
    headings = ["run", "input", "epochs", "seed", "minutes", "commit", "machine"]
    rows = [_run(job) for part in found.values() for job in part]
    return page.Grid(headings, rows, numbers=frozenset({3, 4}))


def _run(job: Job) -> list[str]:
    cfg, took = job.cfg, origin.minutes(job.folder)
    last = (origin.starts(job.folder) or [{}])[-1]
    return [
        ", ".join(filter(None, (f"{cfg.name}: {cfg.label}", fold_in(job.how)))),
        origin.input_size(cfg),
        origin.epochs(cfg, job.folder),
        str(cfg.seed),
        "not finished" if took is None else f"{took:.0f}",
        origin.commit(last),
        origin.machine(last),
    ]


def _results(study: Study, parts: Mapping[str, StudyScores], cells: Mapping[str, Sequence[Cell]]) -> list[page.Block]:
    blocks: list[page.Block] = []
    for how, part in parts.items():
        number = study_curves.numbered(how, list(parts)).strip()
        blocks += [page.Heading(f"{number} Ours: {how}".strip()), *_tables(study, cells[how])]
        blocks += [*study_differences.differences(study, part), *study_differences.effects(study, part)]
    return blocks


def _of_runs(study: Study, found: Mapping[str, Sequence[Job]], to: Path) -> list[page.Block]:
    """What scores do not tell: curves and pictures."""
    blocks = _figure(study, found, to) if found else []
    for how, jobs in found.items():
        blocks += _pictures(study, jobs, to, study_curves.numbered(how, list(found)))
    return blocks


def _tables(study: Study, cells: Sequence[Cell]) -> list[page.Block]:
    counts = Counter(str(cell.verdict) for cell in cells if cell.verdict is not Verdict.UNPUBLISHED)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in map(str, Verdict) if counts[verdict])
    blocks: list[page.Block] = [page.Paragraph(f"Of {counts.total()} published values: {said}.")] if counts else []
    blocks += _passed(study, cells)
    for metric in study.metrics:
        part = [cell for cell in cells if cell.metric == metric]
        blocks += [_compared(metric, part) if counts else _measured(metric, part)] if part else []
    return blocks


def _passed(study: Study, cells: Sequence[Cell]) -> list[page.Block]:
    """How many published values each line passes; nothing where none can be compared."""
    texts = []
    for line in study.lines:
        own = [cell for cell in cells if cell.line == line.name and not math.isnan(cell.published)]
        if any(cell.passed is not None for cell in own):
            whose = f" ({line.published})" if line.published else ""
            texts.append(f"{line.name} {sum(cell.passed is True for cell in own)} of {len(own)}{whose}")
    said = "Passed, which is ours being better by however little; the difference is bold: "
    return [page.Paragraph(f"{said}{', '.join(texts)}.")] if texts else []


def _heading(metric: str) -> str:
    return f"{METRICS[metric].title} {_ARROWS[METRICS[metric].higher_is_better]}"


def _measured(metric: str, cells: Sequence[Cell]) -> page.Grid:
    """Ours alone, where nothing was published."""
    rows = [[cell.row, cell.line, str(cell), str(cell.pairs)] for cell in cells]
    return page.Grid([_heading(metric), "line", "ours (95 % interval)", "pairs"], rows, numbers=frozenset({2, 3}))


def _compared(metric: str, cells: Sequence[Cell]) -> page.Grid:
    headings = [_heading(metric), "line", "published", "ours (95 % interval)", "difference", "verdict", "pairs"]
    passed = frozenset((place, 4) for place, cell in enumerate(cells) if cell.passed)
    return page.Grid(headings, [_row(cell) for cell in cells], frozenset({2, 3, 4, 6}), marked=5, strong=passed)


def _row(cell: Cell) -> list[str]:
    difference = "–" if math.isnan(cell.difference) else f"{cell.difference:+.3f}"
    measured = [_number(cell.published), str(cell), difference, str(cell.verdict), str(cell.pairs)]
    return [cell.row, cell.line, *measured]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _figure(study: Study, found: Mapping[str, Sequence[Job]], to: Path) -> list[page.Block]:
    points = study_curves.values(study, found)
    panels = study_curves.panels(study, points)
    if not panels:
        return []
    storage.write_csv(to / "curves.csv", points, float_format=None)
    curves.draw(panels, to / "curves.png")
    caption = (
        "By epoch, ours solid, published dashed and grey. Epochs count from 0: the first point is after one epoch."
    )
    return [page.Heading("By epoch"), page.Picture(to / "curves.png", caption), *_ends(points, list(found))]


def _ends(points: pd.DataFrame, ways: Sequence[str]) -> list[page.Block]:
    """What each curve of a metric comes to."""
    table = study_curves.best_and_last(points)
    rows = [
        [
            METRICS[logged].title,
            line,
            by if by == study_curves.PUBLISHED else f"{by}{study_curves.numbered(how, ways)}",
            *(_number(best), str(epoch), _number(last), _number(lost)),
        ]
        for line, by, how, logged, best, epoch, last, lost in table.itertuples(index=False)
    ]
    headings = ["metric", "line", "by", "best", "its epoch", "last", "lost since the best"]
    return [page.Grid(headings, rows, numbers=frozenset({3, 4, 5, 6}))] if rows else []


def _pictures(study: Study, jobs: Sequence[Job], to: Path, number: str) -> list[page.Block]:
    """The pictures that runs drew of their test pairs, copied beside the report."""
    blocks: list[page.Block] = []
    for line in (line for line in study.lines if line.picture):
        for job in jobs:
            drawn = job.part(line).picture
            if job.is_of(line) and drawn.is_file():
                # Jobs of several seeds or folds have one label; their folders differ.
                name = f"{_NOT_IN_NAMES.sub('_', line.name)}-{job.folder.root.name}.png"
                storage.write_bytes(to / name, drawn.read_bytes())
                blocks.append(page.Picture(to / name, f"{line.name}{number}, {job.cfg.label}, seed {job.cfg.seed}"))
    return [page.Heading(f"Test pairs{number}"), *blocks] if blocks else []


def _notes(study: Study) -> list[str]:
    paper = PAPERS.get(study.protocol)
    size = f", all maps at {paper.size[0]}x{paper.size[1]}" if paper and paper.size else ""
    measured = f"measured as the {paper.title} paper's script measures{size}" if paper else "standard metrics"
    notes = [
        f"Tables: mean over test pairs, {measured}; intervals: bootstrap over images.",
        "Verdict: within tolerance; else covered where the 95 % interval of ours holds the published value; else above "
        "or below it. The published value's own uncertainty is unknown and not counted.",
        *(f"Tolerance of {METRICS[m].title}: {t.within:g}. {t.why}" for m, t in study.tolerance.items()),
    ]
    if study.panels and any(panel in METRICS for panel in study.panels):
        notes.append(
            "Curves: scores after each epoch on the part of the split that chooses the epoch, at the images' own "
            "resolution with their original fixation points; for CC and AUC that differs from the paper's size by less "
            "than .001, NSS comes out .02 to .04 higher."
        )
    return [*notes, *study.notes]


def write_from(study: Study, places: Sequence[Path], to: Path) -> Path:
    """Write a study from all its runs below some folders, or again from the scores of single pairs kept in one place.

    Args:
        study: The study.
        places: Folders of runs, or one place where scores are kept (``experiments/NAME``).
        to: Folder to write into.

    Returns:
        The page.

    Raises:
        ConfigError: No run of this study, or places of both kinds.
    """
    kept = [file for file in map(study_scores.kept_file, places) if file is not None]
    listed = ", ".join(map(str, places))
    if kept and len(places) > 1:
        raise ConfigError(f"Expected folders of runs, or one place where scores are kept; got {listed}")
    if kept:
        return write_again(study, kept[0], to)
    jobs = [RunFolder(config.parent) for folder in places for config in sorted(folder.rglob("config.yaml"))]
    written = write_study(study, jobs, to)
    if written is None:
        raise ConfigError(f"No run of this study below {listed}. Start: saltext reproduce NAME")
    return written
