"""The page of a run, or of two runs beside each other."""

from collections.abc import Sequence

from saltext.reporting import glossary, origin
from saltext.reporting.curve_charts import curve_charts
from saltext.reporting.network_sections import Chosen, best_and_worst, calibrated, exchanged_texts
from saltext.reporting.page import Block, Charts, Command, Grid, Heading, Paragraph, Report
from saltext.reporting.score_sections import beside_baselines, beside_each_other, results, worth_of_text
from saltext.reporting.scores import metric_names
from saltext.reporting.shown_run import ShownRun
from saltext.runs.trust import parsed, read_text, record

GENERATED = "The data set is a generated one: these scores say nothing about real images or published values."


def report(runs: Sequence[ShownRun], chosen: Chosen) -> Report:
    """Everything about a run, or about two beside each other.

    Args:
        runs: One or two, with different names.
        chosen: By the scores of the first.
    """
    first, *others = runs
    title = f"{first.cfg.name}: {first.name}" + "".join(f" beside {other.name}" for other in others)
    worth = "What the text is worth"
    blocks = [
        *opening(runs),
        *results(runs),
        *(block for run in runs for block in worth_of_text(run, f"{worth}: {run.name}" if others else worth)),
        *(beside_each_other(first, *others) if others else beside_baselines(first)),
        *by_epoch(runs),
        *best_and_worst(runs, chosen),
        *exchanged_texts(runs, chosen),
        *calibrated(runs),
        *meanings(runs),
    ]
    return Report(title, blocks, contents=True)


def opening(runs: Sequence[ShownRun]) -> list[Block]:
    """What this is about, and where the numbers come from.

    Raises:
        ConfigError: A run's configuration lacks something that is shown.
    """
    for run in runs:
        record(run.folder, origin.SHOWN)
    found = {run.name: origin.facts(run.cfg, run.folder, run.job.how, run.own) for run in runs}
    rows = [[what, *(facts[what] for facts in found.values())] for what in next(iter(found.values()))]
    commands = "\n".join(command for run in runs if (command := _command(run)))
    return [
        Paragraph(glossary.INTRODUCTION),
        *([Paragraph(GENERATED)] if any(run.job.generated for run in runs) else []),
        Heading("Where the numbers come from"),
        Grid(["", *found] if len(runs) > 1 else ["", "this run"], rows),
        *([Command(commands)] if commands else []),
    ]


def _command(run: ShownRun) -> str:
    """How the run was started; empty if that is not known."""
    started = run.folder.root / ".hydra" / "overrides.yaml"
    overrides = parsed(read_text(started), started) if started.is_file() else None
    return " ".join(["python -m saltext.run", *map(str, overrides)]) if isinstance(overrides, list) else ""


def by_epoch(runs: Sequence[ShownRun]) -> list[Block]:
    """What the runs logged."""
    charts = curve_charts({run.name: run.folder for run in runs})
    said = "As logged after each epoch, counted from 0." if charts else "Nothing was logged by epoch."
    return [Heading("Learning curves"), Paragraph(said), *([Charts(charts)] if charts else [])]


def meanings(runs: Sequence[ShownRun]) -> list[Block]:
    """What the words mean."""
    pairs = [run.scores.pairs for run in runs]
    tasks, models = ([name for table in pairs for name in table[column].unique()] for column in ("task", "model"))
    metrics = [name for table in pairs for name in metric_names(table)]
    rows = glossary.sentences(tasks, metrics, models)
    return [Heading("What the words mean"), Grid(["", "word", "meaning"], rows, grouped=True)] if rows else []
