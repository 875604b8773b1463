"""Paired differences of a study, from made-up scores."""

from pathlib import Path

from saltext.reporting.page import Grid, Paragraph
from saltext.reporting.study_cells import read_jobs
from saltext.reporting.study_differences import differences, effects
from saltext.reporting.study_expected import Line
from saltext.reporting.study_scores import StudyScores, pooled
from tests.reporting.made_up import run, spread, study

LINES = (
    Line("prior", "one", where={"label": "text"}, model="centre prior"),
    Line("no text", "one", where={"label": "none"}),
    Line("with text", "one", where={"label": "text"}),
)
WANTED = study(*LINES, protocol="standard", against=("no text", "prior"), text_effects=("with text",))


def scores(root: Path) -> StudyScores:
    """With text .2 above no text on salient and level with it on average on pure, which the prior has not."""
    same, other = spread(0.5, 0.1, 20), spread(0.5, -0.1, 20)
    higher = [value + 0.2 for value in same]
    folders = [
        run(root / "none", {"pure": same, "salient": same}, label="none"),
        run(root / "text", {"pure": other, "salient": higher}, label="text", baseline={"salient": same},
            variants={"opposite": {"salient": same}, "empty": {"salient": higher}}),
    ]  # fmt: skip
    return pooled(WANTED, {"one way": read_jobs(folders)})


def test_each_line_of_against_has_a_table_of_the_models_minus_it(tmp_path: Path) -> None:
    first, from_none, second, from_prior = differences(WANTED, scores(tmp_path))
    assert isinstance(first, Paragraph)
    assert isinstance(second, Paragraph)
    assert isinstance(from_none, Grid)
    assert isinstance(from_prior, Grid)
    assert first.text.startswith("Minus no text, on the same test pairs")
    assert second.text.startswith("Minus prior, on the same test pairs")
    assert [row[:2] for row in from_none.rows] == [["with text", "pure"], ["with text", "salient"]]
    # The prior is a baseline: nothing is shown of it but what models are above it, on the tasks it has.
    assert [row[:2] for row in from_prior.rows] == [["no text", "salient"], ["with text", "salient"]]


def test_an_interval_that_excludes_zero_stands_out(tmp_path: Path) -> None:
    _, grid, *_ = differences(WANTED, scores(tmp_path))
    assert isinstance(grid, Grid)
    assert grid.rows[1][3] == "+0.200 (+0.200 to +0.200)"
    assert grid.strong == {(1, 3)}


def test_the_effect_of_the_text_is_own_text_minus_each_other_one(tmp_path: Path) -> None:
    said, grid = effects(WANTED, scores(tmp_path))
    assert isinstance(said, Paragraph)
    assert isinstance(grid, Grid)
    assert said.text.startswith("Effect of the text on with text")
    assert [(row[0].split(" (")[0], *row[1:3], row[3][:6]) for row in grid.rows] == [
        ("no text", "salient", "20", "+0.000"),
        ("the text about the image's other objects", "salient", "20", "+0.200"),
    ]
    assert grid.strong == {(1, 3)}


def test_without_other_texts_there_is_no_effect_to_show(tmp_path: Path) -> None:
    jobs = read_jobs([run(tmp_path / "text", {"salient": [0.5, 0.6]}, label="text")])
    assert effects(WANTED, pooled(WANTED, {"one way": jobs})) == []
