import math

import pandas as pd
import pytest

from saltext.data.tasks import TASK_BY_NAME
from saltext.results.comparison import FEWEST
from saltext.results.means import POOLS, published, rows


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


def of_tasks(model: str, cc: dict[str, list[float]]) -> pd.DataFrame:
    """Scores of images 0, 1 ... of each task."""
    parts = [
        pd.DataFrame({"image_id": [str(i) for i in range(len(values))], "task": task, "cc": values})
        for task, values in cc.items()
    ]
    return pd.concat(parts).assign(model=model, seed=0, protocol="clip_salgan")


def test_a_mean_is_over_pairs_with_its_standard_error(scores: pd.DataFrame) -> None:
    ours = rows(scores, {})[0]
    assert (ours.model, ours.pairs) == ("ours", 2)
    assert ours.means["cc"].mean == pytest.approx(0.7)
    assert ours.means["cc"].error == pytest.approx(math.sqrt(0.02 / 2))  # sample variance 0.02, two pairs
    assert str(ours.means["cc"]) == "0.700 ± 0.100"


def test_a_metric_without_any_score_has_no_column_and_a_single_image_no_error(scores: pd.DataFrame) -> None:
    (ours, _) = rows(scores[scores["image_id"] == "01"].assign(nss=math.nan), {})
    assert set(ours.means) == {"cc", "kl"}
    assert math.isnan(ours.means["cc"].error)
    assert str(ours.means["cc"]) == "0.600"


def test_conditions_of_other_data_have_rows_after_the_known_ones() -> None:
    found = rows(of_tasks("ours", {"guided": [0.1, 0.2], "salient": [0.3, 0.4]}), {})
    assert [row.task for row in found] == ["salient", "guided"]


def test_published_values_stand_below_the_measured_ones_without_an_error(scores: pd.DataFrame) -> None:
    found = rows(scores, {"TranBlend, published": {"salient": {"cc": 0.8117}, "pure": {"cc": 0.9}}})
    assert [(row.model, row.pairs) for row in found] == [
        ("ours", 2), ("centre prior", 2), ("TranBlend, published", None)
    ]  # fmt: skip
    assert str(found[-1].means["cc"]) == "0.812"
    assert str(found[-1].means["kl"]) == "–"


def test_published_values_are_those_of_table_2() -> None:
    known = published("sjtu_tis")["tranblend"]
    expected = {"top20_auc": 0.8200, "top20_sauc": 0.6599, "cc": 0.7342, "nss_unbiased": 2.251}
    assert known["TranBlend, published"]["non_salient"] == expected
    assert published("another data set") == {}


def test_clip_salgan_s_groups_are_published_by_type() -> None:
    known = published("sjtu_tis")["clip_salgan"]
    group = known["CLIP-SalGAN general, published"]
    assert group["whole + general"] == {"top20_auc": 0.7179, "top20_sauc": 0.6090, "cc": 0.4759, "nss_of_map": 0.2574}
    # Table III gives the values of both groups' models in one cell; the first is the salient group's.
    assert known["CLIP-SalGAN salient, published"]["non_salient"]["cc"] == 0.2165
    assert known["CLIP-SalGAN non_salient, published"]["non_salient"]["cc"] == 0.2354
    assert known["CLIP-SalGAN total, published"]["all"]["nss_of_map"] == 0.3389


@pytest.mark.parametrize("protocol", ["tranblend", "clip_salgan"])
def test_published_rows_are_of_tasks_or_of_known_pools_and_have_the_paper_s_metrics(protocol: str) -> None:
    for by_task in published("sjtu_tis")[protocol].values():
        assert set(by_task) <= {*TASK_BY_NAME, *POOLS}
        assert {tuple(values) for values in by_task.values()} == {
            ("top20_auc", "top20_sauc", "cc", "nss_unbiased" if protocol == "tranblend" else "nss_of_map")
        }
        # It follows from the papers' definition of sAUC.
        for values in by_task.values():
            assert values["top20_sauc"] == pytest.approx(0.25 + values["top20_auc"] / 2, abs=3e-3)


def test_tasks_are_pooled_over_pairs_where_a_paper_pools_them() -> None:
    scores = pd.concat(
        [of_tasks("ours", {"whole": [0.1, 0.3], "general": [0.8]}), of_tasks("half", {"whole": [0.5, 0.5]})]
    )
    found = rows(scores, {"theirs": {"whole + general": {"cc": 0.5671}, "all": {"cc": 0.5}}})
    pooled = [row for row in found if row.task == "whole + general"]
    assert [row.model for row in pooled] == ["ours", "theirs"]  # half of a pool is another thing
    assert (pooled[0].pairs, pooled[0].means["cc"].mean) == (3, pytest.approx(0.4))
    assert pooled[1].means["cc"].mean == 0.5671
    assert "all" not in {row.task for row in found}  # not all tasks were tested
    assert "whole + general" not in {row.task for row in rows(scores, {})}


def test_the_error_of_pooled_tasks_counts_images_not_pairs() -> None:
    alike = of_tasks("ours", {"whole": [0.1, 0.3, 0.8], "general": [0.1, 0.3, 0.8]})  # both pairs of an image alike
    measured = (row for row in rows(alike, {"theirs": {"whole + general": {"cc": 0.5}}}) if row.pairs)
    found = {row.task: row.means["cc"] for row in measured}
    assert found["whole + general"].error == pytest.approx(found["whole"].error)
    assert found["whole"].error == pytest.approx(math.sqrt(0.13 / 3))  # sample variance 0.13, three pairs


def test_seeds_are_averaged_pair_by_pair_before_anything_else(scores: pd.DataFrame) -> None:
    other = scores.assign(seed=1, cc=scores["cc"] + [0.2, -0.2, 0, 0])
    ours = rows(pd.concat([scores, other]), {})[0]
    assert ours.pairs == 2
    assert ours.means["cc"].mean == pytest.approx(0.7)
    assert ours.means["cc"].error == pytest.approx(0.0)  # 0.7 and 0.7


def competing(cc: dict[str, float]) -> pd.DataFrame:
    """Ten images, of which models have these mean CC; the higher it is, the lower their KL."""
    tables = [of_tasks(model, {"salient": [value - 0.1, value + 0.1] * 5}) for model, value in cc.items()]
    return pd.concat(tables, ignore_index=True).assign(kl=lambda table: 1 - table["cc"])


def test_a_human_map_of_the_very_image_does_not_compete() -> None:
    found = rows(competing({"ours": 0.6, "centre prior": 0.4, "human map, free viewing": 0.9}), {})
    assert {row.model: set(row.best_in) for row in found} == {
        "ours": {"cc", "kl"}, "centre prior": set(), "human map, free viewing": set()
    }  # fmt: skip


def test_the_best_is_better_than_every_other_measured_model_in_the_metric_s_own_direction() -> None:
    published_too = rows(competing({"ours": 0.6, "centre prior": 0.4}), {"published": {"salient": {"cc": 0.99}}})
    assert [set(row.best_in) for row in published_too] == [{"cc", "kl"}, set(), set()]
    assert not any(row.best_in for row in rows(competing({"ours": 0.6}), {}))


def test_there_is_no_best_where_the_interval_of_a_difference_holds_0_or_images_are_few() -> None:
    scores = competing({"ours": 0.6, "centre prior": 0.4})
    noisy = scores.assign(cc=scores["cc"].where(scores["model"] == "ours", [0.0] * 10 + [0.1, 1.1] * 5))
    assert not any("cc" in row.best_in for row in rows(noisy, {}))
    few = scores[scores["image_id"].isin([str(n) for n in range(FEWEST - 1)])]
    assert not any(row.best_in for row in rows(few, {}))
