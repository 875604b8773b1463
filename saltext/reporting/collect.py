"""One table of all runs below a folder.

From every finished run's scores.csv: task x model. Folds of a cross-validation are pooled and seeds averaged pair by
pair; where a model has several runs, the spread of their means is shown, too. With two or more models, also the
difference of each from the first one, with its interval over images. The command line is ``saltext compare``.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.reporting import spread, tables, text_effect, text_swap
from saltext.reporting.compare import compare, show
from saltext.reporting.scores import averaged_over_seeds, of_protocol, read_all, read_scores
from saltext.system.run_folder import RunFolder, finished_runs, label


def collect(root: Path) -> pd.DataFrame:
    """Scores of all finished runs below a folder, see :func:`pooled`.

    Raises:
        ConfigError: There is no finished run.
    """
    return pooled(_finished(root))


def _finished(root: Path) -> list[RunFolder]:
    runs = finished_runs(root)
    if not runs:
        raise ConfigError(
            f"Expected finished runs below {root}, found none (no whole result.json with whole scores). "
            "Start some first."
        )
    return runs


def pooled(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Scores of finished runs with a column ``run`` (its folder's name); what several runs share, such as a baseline,
    is kept once.

    Args:
        runs: At least one; damaged scores are named in the log and left out.

    Raises:
        DamagedFileError: All are damaged.
    """
    tables = read_all({run: run.scores for run in runs})
    scores = pd.concat([table.assign(run=run.root.name) for run, table in tables.items()], ignore_index=True)
    labels = list(dict.fromkeys(label(run) for run in tables))
    own = scores["model"].isin(labels)
    # A baseline does not depend on the seed; that of other training images is another one, but of the same pair.
    shared = scores[~own].drop_duplicates(["image_id", "task", "model", "protocol"])
    order = {name: place for place, name in enumerate(labels)}
    ours = scores[own].sort_values("model", key=lambda m: m.map(order), kind="stable")
    return pd.concat([ours, shared], ignore_index=True)


def summarise(root: Path) -> None:
    """Print what the runs below a folder show.

    Raises:
        ConfigError: There is no finished run.
    """
    runs = _finished(root)
    show_pooled(pooled(runs), list(dict.fromkeys(label(run) for run in runs)))
    if len(runs) == 1 and runs[0].text_effect_scores.is_file():
        _show_texts(*(read_scores(path) for path in (runs[0].scores, runs[0].text_effect_scores)))


def _show_texts(pairs: pd.DataFrame, variants: pd.DataFrame) -> None:
    """What other texts do to a run's scores, and whether its map follows them."""
    own = text_swap.own_scores(pairs, variants)
    text_effect.show(text_effect.text_effects(own, variants))
    if text_swap.applies(variants):
        text_swap.show(text_swap.shares(own, variants))


def show_pooled(scores: pd.DataFrame, labels: Sequence[str]) -> None:
    """Print tables, the spread over runs, and the differences of the models from the first one.

    Args:
        scores: See :func:`pooled`.
        labels: The models among them that are the runs' own, at least one.
    """
    for table in tables.tables(scores, {}):
        tables.show(table)
    standard = of_protocol(scores, STANDARD)
    spread.show(spread.over_runs(standard[standard["model"].isin(labels)]))
    _show_differences(standard, labels)


def _show_differences(scores: pd.DataFrame, labels: Sequence[str]) -> None:
    first, *others = (averaged_over_seeds(scores[scores["model"] == name]) for name in labels)
    for name, other in zip(labels[1:], others, strict=True):
        show(compare(first, other), f"{labels[0]} - {name}, mean and 95 % interval over images")
