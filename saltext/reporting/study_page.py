"""What a study found, beside what was published: one page, its tables as Markdown and LaTeX, and its figure."""

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
from saltext.reporting import document, figures, glossary, provenance, tables
from saltext.reporting import protocol_effects as protocol_effects_page
from saltext.reporting.document import Block, Command, Document, Figure, PictureGroup, Points, Section, Tile
from saltext.reporting.figures import CurvePanel, Series
from saltext.reporting.grid import Grid, latex_document
from saltext.reporting.run_page import estimates_chart, on_last_conditions
from saltext.results import protocol_effects, study_results
from saltext.results.comparison import Difference
from saltext.results.means import Mean
from saltext.results.protocol_effects import EPOCHS_FILE, TESTED_FILE
from saltext.results.run_record import RunRecord
from saltext.results.score_table import shown_metric
from saltext.results.study import Study, is_of, part_of, studies
from saltext.results.study_results import OURS, OWN_FILE, PUBLISHED, Cell, StudyScores, Verdict, numbered
from saltext.results.text_ablation import TITLES

RUNS_FILE = "runs.csv"
"""Who ran when and where, kept beside the scores."""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")  # of files, so that links to them need no escapes


def write_studies(experiment: str, runs: Sequence[RunRecord], to: Path) -> None:
    """Write every study that an experiment (the ``name`` of its runs) belongs to, to ``studies/NAME`` in a folder."""
    for study in studies():
        if experiment in study.experiments:
            write_study(study, runs, to / "studies" / study.name)


def write_study(study: Study, runs: Sequence[RunRecord], to: Path) -> Path | None:
    """Write ``results.html``, ``.md``, ``.tex`` and ``.csv``, what they are made from (``scores.csv.gz``, ``runs.csv``
    and, where the study has a text ablation, ``text_ablation.csv.gz``, with protocol effects ``epochs.csv.gz`` and
    ``tested.csv.gz``), and ``curves.png`` and ``.csv`` where it has a
    figure. Runs of other experiments are left out. Returns the page; None where no run has a split yet.
    """
    found = study_results.by_setting(runs, study.lines)
    arms = protocol_effects.arm_scores(study, runs)
    if not found and arms.epochs.empty:
        return None
    to.mkdir(parents=True, exist_ok=True)
    study_results.write_kept(to, study_results.pooled_scores(study, found))
    for name, table in ((EPOCHS_FILE, arms.epochs), (TESTED_FILE, arms.tested)):
        if len(table):
            study_results.write_packed(to / name, table)
        else:
            (to / name).unlink(missing_ok=True)
    of_arms = [run for run in runs if study.protocol_effects and protocol_effects.line_of(study, run)]
    rows = [
        {"run": ", ".join(filter(None, (f"{run.cfg.name}: {run.label}", _part_of(run)))), **provenance.row(run)}
        for run in of_arms or [run for of_setting in found.values() for run in of_setting]
    ]
    storage.write_csv(to / RUNS_FILE, pd.DataFrame(rows))
    return _write(study, study_results.read_kept(study, to / OWN_FILE), found, to, to)


def _part_of(run: RunRecord) -> str:
    """Fold or arm of a run; empty for other splits."""
    return protocol_effects.arm_of(run) or fold_in(run.setting)


def write_again(study: Study, kept: Path, to: Path) -> Path:
    """Write the same tables from scores that :func:`write_study` kept, without what only the runs tell (curves,
    pictures); returns the page. The study's other kept files and ``runs.csv`` are read if they lie beside ``kept``.

    Raises:
        ConfigError: A file that does not hold scores of the study.
    """
    scores = study_results.read_kept(study, kept)
    to.mkdir(parents=True, exist_ok=True)
    return _write(study, scores, {}, kept.parent, to)


def _write(study: Study, scores: StudyScores, found: Mapping[str, Sequence[RunRecord]], kept: Path, to: Path) -> Path:
    parts = {setting: scores.of(setting) for setting in found or scores.settings}
    cells = {setting: study_results.cells(study, part.own) for setting, part in parts.items()}
    storage.write_csv(to / "results.csv", study_results.frame(cells, study), float_format=None)
    effects = {setting: study_results.ablations(study, part) for setting, part in parts.items()}
    gaps = {setting: study_results.compared_lines(study, part) for setting, part in parts.items()}
    grids: list[Grid] = []
    arms = protocol_effects.read_arm_scores(kept) if study.protocol_effects else None
    generated = bool(scores.own["generated"].any()) or (arms is not None and bool(arms.epochs["generated"].any()))
    points = [(glossary.GENERATED, "")] if generated else []
    added, of_protocol = ([], []) if arms is None else protocol_effects_page.blocks(*arms, study.protocol_effects, to)
    points += added
    for setting, part in cells.items():
        grids += paper_tables(study, part, setting if len(cells) > 1 else "")
        points += _findings(study, part, gaps[setting], effects[setting])
    conditions = glossary.conditions(task for tasks in study.rows.values() for task in tasks)
    first: list[Block] = [Points(points, summary=True), *([conditions] if conditions else [])]
    first += [block for part in cells.values() for block in _accuracy(study, part)]
    sections: list[Section] = [("", first)] if of_protocol else [("", [*first, *grids])]
    sections += [("What the protocol adds", of_protocol), ("Beside the published values", grids)] if of_protocol else []
    sections.append(("By epoch", _figure(study, found, to)))
    for setting, runs in found.items():
        number = numbered(setting, list(found))
        sections.append((f"Test pairs{number}", _pictures(study, runs, to, number)))
    for setting, part in cells.items():
        blocks: list[Block] = [setting]
        if any(cell.verdict is not Verdict.UNPUBLISHED for cell in part):  # whose table has no baselines
            blocks += [by_condition(study, metric, part) for metric in study.metrics]
        blocks += [tables.differences(of_base, f"model minus {base}") for base, of_base in gaps[setting].items()]
        blocks += each_seed(study, parts[setting])
        for subset in study.subsets:
            of_subset = study_results.compared_lines(study, parts[setting], subset)
            blocks += [tables.differences(of, f"{subset}: model minus {base}") for base, of in of_subset.items()]
        blocks += [tables.ablation(by_variant, name) for name, by_variant in effects[setting].items()]
        sections.append((f"{numbered(setting, list(parts))} All comparisons".strip(), blocks))
    sections.append(("How to read it", [Points([(note, "") for note in _notes(study)])]))
    sections.append(("Provenance", _origin(study, kept / RUNS_FILE)))
    page = Document(study.title, sections)
    storage.write_text(to / "results.md", document.markdown(page))
    storage.write_text(to / "results.tex", latex_document(grids))
    storage.write_text(to / "results.html", document.html(page))
    return to / "results.html"


def _findings(
    study: Study,
    cells: Sequence[Cell],
    gaps: Mapping[str, Mapping[str, Sequence[Difference]]],
    effects: Mapping[str, Mapping[str, Sequence[Difference]]],
) -> list[tuple[str, str]]:
    """Sentences with their caveats: beside what was published, the effect of training with text or of a design, and of
    reading the text."""
    found = []
    counts = Counter(str(cell.verdict) for cell in cells if cell.verdict is not Verdict.UNPUBLISHED)
    if counts:
        said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in map(str, Verdict) if counts[verdict])
        caveat = "The published value's own uncertainty is unknown and not counted."
        found.append((f"Of {counts.total()} published values: {said}.", caveat))
    metric = shown_metric(study.metrics)
    title, is_higher_better = METRICS[metric].title, METRICS[metric].higher_is_better
    models = {line.name for line in study.lines if not line.model}
    measured = [cell for cell in cells if cell.metric == metric and cell.line in models and cell.pairs]
    own = [cell for cell in measured if cell.row == measured[-1].row]  # the last condition
    if own:
        best = (max if is_higher_better else min)(own, key=lambda cell: cell.ours.mean)
        among = f", the {'highest' if is_higher_better else 'lowest'} mean of {len(own)} models" if own[2:] else ""
        caveat = f"{best.pairs} pairs; the interval is over images, not over trainings."
        found.append((f"“{best.line}”: {title} {best} on {best.row}{among}.", caveat))
    for base, of_base in list(gaps.items())[:1]:
        for name, of_name in list(of_base.items())[:2]:
            sentence = f"“{name}” minus “{base}”: {title} {on_last_conditions(of_name, metric)}."
            found.append((sentence, tables.PAIRED))
    for name, of_line in effects.items():
        for variant, several in list(of_line.items())[:1]:
            sentence = f"Text ablation of “{name}”, own text against {TITLES.get(variant, variant)}: {title}"
            caveat = "Same weights; a network trained without text is another network."
            found.append((f"{sentence} {on_last_conditions(several, metric)}.", caveat))
    return found


def _accuracy(study: Study, cells: Sequence[Cell]) -> list[Block]:
    """Means of one metric by condition, of the models and then of the baselines."""
    metric, series = shown_metric(study.metrics), []
    for line in sorted(study.lines, key=lambda line: bool(line.model)):
        estimates = {c.row: c.ours for c in cells if (c.line, c.metric) == (line.name, metric) and c.pairs}
        if estimates and line.model != "uniform map":
            series.append(Series(line.name, estimates, "baseline" if line.model else "model"))
    title = METRICS[metric].title
    xlabel = f"{title}, mean with its 95 % interval"
    return [[estimates_chart(f"{title} by condition", xlabel, series)]] if series else []


def by_condition(study: Study, metric: str, cells: Sequence[Cell]) -> Grid:
    """Means of one metric with their intervals: models and baselines down, conditions across."""
    measured = [cell for cell in cells if cell.metric == metric and cell.pairs]
    pairs = {row: max((cell.pairs for cell in measured if cell.row == row), default=0) for row in study.rows}
    columns = [f"{row} ({count})" for row, count in pairs.items() if count]
    order = [line.name for line in study.lines]
    shown = [
        tables.Cell([cell.line], f"{cell.row} ({pairs[cell.row]})", str(cell))
        for cell in sorted(measured, key=lambda cell: order.index(cell.line))
    ]
    note = "Mean over pairs with its 95 % interval (bootstrap over images). In brackets behind a condition: pairs."
    return tables.pivot(shown, [tables.heading(metric)], columns=columns, note=note)


def each_seed(study: Study, scores: StudyScores) -> list[Grid]:
    """The means of each seed, and of the differences to the lines that models are compared with; none for one seed."""
    metric = shown_metric(study.metrics)
    table = study_results.by_seed(study, scores, metric)
    if table.empty:
        return []
    rows = [
        [line if not minus else f"{line} minus {minus}", str(seed), str(pairs)]
        + ["" if math.isnan(mean) else f"{mean:{'+z' if minus else ''}.3f}" for mean in means]
        for line, minus, seed, pairs, *means in table.itertuples(index=False)
    ]
    note = (
        "Mean over the pairs of one seed's networks, all folds together; the tables above average seeds pair by pair."
    )
    numbers = frozenset(range(1, 3 + len(study.rows)))
    title = f"{METRICS[metric].title} of each seed"
    return [Grid(["model", "seed", "pairs", *study.rows], rows, title=title, numbers=numbers, note=note)]


def panels(study: Study, points: pd.DataFrame) -> list[CurvePanel]:
    """The panels of a study's figure that have a curve, from ``study_results.values``: ours beside the published."""
    settings = list(dict.fromkeys(points.loc[points["by"] == OURS, "setting"]))
    found = []
    for panel, title in study.panels.items():
        lines, published = {}, set()
        of_panel = points[points["logged"] == panel]
        for (name, by, setting), part in of_panel.groupby(["line", "by", "setting"], sort=False):
            label = f"{name}, paper" if by == PUBLISHED else f"{name}{numbered(str(setting), settings)}"
            lines[label] = part.set_index("epoch")["value"]
            published |= {label} if by == PUBLISHED else set()
        if lines:
            ylabel = METRICS[panel].title if panel in METRICS else "mean of the epoch"
            found.append(CurvePanel(title, ylabel, lines, published))
    return found


def _figure(study: Study, found: Mapping[str, Sequence[RunRecord]], to: Path) -> list[Block]:
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
    rows, table = [], study_results.best_and_last(points)
    for line, by, setting, logged, best, epoch, last, lost in table.itertuples(index=False):
        whose = by if by == PUBLISHED else f"{by}{numbered(setting, list(found))}"
        rows.append([METRICS[logged].title, line, whose, f"{best:.3f}", str(epoch), f"{last:.3f}", f"{lost:.3f}"])
    headings = ["metric", "model", "by", "best", "its epoch", "last", "lost since the best"]
    ends = [Grid(headings, rows, numbers=frozenset({3, 4, 5, 6}))] if rows else []
    return [[Figure(figures.svg(drawn, "Scores by epoch"), caption, "curves.png")], *ends]


def _pictures(study: Study, runs: Sequence[RunRecord], to: Path, number: str) -> list[Block]:
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
                groups.append(PictureGroup(title, "", [[Tile(drawn.read_bytes(), "", alt)]], name))
    return [groups] if groups else []


def _origin(study: Study, runs: Path) -> list[Block]:
    """Where the values come from: paper, commands, runs."""
    commands = "\n".join(f"python -m saltext.run +experiment={name} -m" for name in study.experiments)
    again = "\n".join(f"make reproduce-{target}" for target in study.targets)
    blocks: list[Block] = [f"Published: {study.source}"]
    if study.claims:
        blocks += ["What the paper concludes:", Points([(claim, "") for claim in study.claims])]
    blocks.append(Command(again or commands))
    if runs.is_file():
        table = pd.read_csv(runs, dtype=str, keep_default_na=False)
        return [*blocks, Grid(list(table.columns), table.to_numpy().tolist(), numbers=frozenset({3, 4}))]
    return [*blocks, f"Made again from the scores of single pairs kept in {OWN_FILE}."]


def _notes(study: Study) -> list[str]:
    paper = PAPERS.get(study.protocol)
    size = f", all maps at {paper.size[0]}x{paper.size[1]}" if paper and paper.size else ""
    measured = f"measured as the {paper.title} paper's script measures{size}" if paper else "standard metrics"
    notes = [
        f"Tables: mean over test pairs, {measured}; intervals: bootstrap over images, which counts neither trainings "
        "nor the choice of an epoch.",
        "Verdict: within tolerance; else covered where the 95 % interval of ours holds the published value; else above "
        "or below it. The published value's own uncertainty is unknown and not counted.",
        *(f"Tolerance of {METRICS[m].title}: {t.within:g}. {t.why}" for m, t in study.tolerance.items()),
    ]
    if any(panel in METRICS for panel in study.panels):
        notes.append(
            "Curves: scores after each epoch on the part of the split that chooses the epoch, at the images' own "
            "resolution with their original fixation points; for CC and AUC that differs from the paper's size by less "
            "than .001, NSS comes out .02 to .04 higher."
        )
    return [*notes, *study.notes]


def paper_tables(study: Study, cells: Sequence[Cell], setting: str = "") -> list[Grid]:
    """The study's main table, ready for a paper: rows per condition and method, a column per metric; none if empty.

    Where values were published, each row has lines: published, ours (with its 95 % interval), the difference (with the
    interval of ours), and the verdict; baselines are left out. The title says the ``setting`` where there are several.
    """
    paper = PAPERS.get(study.protocol)
    names = dict(zip(paper.metrics, paper.metric_names, strict=True)) if paper else {}
    columns = {metric: tables.heading(metric, names.get(metric, "")) for metric in study.metrics}
    published = {cell.line for cell in cells if not math.isnan(cell.published)}
    rows, order = list({**study.paper_rows, **study.rows}), [line.name for line in study.lines]
    baselines = {line.name for line in study.lines if line.model}
    shown = []
    for cell in sorted(cells, key=lambda cell: (rows.index(cell.row), order.index(cell.line))):
        method, column = (study.paper_rows.get(cell.row, cell.row), cell.line), columns[cell.metric]
        if not published:
            shown.append(tables.Cell(method, column, str(cell)))
        elif cell.line in published - baselines:
            is_better = bool(cell.passed) and cell.difference.excludes_zero
            texts = {
                "published": str(Mean(cell.published, math.nan)),
                "ours": str(cell),
                "difference": cell.difference.signed(),
            }
            for what, text in {**texts, "verdict": str(cell.verdict)}.items():
                shown.append(tables.Cell((*method, what), column, text, what == "difference" and is_better))
    if not shown:
        return []
    pairs = {row: max(cell.pairs for cell in cells if cell.row == row) for row in {cell.row: None for cell in cells}}
    counted = ", ".join(f"{study.paper_rows.get(row, row)} {count}" for row, count in pairs.items())
    note = f"Ours: mean over test pairs ({counted}) with its 95 % interval (bootstrap over images)."
    if published:
        note += (
            " Difference: ours minus published, whose own uncertainty is unknown. Bold: ours is better by its interval."
        )
    headings, title = ["Task", "Method", *([""] if published else [])], " ".join(filter(None, (study.title, setting)))
    return [tables.pivot(shown, headings, columns=list(columns.values()), grouped=True, title=title, note=note)]
