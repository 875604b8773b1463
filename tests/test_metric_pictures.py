"""The pictures on the page about metrics."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.filled_pages import filled
from tests.metric_pictures import FOLDER, NAMES, file_name, fixated, markdown, predictions, scored, write_pictures

PAGE = ROOT / "docs" / "metrics" / "index.md"
SCORES = scored(fixated(0))


def test_the_page_on_metrics_has_the_scores_of_its_predictions() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text, FOLDER, markdown(fixated(0))) == text, (
        "write it again: python -m tests.metric_pictures docs/metrics/index.md"
    )


def test_every_prediction_and_the_fixations_have_a_picture(tmp_path: Path) -> None:
    write_pictures(fixated(0), tmp_path)
    written = {file.name for file in tmp_path.iterdir()}
    assert written == {f"{file_name(name)}.png" for name in ("fixations", *predictions(fixated(0)))}
    assert written == {file.name for file in (PAGE.parent / FOLDER).iterdir()}


@pytest.mark.parametrize("metric", ["cc", "nss", "auc_judd", "auc_shuffled"])
def test_lost_contrast_is_not_seen_by_metrics_that_ignore_scale_and_offset(metric: str) -> None:
    assert SCORES["order kept, contrast lost"][metric] == pytest.approx(SCORES["the human map"][metric], abs=1e-3)


@pytest.mark.parametrize("metric", ["nss", "auc_judd", "auc_shuffled", "ig"])
def test_too_sharp_a_map_is_above_the_human_map_by_metrics_of_fixations(metric: str) -> None:
    assert SCORES["too sharp"][metric] > SCORES["the human map"][metric]


def test_a_missed_object_is_the_worst_by_kl_and_information_gain() -> None:
    missed = SCORES["one object missed"]
    assert missed["kl"] == max(scores["kl"] for scores in SCORES.values())
    assert missed["ig"] == min(scores["ig"] for scores in SCORES.values())
    assert all(set(scores) == set(NAMES) for scores in SCORES.values())
