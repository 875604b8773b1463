"""What a page says of runs by their scores alone."""

from collections.abc import Sequence

import pandas as pd

from saltext.errors import ConfigError
from saltext.models.baselines import BASELINES
from saltext.reporting import scatter, score_grids, tables, text_effect, text_swap
from saltext.reporting.compare import compare
from saltext.reporting.page import Block, Charts, Grid, Heading, Paragraph, Subheading
from saltext.reporting.shown_run import ShownRun
from saltext.reporting.study_expected import DATA_SET

_BASELINES = tuple(BASELINES[name].title for name in ("centre_prior_others", "human_pure"))
"""Beside which a single run's pairs are shown: what needs no image, and what needs no text."""

_PAIRED = "mean difference with its 95 % interval (paired bootstrap over images)"


def results(runs: Sequence[ShownRun]) -> list[Block]:
    """Tables of all models and tasks, then the runs' own means with intervals."""
    scored = [run for run in runs if len(run.scores.pairs)]
    if not scored:
        return [Heading("Results"), Paragraph("No test pair was scored yet.")]
    blocks: list[Block] = [Heading("Results")]
    groups = _alike(scored)
    for several in groups:
        blocks += [Paragraph(f"Tested alike: {', '.join(run.name for run in several)}.")] if len(groups) > 1 else []
        blocks += _tables(several)
    own = {run.name: run.own for run in scored if len(run.own)}
    if own:
        blocks += [Subheading("Own means with 95 % intervals (bootstrap over images)"), score_grids.intervals(own)]
    return blocks


def _alike(runs: Sequence[ShownRun]) -> list[list[ShownRun]]:
    """Runs that may share a table: of one split and choice of the epoch, in their order."""
    groups: dict[tuple[str, str], list[ShownRun]] = {}
    for run in runs:
        groups.setdefault((run.split.digest, run.job.how), []).append(run)
    return list(groups.values())


def _tables(runs: Sequence[ShownRun]) -> list[Block]:
    scores = side_by_side(runs)
    return tables_of(scores, runs[0].job.how, any(run.job.generated for run in runs))


def tables_of(scores: pd.DataFrame, how: str, generated: bool) -> list[Block]:
    """A table for each protocol, with the published rows unless the data set is a generated one."""
    published = {} if generated else tables.published(DATA_SET)
    blocks: list[Block] = []
    for table in tables.tables(scores, published, how):
        blocks += [Subheading(table.title), score_grids.results(table), Paragraph(table.note)]
    return blocks


def side_by_side(runs: Sequence[ShownRun]) -> pd.DataFrame:
    """Scores of several runs under their names, then of the baselines, each once."""
    own = [
        pairs[pairs["model"] == run.cfg.label].assign(model=run.name) for run in runs for pairs in [run.scores.pairs]
    ]
    others = pd.concat([run.scores.pairs[run.scores.pairs["model"] != run.cfg.label] for run in runs])
    shared = others.drop_duplicates(["image_id", "task", "model", "protocol"])
    found: pd.DataFrame = pd.concat([*own, shared], ignore_index=True)
    return found


def beside_baselines(run: ShownRun) -> list[Block]:
    """A run's model pair by pair beside what needs no image, and what needs no text."""
    found: list[Block] = [Heading("The model pair by pair beside people's averages")]
    shown = [title for title in _BASELINES if title in set(run.scores.pairs["model"])]
    for title in shown:
        found += [
            Subheading(f"{run.name} against: {title}"),
            *scatters(run.own, run.of_model(title), (run.name, title)),
        ]
    if not shown:
        found.append(Paragraph(f"Not shown: the run scored none of {', '.join(_BASELINES)} (evaluation.baselines)."))
    return found


def beside_each_other(one: ShownRun, other: ShownRun) -> list[Block]:
    """The first run minus the second, on the pairs both were tested on."""
    heading = Heading("The two runs pair by pair")
    if one.own.empty or other.own.empty:
        return [heading, Paragraph("Not shown: both runs have to have scored their test pairs.")]
    try:
        found = {f"{one.name} minus {other.name}": compare(one.own, other.own)}
    except ConfigError as error:
        return [heading, Paragraph(f"Not shown. {error}")]
    both = len(one.own.merge(other.own, on=["image_id", "task"]))
    said = f"On the {both} pairs that both were tested on: {_PAIRED}; bold where it excludes zero."
    grid = score_grids.differences(found, "difference")
    return [heading, Paragraph(said), grid, *scatters(one.own, other.own, (one.name, other.name))]


def scatters(one: pd.DataFrame, other: pd.DataFrame, names: tuple[str, str]) -> list[Block]:
    """A chart for each task, and the pairs that differ most."""
    found = scatter.scatters(one, other, names)
    if not found:
        return [Paragraph(f"Not shown: no pair has a CC by both {names[0]} and {names[1]}.")]
    said = (
        f"Each point is a test pair: its CC by {names[0]} against that by {names[1]}; above the dashed line {names[0]} "
        f"is better. Above each chart: {_PAIRED}. The pairs that differ most have the numbers of the table; the others "
        "say what they are when pointed at."
    )
    return [Paragraph(said), Charts([scatter.chart(one) for one in found]), scatter.table(found)]


def worth_of_text(run: ShownRun, heading: str) -> list[Block]:
    """What the text is worth to a run's model; nothing where it was scored with its own texts alone."""
    variants = run.scores.text_effect
    if variants.empty:
        return []
    effects = text_effect.text_effects(run.own, variants)
    said = (
        "Score with a pair's own text minus score with another one, on the same image against the same human truth: "
        f"{_PAIRED}; bold where it excludes zero."
    )
    titled = {text_effect.TITLES.get(name, name): found for name, found in effects.items()}
    return [Heading(heading), Paragraph(said), score_grids.differences(titled, "own text minus"), *_followed(run)]


def _followed(run: ShownRun) -> list[Block]:
    variants = run.scores.text_effect
    if not text_swap.applies(variants):
        return []
    shares = text_swap.shares(run.own, variants)
    found: list[Block] = []
    for variant in dict.fromkeys(share.variant for share in shares):
        columns = list(text_swap.HEADINGS)
        found.append(Subheading(f"Does the map follow the text? ({text_swap.VARIANTS[variant]})"))
        found.append(Grid(columns, text_swap.table_rows(shares, variant), frozenset(range(1, len(columns)))))
    return [*found, Paragraph(text_swap.NOTE)]
