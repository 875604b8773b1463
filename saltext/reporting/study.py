"""What a study found, beside what was published: tables, figure and one page.

    python -m saltext.reporting.study NAME FOLDER [FOLDER ...]

Writes the study experiments/NAME/expected.yaml describes from all runs below the folders, into the folder NAME here.
"""

import math
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from saltext.errors import ConfigError, SaltextError
from saltext.evaluation.protocols import PAPERS
from saltext.metrics import METRICS
from saltext.reporting import curves, origin, page, study_cells, study_curves
from saltext.reporting.compare import compare
from saltext.reporting.study_cells import Cell, Job, Verdict
from saltext.reporting.study_expected import DATA_SET, Line, Study, read_study, studies, studies_folder
from saltext.run_folder import RunFolder

_ARROWS = {True: "↑", False: "↓"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")  # of files, so that links to them need no escapes
_GENERATED = (
    "These runs read a generated data set: they show that the command works. Their scores say nothing about the "
    "published ones, and get no verdict."
)


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
    """Write ``results.md``, ``.csv`` and ``.html``, and ``curves.png`` and ``.csv`` where the study has a figure.

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
    cells = {how: study_cells.cells(study, part) for how, part in found.items()}
    study_cells.frame(cells, study).to_csv(to / "results.csv", index=False)
    report = page.Report(study.title, [*_opening(study, found), *_results(study, found, cells, to)])
    (to / "results.md").write_text(page.markdown(report), encoding="utf-8")
    written = to / "results.html"
    written.write_text(page.html(report), encoding="utf-8")
    return written


def _opening(study: Study, found: Mapping[str, Sequence[Job]]) -> list[page.Block]:
    commands = "\n".join(f"python -m saltext.run +experiment={name} -m" for name in study.experiments)
    again = "\n".join(f"make reproduce-{target}" for target in study.targets)
    generated = any(job.generated for part in found.values() for job in part)
    blocks: list[page.Block] = [page.Paragraph(f"Published: {study.source}")]
    blocks += [page.Heading("What the paper says"), page.Points(study.claims)] if study.claims else []
    blocks += [page.Paragraph(_GENERATED)] if generated else []
    blocks += [page.Heading("How this was made"), page.Command(again or commands), _runs(found)]
    return blocks


def _runs(found: Mapping[str, Sequence[Job]]) -> page.Grid:
    headings = ["run", "input", "epochs", "seed", "minutes", "commit", "machine"]
    rows = [_run(job) for part in found.values() for job in part]
    return page.Grid(headings, rows, numbers=frozenset({3, 4}))


def _run(job: Job) -> list[str]:
    cfg, took = job.cfg, origin.minutes(job.folder)
    last = (origin.starts(job.folder) or [{}])[-1]
    return [
        f"{cfg.name}: {cfg.label}",
        origin.input_size(cfg),
        origin.epochs(cfg, job.folder),
        str(cfg.seed),
        "not finished" if took is None else f"{took:.0f}",
        origin.commit(last),
        origin.machine(last),
    ]


def _results(
    study: Study, found: Mapping[str, Sequence[Job]], cells: Mapping[str, Sequence[Cell]], to: Path
) -> list[page.Block]:
    blocks: list[page.Block] = []
    for how, part in cells.items():
        number = study_curves.numbered(how, list(cells)).strip()
        blocks += [page.Heading(f"{number} Ours: {how}".strip()), *_tables(study, part)]
        blocks += _differences(study, found[how])
    blocks += _figure(study, found, to)
    for how, jobs in found.items():
        blocks += _pictures(study, jobs, to, study_curves.numbered(how, list(cells)))
    return [*blocks, page.Heading("How to read this"), page.Points(_notes(study))]


def _tables(study: Study, cells: Sequence[Cell]) -> list[page.Block]:
    counts = Counter(str(cell.verdict) for cell in cells if cell.verdict is not Verdict.UNPUBLISHED)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in map(str, Verdict) if counts[verdict])
    blocks: list[page.Block] = [page.Paragraph(f"Of {counts.total()} published values: {said}.")] if counts else []
    for metric in study.metrics:
        part = [cell for cell in cells if cell.metric == metric]
        blocks += [_compared(metric, part) if counts else _measured(metric, part)] if part else []
    return blocks


def _heading(metric: str) -> str:
    return f"{METRICS[metric].title} {_ARROWS[METRICS[metric].higher_is_better]}"


def _measured(metric: str, cells: Sequence[Cell]) -> page.Grid:
    """Ours alone, where nothing was published."""
    rows = [[cell.row, cell.line, _interval(cell), str(cell.pairs)] for cell in cells]
    return page.Grid([_heading(metric), "line", "ours (95 % interval)", "pairs"], rows, numbers=frozenset({2, 3}))


def _compared(metric: str, cells: Sequence[Cell]) -> page.Grid:
    headings = [_heading(metric), "line", "published", "ours (95 % interval)", "difference", "verdict", "pairs"]
    return page.Grid(headings, [_row(cell) for cell in cells], numbers=frozenset({2, 3, 4, 6}), marked=5)


def _row(cell: Cell) -> list[str]:
    difference = "–" if math.isnan(cell.difference) else f"{cell.difference:+.3f}"
    measured = [_number(cell.published), _interval(cell), difference, str(cell.verdict), str(cell.pairs)]
    return [cell.row, cell.line, *measured]


def _interval(cell: Cell) -> str:
    return _number(cell.mean) + (f" ({cell.low:.3f} to {cell.high:.3f})" if cell.pairs else "")


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _differences(study: Study, jobs: Sequence[Job]) -> list[page.Block]:
    """Every model minus the one named in ``against``, on the pairs both have."""
    if not study.against:
        return []
    (base,) = (study_cells.scores(study, line, jobs) for line in study.lines if line.name == study.against)
    models = [line for line in study.lines if line.name != study.against and not line.model]
    rows = [row for line in models for row in _against(study, line, jobs, base)]
    if not rows:
        return []
    said = f"Minus {study.against}, on the same test pairs: mean and 95 % interval (paired bootstrap over images)."
    headings = ["line", "task", "images", *(METRICS[metric].title for metric in study.metrics)]
    return [page.Paragraph(said), page.Grid(headings, rows, numbers=frozenset(range(2, len(headings))))]


def _against(study: Study, line: Line, jobs: Sequence[Job], base: pd.DataFrame) -> list[list[str]]:
    own = study_cells.scores(study, line, jobs)
    if own.merge(base, on=["image_id", "task"]).empty:
        return []
    found = {(d.task, d.metric): d for d in compare(own, base)}
    texts = {key: f"{d.mean:+.3f} ({d.low:+.3f} to {d.high:+.3f})" for key, d in found.items()}
    images = {d.task: d.images for d in found.values()}
    return [
        [line.name, task, str(count), *(texts.get((task, metric), "–") for metric in study.metrics)]
        for task, count in images.items()
    ]


def _figure(study: Study, found: Mapping[str, Sequence[Job]], to: Path) -> list[page.Block]:
    points = study_curves.values(study, found)
    panels = study_curves.panels(study, points)
    if not panels:
        return []
    points.to_csv(to / "curves.csv", index=False)
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
                shutil.copyfile(drawn, to / name)
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


def main() -> None:
    """Entry point; see the module's help."""
    if {"-h", "--help"} & set(sys.argv) or len(sys.argv) < 3:
        print(__doc__)
        sys.exit(len(sys.argv) < 3)
    name, folders = sys.argv[1], [Path(path) for path in sys.argv[2:]]
    try:
        file = studies_folder() / name / "expected.yaml"
        if not file.is_file():
            known = ", ".join(study.name for study in studies())
            raise ConfigError(f"No study {name!r} is compared with published values ({DATA_SET}). Known: {known}")
        jobs = [RunFolder(config.parent) for folder in folders for config in sorted(folder.rglob("config.yaml"))]
        written = write_study(read_study(file), jobs, Path(name))
        if written is None:
            raise ConfigError(f"No run of this study below {', '.join(map(str, folders))}. Start: make reproduce-...")
    except SaltextError as error:
        sys.exit(f"error: {error}")
    print(written)


if __name__ == "__main__":
    main()
