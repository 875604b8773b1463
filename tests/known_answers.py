"""Published and reproduced values of each paper in one file, from the results that the studies keep.

    python -m tests.known_answers

Writes ``experiments/known_answers.csv``, one row per value, and the table of CC on ``docs/known-answers.md`` between
``<!-- answers -->`` and ``<!-- /answers -->``.
"""

import sys
from pathlib import Path

import pandas as pd

from saltext import storage
from saltext.console import set_up_streams
from saltext.evaluation.protocols import PAPERS
from saltext.reporting.grid import Grid
from saltext.results.study import known_study

ROOT = Path(__file__).resolve().parents[1]
CSV, PAGE = ROOT / "experiments" / "known_answers.csv", ROOT / "docs" / "known-answers.md"
START, END = "<!-- answers -->\n", "<!-- /answers -->"

STUDIES = (
    "table2",
    "transalnet_tasks",
    "non_salient_contrast",
    "fixrate_ablation",
    "clip_salgan",
    "clip_salgan_groups",
)
"""Studies whose networks are the papers' own kinds."""


def answers() -> pd.DataFrame:
    """A row per published value, with the reproduced mean, its 95 % interval and the verdict of its study."""
    parts = []
    for name in STUDIES:
        study = known_study(name)
        table = pd.read_csv(ROOT / "experiments" / name / "results.csv").dropna(subset="published")
        baselines = {line.name for line in study.lines if line.model}
        table = table[~table["line"].isin(baselines)].drop_duplicates(["row", "line", "metric"])
        paper = PAPERS[study.protocol]
        named = dict(zip(paper.metrics, paper.metric_names, strict=True))
        labels = {"paper": paper.title, "study": name, "source": study.source}
        parts.append(table.assign(**labels, metric=table["metric"].map(named)))
    columns = ["paper", "study", "row", "line", "metric", "published", "ours", "low", "high", "pairs", "verdict"]
    found = pd.concat(parts, ignore_index=True)[[*columns, "setting", "source"]]
    renamed: pd.DataFrame = found.rename(columns={"row": "condition", "line": "model", "ours": "reproduced"})
    return renamed


def table(found: pd.DataFrame) -> str:
    """The values of CC as a table in Markdown."""
    rows = [
        [r.paper, r.study, r.condition, r.model, f"{r.published:.3f}", _mean(r), r.verdict]
        for r in found[found["metric"] == "CC"].itertuples()
    ]
    headings = ["paper", "study", "condition", "model", "published CC", "reproduced CC", "verdict"]
    return Grid(headings, rows, frozenset({4, 5}), keys=4).markdown()


def _mean(row: object) -> str:
    mean, low, high = (getattr(row, name) for name in ("reproduced", "low", "high"))
    return "" if pd.isna(mean) else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def filled(text: str, shown: str) -> str:
    """A page with the table between its marks."""
    before, _, rest = text.partition(START)
    return f"{before}{START}{shown}\n{END}{rest.partition(END)[2]}"


def csv(found: pd.DataFrame) -> str:
    """The file's text."""
    return str(found.to_csv(index=False, float_format="%.5g", lineterminator="\n"))


def main() -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    if sys.argv[1:]:
        print(__doc__)
        sys.exit(not {"-h", "--help"} & set(sys.argv))
    found = answers()
    storage.write_text(CSV, csv(found))
    storage.write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), table(found)))


if __name__ == "__main__":
    main()
