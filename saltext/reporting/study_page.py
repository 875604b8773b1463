"""What a study found, beside what was published: one page, its tables as Markdown and LaTeX, and its figure.

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
from saltext.evaluation.protocols import PAPERS
from saltext.metrics import METRICS
from saltext.reporting import document, figures, provenance, tables
from saltext.reporting.document import PictureGroup, Tile
from saltext.reporting.figures import CurvePanel, Line, Series
from saltext.reporting.grid import Grid, latex_document
from saltext.results import study_results, study_scores
from saltext.results.comparison import Difference, Estimate, differences
from saltext.results.run_record import RunRecord
from saltext.results.score_table import without_absent
from saltext.results.study import Study, is_of, part_of, studies
from saltext.results.study_results import OURS, PUBLISHED, Cell, Verdict
from saltext.results.study_scores import StudyScores
from saltext.results.text_effect import TITLES, text_effects

RUNS_FILE = "runs.csv"
"""Who ran when and where, kept beside the scores."""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")  # of files, so that links to them need no escapes
_GENERATED = (
    "These runs read a generated data set: they show that the command works. Their scores say nothing about the "
    "published ones, and get no verdict."
)


def write_studies(experiment: str, runs: Sequence[RunRecord], to: Path) -> None:
    """Write every study that an experiment belongs to, from its runs; nothing where there is none.

    Args:
        experiment: A choice of conf/experiment, the ``name`` of its runs.
        runs: Finished or not.
        to: Each study is written to ``studies/NAME`` in here.

    Raises:
        ConfigError: An ``expected.yaml`` that does not say what is needed.
    """
    for study in studies():
        if experiment in study.experiments:
            write_study(study, runs, to / "studies" / study.name)


def write_study(study: Study, runs: Sequence[RunRecord], to: Path) -> Path | None:
    """Write ``results.html``, ``.md``, ``.tex`` and ``.csv``, what they are made from (``scores.csv.gz``, ``runs.csv``
    and, where the study has a text ablation, ``text_effect.csv.gz``), and ``curves.png`` and ``.csv`` where it has a
    figure.

    Args:
        study: What is compared.
        runs: Of its experiments, finished or not; others are left out.
        to: Folder of the files; made if there is something to write.

    Returns:
        The page; None where no run has got as far as having a split.
    """
    found = study_results.by_setting(runs, study.lines)
    if not found:
        return None
    to.mkdir(parents=True, exist_ok=True)
    study_scores.write(to, study_scores.pooled(study, found))
    storage.write_csv(to / RUNS_FILE, _runs(found))
    return _write(study, study_scores.read(study, to / study_scores.OWN_FILE), found, to, to)


def write_again(study: Study, kept: Path, to: Path) -> Path:
    """Write the same tables from scores that :func:`write_study` kept, without what only the runs tell (curves,
    pictures).

    Args:
        study: What is compared.
        kept: The file ``scores.csv.gz``; ``text_effect.csv.gz`` and ``runs.csv`` are read if they lie beside it.
        to: Folder of the files; made if it is not there.

    Returns:
        The page.

    Raises:
        ConfigError: A file that does not hold scores of the study.
    """
    scores = study_scores.read(study, kept)
    to.mkdir(parents=True, exist_ok=True)
    return _write(study, scores, {}, kept.parent, to)


def _write(study: Study, scores: StudyScores, found: Mapping[str, Sequence[RunRecord]], kept: Path, to: Path) -> Path:
    parts = {how: scores.of(how) for how in found or scores.ways}
    cells = {how: study_results.cells(study, part.own) for how, part in parts.items()}
    storage.write_csv(to / "results.csv", study_results.frame(cells, study), float_format=None)
    effects = {how: _effects(study, part) for how, part in parts.items()}
    gaps = {how: _differences(study, part) for how, part in parts.items()}
    grids = [grid for how, part in cells.items() for grid in paper_tables(study, part, how if len(cells) > 1 else "")]
    blocks: list[document.Block] = [
        document.Summary(
            [one for how, part in cells.items() for one in _findings(study, part, gaps[how], effects[how])]
        ),
        *([document.Paragraph(_GENERATED)] if bool(scores.own["generated"].any()) else []),
        *(block for part in cells.values() for block in _accuracy(study, part)),
        *grids,
        *(_figure(study, found, to) if found else []),
    ]
    for how, runs in found.items():
        blocks += _pictures(study, runs, to, study_results.numbered(how, list(found)))
    for how, part in cells.items():
        blocks.append(document.Heading(f"{study_results.numbered(how, list(parts)).strip()} All comparisons".strip()))
        blocks.append(document.Paragraph(how))
        if any(cell.verdict is not Verdict.UNPUBLISHED for cell in part):  # whose table has no baselines
            blocks += [by_condition(study, metric, part) for metric in study.metrics]
        blocks += [tables.differences(*of_base, f"{tables.PAIRED}.".capitalize()) for of_base in gaps[how]]
        blocks += [
            tables.differences(by_variant, f"{name}: own text vs.", f"Text ablation, same weights: {tables.PAIRED}.")
            for name, by_variant in effects[how].items()
        ]
    blocks += [
        *_origin(study, kept / RUNS_FILE),
        document.Heading("How to read this"),
        document.BulletList(_notes(study)),
    ]
    page = document.Document(study.title, blocks, contents=True)
    storage.write_text(to / "results.md", document.markdown(page))
    storage.write_text(to / "results.tex", latex_document(grids))
    written = to / "results.html"
    storage.write_text(written, document.html(page))
    return written


def _findings(
    study: Study,
    cells: Sequence[Cell],
    gaps: Sequence[tuple[Mapping[str, Sequence[Difference]], str]],
    effects: Mapping[str, Mapping[str, Sequence[Difference]]],
) -> list[tuple[str, str]]:
    """Sentences with their caveats: beside what was published, the worth of training with text or of a design, and of
    reading the text."""
    found = []
    counts = Counter(str(cell.verdict) for cell in cells if cell.verdict is not Verdict.UNPUBLISHED)
    if counts:
        said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in map(str, Verdict) if counts[verdict])
        found.append((
            f"Of {counts.total()} published values: {said}.",
            "The published value's own uncertainty is unknown and not counted.",
        ))  # fmt: skip
    metric = "cc" if "cc" in study.metrics else study.metrics[0]
    title = METRICS[metric].title
    models = {line.name for line in study.lines if not line.model}
    measured = [cell for cell in cells if cell.metric == metric and cell.line in models and cell.pairs]
    if measured:
        task = [row for row in study.rows if row in {cell.row for cell in measured}][-1]
        own = [cell for cell in measured if cell.row == task]
        best = (max if METRICS[metric].higher_is_better else min)(own, key=lambda cell: cell.mean)
        found.append((
            f"{best.line}: {title} {best} on {task}, the best of {len(own)} here." if own[1:]
            else f"{best.line}: {title} {best} on {task}.",
            f"{best.pairs} pairs; the interval is over images, not over trainings.",
        ))  # fmt: skip
    for of_base, what in gaps[:1]:
        for name, of_name in list(of_base.items())[:2]:
            said = _on_last(of_name, metric)
            found.append((f"{name} {what.removeprefix('model ')}: {title} {said}.", tables.PAIRED.capitalize() + "."))
    for name, of_line in effects.items():
        for variant, several in list(of_line.items())[:1]:
            said = _on_last(several, metric)
            found.append((
                f"Text ablation of {name}, own text against {variant}: {title} {said}.",
                "Same weights; a network trained without text is another network.",
            ))  # fmt: skip
    return found


def _on_last(found: Sequence[Difference], metric: str) -> str:
    """Differences under the last two conditions, under which the text says most."""
    return " and ".join(f"{one.signed()} on {one.task}" for one in [d for d in found if d.metric == metric][:-3:-1])


def _accuracy(study: Study, cells: Sequence[Cell]) -> list[document.Block]:
    """Means of one metric by condition, models and baselines."""
    metric = "cc" if "cc" in study.metrics else study.metrics[0]
    series = []
    for line in study.lines:
        own = {cell.row: cell for cell in cells if (cell.line, cell.metric) == (line.name, metric) and cell.pairs}
        estimates = {row: Estimate(cell.mean, cell.low, cell.high, cell.pairs) for row, cell in own.items()}
        if estimates and line.model != "uniform map":
            series.append(Series(line.name, estimates, "baseline" if line.model else "model"))
    if not series:
        return []
    title = METRICS[metric].title
    drawn = figures.estimates(f"{title} by condition", f"{title}, mean with its 95 % interval", series)
    return [document.Figure(figures.svg(drawn, f"{title} by condition, with 95 % intervals"))]


def _differences(study: Study, scores: StudyScores) -> list[tuple[dict[str, list[Difference]], str]]:
    """Every model minus each line named in ``against``, on the pairs both have; and what the table is headed."""
    found = []
    models = [line.name for line in study.lines if not line.model]
    for base in study.against:
        other = _of_line(scores.own, base)
        own = {name: _of_line(scores.own, name) for name in models if name != base}
        shared = {
            name: differences(table, other)
            for name, table in own.items()
            if not table.merge(other, on=["image_id", "task"]).empty
        }
        if shared:
            found.append((shared, f"model minus {base}"))
    return found


def _effects(study: Study, scores: StudyScores) -> dict[str, dict[str, list[Difference]]]:
    """Text ablation of each line named in ``text_effects``: what was read instead -> differences."""
    found = {}
    for name in study.text_effects:
        own, variants = (_of_line(table, name) for table in (scores.own, scores.variants))
        if len(own) and len(variants):
            found[name] = {TITLES.get(v, v): several for v, several in text_effects(own, variants).items()}
    return found


def _of_line(scores: pd.DataFrame, line: str) -> pd.DataFrame:
    return without_absent(scores[scores["line"] == line])


def by_condition(study: Study, metric: str, cells: Sequence[Cell]) -> Grid:
    """Means of one metric with their intervals: models and baselines down, conditions across."""
    cells = [cell for cell in cells if cell.metric == metric]
    by_row_and_line = {(cell.line, cell.row): cell for cell in cells}
    pairs = {row: max((cell.pairs for cell in cells if cell.row == row), default=0) for row in study.rows}
    shown = [row for row in study.rows if pairs[row]]
    names = [line.name for line in study.lines if any(cell.line == line.name and cell.pairs for cell in cells)]
    rows = [[name, *(str(by_row_and_line.get((name, row), "")) for row in shown)] for name in names]
    headings = [tables.heading(metric), *(f"{row} ({pairs[row]})" for row in shown)]
    note = "Mean over pairs with its 95 % interval (bootstrap over images). In brackets behind a condition: pairs."
    return Grid(headings, rows, numbers=frozenset(range(1, len(headings))), note=note)


def number(value: float) -> str:
    """Three decimals; nothing where there is no value."""
    return "" if math.isnan(value) else f"{value:.3f}"


def panels(study: Study, points: pd.DataFrame) -> list[CurvePanel]:
    """The panels of a study's figure: ours beside the published curves.

    Args:
        study: Whose panels are drawn.
        points: See :func:`saltext.results.study_results.values`.

    Returns:
        Those with a curve. Runs of several evaluation settings have the number of their section.
    """
    ways = list(dict.fromkeys(points.loc[points["by"] == OURS, "how"]))
    found = []
    for panel, title in study.panels.items():
        lines = []
        for name in (line.name for line in study.lines):
            own = points[(points["line"] == name) & (points["logged"] == panel)]
            for (by, how), part in own.groupby(["by", "how"], sort=False):
                label = f"{name}, paper" if by == PUBLISHED else f"{name}{study_results.numbered(str(how), ways)}"
                lines.append(Line(label, part["epoch"].tolist(), part["value"].tolist(), by == PUBLISHED))
        if lines:
            found.append(CurvePanel(title, METRICS[panel].title if panel in METRICS else "mean of the epoch", lines))
    return found


def _figure(study: Study, found: Mapping[str, Sequence[RunRecord]], to: Path) -> list[document.Block]:
    points = study_results.values(study, found)
    drawn_panels = panels(study, points)
    if not drawn_panels:
        return []
    storage.write_csv(to / "curves.csv", points, float_format=None)
    drawn = figures.curves(drawn_panels)
    figures.write_png(drawn, to / "curves.png")
    caption = (
        "By epoch, ours solid, published dashed and grey. Epochs count from 0: the first point is after one epoch."
    )
    rows = [
        [
            METRICS[logged].title,
            line,
            by if by == PUBLISHED else f"{by}{study_results.numbered(how, list(found))}",
            *(number(best), str(epoch), number(last), number(lost)),
        ]
        for line, by, how, logged, best, epoch, last, lost in study_results.best_and_last(points).itertuples(
            index=False
        )
    ]
    headings = ["metric", "model", "by", "best", "its epoch", "last", "lost since the best"]
    ends = [Grid(headings, rows, numbers=frozenset({3, 4, 5, 6}))] if rows else []
    return [
        document.Heading("By epoch"),
        document.Figure(figures.svg(drawn, "Scores by epoch"), caption, "curves.png"),
        *ends,
    ]


def _pictures(study: Study, runs: Sequence[RunRecord], to: Path, number: str) -> list[document.Block]:
    """The pictures that runs drew of their test pairs, copied beside the report."""
    groups = []
    for line in (line for line in study.lines if line.picture):
        for run in runs:
            drawn = part_of(run, line).picture
            if is_of(run, line) and drawn.is_file():
                # Runs of several seeds or folds have one label; their folders differ.
                name = f"{_NOT_IN_NAMES.sub('_', line.name)}-{run.folder.root.name}.png"
                storage.write_bytes(to / name, drawn.read_bytes())
                title = f"{line.name}{number}, {run.label}, seed {run.cfg.seed}"
                alt = "Test pairs: image, human map and prediction"
                groups.append(PictureGroup(title, "", [Tile(drawn.read_bytes(), "", alt)], name))
    return [document.Heading(f"Test pairs{number}"), document.Pictures(groups)] if groups else []


def _runs(found: Mapping[str, Sequence[RunRecord]]) -> pd.DataFrame:
    """Who ran when and where, one row a run."""
    rows = []
    for run in (run for runs in found.values() for run in runs):
        took = provenance.minutes(run.folder)
        last = (provenance.starts(run.folder) or [{}])[-1]
        rows.append({
            "run": ", ".join(filter(None, (f"{run.cfg.name}: {run.label}", fold_in(run.setting)))),
            "input": provenance.input_size(run),
            "epochs": provenance.epochs(run),
            "seed": str(run.cfg.seed),
            "minutes": "not finished" if took is None else f"{took:.0f}",
            "commit": provenance.commit(last),
            "machine": provenance.machine(last),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _origin(study: Study, runs: Path) -> list[document.Block]:
    """Where the values come from: paper, commands, runs."""
    commands = "\n".join(f"python -m saltext.run +experiment={name} -m" for name in study.experiments)
    again = "\n".join(f"make reproduce-{target}" for target in study.targets)
    blocks: list[document.Block] = [document.Heading("Provenance"), document.Paragraph(f"Published: {study.source}")]
    if study.claims:
        blocks += [document.Paragraph("What the paper concludes:"), document.BulletList(study.claims)]
    blocks.append(document.Command(again or commands))
    if runs.is_file():
        table = pd.read_csv(runs, dtype=str, keep_default_na=False)
        rows = [[str(value) for value in row] for row in table.itertuples(index=False)]
        return [*blocks, Grid(list(table.columns), rows, numbers=frozenset({3, 4}))]
    return [*blocks, document.Paragraph(f"Made again from the scores of single pairs kept in {study_scores.OWN_FILE}.")]


def _notes(study: Study) -> list[str]:
    paper = PAPERS.get(study.protocol)
    size = f", all maps at {paper.size[0]}x{paper.size[1]}" if paper and paper.size else ""
    how = f"measured as the {paper.title} paper's script measures{size}" if paper else "standard metrics"
    notes = [
        f"Tables: mean over test pairs, {how}; intervals: bootstrap over images.",
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


def paper_tables(study: Study, cells: Sequence[Cell], setting: str = "") -> list[Grid]:
    """The study's main table, ready for a paper: a row a condition and method, a column a metric.

    Where values were published, each row has lines: published, ours (with its 95 % interval), the difference (with the
    interval of ours), and the verdict; baselines are left out.

    Args:
        study: What is compared.
        cells: Of one evaluation setting, see :func:`saltext.results.study_results.cells`.
        setting: Said in the title where there are several.

    Returns:
        One table, or none where nothing is to be shown.
    """
    paper = PAPERS.get(study.protocol)
    names = dict(zip(paper.metrics, paper.metric_names, strict=True)) if paper else {}
    headings = [tables.heading(metric, names.get(metric, "")) for metric in study.metrics]
    by_row_and_line = {(cell.row, cell.line, cell.metric): cell for cell in cells}
    published = any(not math.isnan(cell.published) for cell in cells)
    rows, strong = [], set()
    for row in sorted(study.rows, key=lambda row: list({**study.paper_rows, **study.rows}).index(row)):
        for line in study.lines:
            own = [by_row_and_line.get((row, line.name, metric)) for metric in study.metrics]
            known = [cell for cell in own if cell is not None]
            first = [study.paper_rows.get(row, row), line.name]
            if known and not published:
                rows.append([*first, *(str(cell or "") for cell in own)])
            elif not line.model and any(not math.isnan(cell.published) for cell in known):
                strong |= {(len(rows) + 2, 3 + n) for n, cell in enumerate(own) if cell and cell.passed}
                rows.append([*first, "published", *(number(cell.published) if cell else "" for cell in own)])
                rows.append([*first, "ours", *(str(cell or "") for cell in own)])
                rows.append([*first, "difference", *(cell.gap if cell else "" for cell in own)])
                rows.append([*first, "verdict", *(str(cell.verdict) if cell else "" for cell in own)])
    if not rows:
        return []
    pairs = {row: max(cell.pairs for cell in cells if cell.row == row) for row in {cell.row: None for cell in cells}}
    counted = ", ".join(f"{study.paper_rows.get(row, row)} {count}" for row, count in pairs.items())
    note = f"Ours: mean over test pairs ({counted}) with its 95 % interval (bootstrap over images)."
    if published:
        note += " Difference: ours minus published, whose own uncertainty is unknown. Bold: ours is better."
    keys = 3 if published else 2
    numbers = frozenset(range(keys, keys + len(headings)))
    headings = [*["Task", "Method", ""][:keys], *headings]
    title = " ".join(filter(None, (study.title, setting)))
    return [Grid(headings, rows, numbers, strong=frozenset(strong), grouped=True, title=title, note=note, keys=keys)]
