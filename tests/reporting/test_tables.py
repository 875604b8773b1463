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
            "protocol": ["standard"] * 4,
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
    known = tables.published("sjtu_tis")["tranblend"]
    expected = {"top20_auc": 0.8200, "top20_sauc": 0.6599, "cc": 0.7342, "nss_unbiased": 2.251}
    assert known["TranBlend, published"]["non_salient"] == expected
    assert tables.published("another data set") == {}


def test_markdown_has_a_line_a_row_and_says_what_is_compared(scores: pd.DataFrame) -> None:
    (table,) = tables.tables(scores, {}, "Split: by hand.")
    lines = tables.markdown(table).splitlines()
    assert lines[0] == "**Standard metrics**"
    assert lines[2].startswith("| task | model | pairs | CC ↑ |")
    assert "KL ↓" in lines[2]
    assert lines[4].startswith("| salient | ours | 2 | 0.700 ± 0.100 |")
    assert lines[-1].endswith("Split: by hand.")


def test_protocols_never_share_a_table(scores: pd.DataFrame) -> None:
    as_published = scores.assign(protocol="tranblend", nss_unbiased=1.0).drop(columns="kl")
    both = pd.concat([scores, as_published], ignore_index=True)
    known = {"tranblend": {"TranBlend, published": {"salient": {"cc": 0.8117}}}}
    standard, paper = tables.tables(both, known)
    assert set(standard.rows[0].cells) == {"cc", "kl"}
    assert set(paper.rows[0].cells) == {"cc", "nss_unbiased"}
    assert [row.model for row in standard.rows] == ["ours", "centre prior"]
    assert paper.rows[-1].model == "TranBlend, published"
    assert "288x384" in paper.note


def test_seeds_are_averaged_pair_by_pair_before_anything_else(scores: pd.DataFrame) -> None:
    other = scores.assign(seed=1, cc=scores["cc"] + [0.2, -0.2, 0, 0])
    ours = tables.rows(pd.concat([scores, other]), {})[0]
    assert ours.pairs == 2
    assert ours.cells["cc"].mean == pytest.approx(0.7)
    assert ours.cells["cc"].error == pytest.approx(0.0)  # 0.7 and 0.7


def test_a_human_map_of_the_very_image_does_not_compete(scores: pd.DataFrame) -> None:
    ceiling = scores.iloc[:2].assign(model="human free-viewing map", cc=[0.9, 0.9])
    rows = tables.rows(pd.concat([scores, ceiling]), {})
    assert "human free-viewing map" in [row.model for row in rows]
    best = tables.best(rows, "salient", "cc")
    assert best is not None
    assert best.model == "ours"


def test_the_best_measured_model_is_found_in_the_metric_s_own_direction(scores: pd.DataFrame) -> None:
    rows = tables.rows(scores, {"published": {"salient": {"cc": 0.99}}})
    assert tables.best(rows, "salient", "cc") is rows[0]
    assert tables.best(rows, "salient", "kl") is rows[0]
    assert tables.best(rows, "pure", "cc") is None
