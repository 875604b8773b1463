import math

import pandas as pd
import pytest

from saltext.reporting import tables


@pytest.fixture
def scores() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["01", "02", "01", "02"],
            "task": ["salient"] * 4,
            "text": ["a", "b", "a", "b"],
            "model": ["ours", "ours", "centre prior", "centre prior"],
            "seed": [0] * 4,
            "cc": [0.6, 0.8, 0.4, 0.4],
            "kl": [0.5, 0.7, 1.0, 1.2],
        }
    )


def test_a_cell_is_the_mean_over_pairs_with_its_standard_error(scores: pd.DataFrame) -> None:
    ours = tables.rows(scores, {})[0]
    assert (ours.model, ours.pairs) == ("ours", 2)
    assert ours.cells["cc"].mean == pytest.approx(0.7)
    assert ours.cells["cc"].error == pytest.approx(math.sqrt(0.02 / 2))  # sample variance 0.02, two pairs


def test_published_values_stand_below_the_measured_ones_without_an_error(scores: pd.DataFrame) -> None:
    rows = tables.rows(scores, {"TranBlend, published": {"salient": {"cc": 0.8117}, "pure": {"cc": 0.9}}})
    assert [row.model for row in rows] == ["ours", "centre prior", "TranBlend, published"]
    assert str(rows[-1].cells["cc"]) == "0.812"
    assert str(rows[-1].cells["kl"]) == "–"


def test_published_values_are_those_of_table_2() -> None:
    known = tables.published("sjtu_tis")
    assert known["TranBlend, published"]["non_salient"] == {"top20_auc": 0.8200, "cc": 0.7342, "nss": 2.251}
    assert tables.published("another data set") == {}


def test_markdown_has_a_line_a_row_and_says_what_is_compared(scores: pd.DataFrame) -> None:
    text = tables.markdown(tables.rows(scores, {}))
    lines = text.splitlines()
    assert lines[0].startswith("| task | model | pairs | CC ↑ |")
    assert "KL ↓" in lines[0]
    assert lines[2].startswith("| salient | ours | 2 | 0.700 ± 0.100 |")
    assert tables.NOTE in text


def test_the_best_measured_model_is_found_in_the_metric_s_own_direction(scores: pd.DataFrame) -> None:
    rows = tables.rows(scores, {"published": {"salient": {"cc": 0.99}}})
    assert tables.best(rows, "salient", "cc") is rows[0]
    assert tables.best(rows, "salient", "kl") is rows[0]
    assert tables.best(rows, "pure", "cc") is None
