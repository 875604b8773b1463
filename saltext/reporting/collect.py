"""One table of all runs below a folder.

    python -m saltext.reporting.collect outputs/quickstart

Reads every finished run's scores.csv and prints task x model; with two or more runs, also the difference of each from
the first one, with its interval.
"""

import json
import sys
from pathlib import Path

import pandas as pd

from saltext.errors import ConfigError, SaltextError
from saltext.models.baselines import CENTRE_PRIOR
from saltext.reporting import tables
from saltext.reporting.compare import compare, show
from saltext.reporting.scores import read_scores
from saltext.run_folder import RunFolder


def finished_runs(root: Path) -> list[RunFolder]:
    """The finished runs at or below a folder, in the order of their names."""
    return [RunFolder(path.parent) for path in sorted(root.rglob("result.json"))]


def collect(root: Path) -> pd.DataFrame:
    """Scores of all finished runs below a folder; what several runs share, such as a baseline, is kept once.

    Raises:
        ConfigError: There is no finished run.
    """
    runs = finished_runs(root)
    if not runs:
        raise ConfigError(f"Expected finished runs below {root}, found none (no result.json). Start some first.")
    scores = pd.concat([read_scores(run.scores) for run in runs], ignore_index=True)
    scores = scores.drop_duplicates(["image_id", "task", "model", "seed"], ignore_index=True)
    labels = [json.loads(run.result.read_text())["label"] for run in runs]
    order = {label: i for i, label in enumerate(labels)}  # the baselines come last
    return scores.sort_values("model", key=lambda m: m.map(order).fillna(len(order)), kind="stable")


def main() -> None:
    """Entry point; see the module's help."""
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    try:
        scores = collect(Path(sys.argv[1]))
    except SaltextError as error:
        sys.exit(f"error: {error}")
    tables.show(tables.rows(scores, {}))
    first, *others = _trained(scores)
    for other in others:
        differences = compare(scores[scores["model"] == first], scores[scores["model"] == other])
        show(differences, f"{first} - {other}, mean and 95 % interval over images")


def _trained(scores: pd.DataFrame) -> list[str]:
    """Names of the runs' own models, in the table's order."""
    return [model for model in scores["model"].unique() if model != CENTRE_PRIOR]


if __name__ == "__main__":
    main()
