from saltext.baselines import BASELINES
from saltext.data.tasks import TASK_BY_NAME
from saltext.metrics import METRICS
from saltext.reporting.glossary import TASKS, sentences


def test_every_task_metric_and_baseline_has_a_meaning() -> None:
    rows = sentences(TASK_BY_NAME, METRICS, [one.title for one in BASELINES.values()])
    assert len(rows) == len(TASK_BY_NAME) + len(METRICS) + len(BASELINES)
    assert list(TASKS) == list(TASK_BY_NAME)
    assert all(len(meaning) > 20 and "`" not in meaning and "\n" not in meaning for _, _, meaning in rows)


def test_only_what_is_shown_is_explained_and_the_direction_is_said() -> None:
    rows = sentences(["salient", "pure"], ["kl", "cc"], ["net", "uniform map"])
    assert [row[:2] for row in rows] == [
        ["task", "pure"], ["task", "salient"], ["metric", "CC"], ["metric", "KL"], ["model", "uniform map"]
    ]  # fmt: skip
    assert "Higher is better." in rows[2][2]
    assert "Lower is better." in rows[3][2]
