"""Tables of Markdown files, filled from kept scores."""

from pathlib import Path

import pytest
import yaml

from saltext.errors import ConfigError
from saltext.reporting.study_page import write_study
from saltext.results.study import known_study
from saltext.runs.records import read_records
from tests.made_up_scores import run, spread
from tests.marked_tables import filled

BASELINE = {"experiment": "one", "model": "centre prior"}
GIVEN = {
    "title": "Made up",
    "source": "nowhere",
    "experiments": ["one"],
    "protocol": "tranblend",
    "metrics": ["cc"],
    "rows": {"pure": ["pure"], "salient": ["salient"]},
    "lines": {"prior": BASELINE, "ours": {"experiment": "one", "published": "TranBlend, published"}},
}
MARKED = "Before.\n\n<!-- table: {study} {metric} -->\n{table}<!-- /table -->\n\nAfter.\n"


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    """A folder of two studies, of which ``measured`` keeps scores."""
    folder = tmp_path / "experiments"
    for name in ("measured", "planned"):
        (folder / name).mkdir(parents=True)
        (folder / name / "expected.yaml").write_text(yaml.safe_dump(GIVEN, sort_keys=False))
    scores = {"pure": [0.9] * 6, "salient": spread(0.5, 0.0, 6)}
    job = run(tmp_path / "run", scores, baseline={"salient": [0.25] * 6}, method="fold 1 of 5")
    write_study(known_study("measured", folder), read_records([job]), folder / "measured")
    return folder


def marked(study: str = "measured", metric: str = "cc", table: str = "") -> str:
    return MARKED.format(study=study, metric=metric, table=table)


def test_a_marked_table_is_filled_from_the_kept_scores_and_nothing_else_is_touched(experiments: Path) -> None:
    text = filled(marked(table="| what stood here |\n"), experiments)
    assert text.startswith("Before.\n\n<!-- table: measured cc -->\n| CC ↑ | prior | ours | TranBlend, published |\n")
    assert "| pure | – | 0.900 (0.900 to 0.900) | 0.889 |\n" in text
    assert "| salient | 0.250 (0.250 to 0.250) | 0.500 (0.500 to 0.500) | 0.812 |\n" in text
    assert "\nSplit: 1 of 5 folds, seed 0, grouped by image." in text
    assert text.endswith("\n<!-- /table -->\n\nAfter.\n")
    assert "what stood here" not in text


def test_a_table_can_have_some_columns_alone(experiments: Path) -> None:
    text = filled(marked(metric="cc | ours"), experiments)
    assert "<!-- table: measured cc | ours -->\n| CC ↑ | ours |\n" in text
    assert "| pure | 0.900 (0.900 to 0.900) |\n" in text


def test_filling_twice_changes_nothing(experiments: Path) -> None:
    once = filled(marked(), experiments)
    assert filled(once, experiments) == once


def test_a_text_without_marks_stays(experiments: Path) -> None:
    assert filled("| a | b |\n", experiments) == "| a | b |\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (marked(study="planned"), "No scores are kept in .*planned"),
        (marked(study="unknown"), "No study 'unknown'.*measured, planned"),
        (marked(metric="kl"), "'kl'. Choose from: cc"),
        (marked(metric="cc | theirs"), "no line 'theirs' with scores. Choose from: prior, ours"),
        ("<!-- table: measured cc -->\n", "found 1 such marks, of which 0 belong together"),
        ("<!-- table: measured -->\n<!-- /table -->\n", "found 2 such marks, of which 0"),
    ],
)
def test_a_mark_that_cannot_be_filled_is_refused(experiments: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        filled(text, experiments)
