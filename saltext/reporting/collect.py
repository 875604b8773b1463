"""One table of all runs below a folder.

    python -m saltext.reporting.collect outputs/quickstart

Reads every finished run's scores.csv and prints task x model; with two or more models, also the difference of each from
the first one on the same pairs.
"""

import json
import sys
from pathlib import Path

import pandas as pd

from saltext.errors import ConfigError, SaltextError
from saltext.reporting import tables
from saltext.run_folder import RunFolder


def finished_runs(root: Path) -> list[RunFolder]:
    """The finished runs at or below a folder, in the order of their names."""
    return [RunFolder(path.parent) for path in sorted(root.rglob("result.json"))]


def read_scores(folder: RunFolder) -> pd.DataFrame:
    """The score table of a run; ids keep their leading zeros, an empty text stays a text."""
    scores = pd.read_csv(folder.scores, dtype={"image_id": str, "text": str})
    return scores.assign(text=scores["text"].fillna(""))


def collect(root: Path) -> pd.DataFrame:
    """Scores of all finished runs below a folder; what several runs share, such as a baseline, is kept once.

    Raises:
        ConfigError: There is no finished run.
    """
    runs = finished_runs(root)
    if not runs:
        raise ConfigError(f"Expected finished runs below {root}, found none (no result.json). Start some first.")
    scores = pd.concat([read_scores(run) for run in runs], ignore_index=True)
    scores = scores.drop_duplicates(["image_id", "task", "model", "seed"], ignore_index=True)
    labels = [json.loads(run.result.read_text())["label"] for run in runs]
    order = {label: i for i, label in enumerate(labels)}  # the baselines come last
    return scores.sort_values("model", key=lambda m: m.map(order).fillna(len(order)), kind="stable")


def differences(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean difference of every model from the first one on the pairs both have, by task.

    Returns:
        Rows: tasks; columns: models but the first.
    """
    by_pair = scores.pivot_table(index=["task", "image_id", "seed"], columns="model", values=metric, sort=False)
    first = scores["model"].iloc[0]
    gaps: pd.DataFrame = by_pair.drop(columns=first).rsub(by_pair[first], axis=0)
    return gaps.groupby("task", sort=False).mean()


def main() -> None:
    """Entry point; see the module's help."""
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    try:
        scores = collect(Path(sys.argv[1]))
    except SaltextError as error:
        sys.exit(f"error: {error}")
    tables.show(tables.rows(scores, {}))
    if scores["model"].nunique() > 1:
        first = scores["model"].iloc[0]
        for task, row in differences(scores, "cc").iterrows():
            gaps = ", ".join(f"{gap:+.3f} over {model}" for model, gap in row.items())
            print(f"CC of {first} on {task}: {gaps}")


if __name__ == "__main__":
    main()
