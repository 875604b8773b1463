import math

import numpy as np
import pandas as pd
import pytest

from saltext.results.text_ablation import (
    TITLES,
    SwapAccuracy,
    ablation_differences,
    exchanged_pairs,
    gains,
    has_swaps,
    own_scores,
    swap_accuracies,
)
from tests.made_up_scores import both_texts


def by_direction(found: list[SwapAccuracy], metric: str = "cc", variant: str = "opposite") -> dict[str, SwapAccuracy]:
    return {one.direction: one for one in found if (one.metric, one.variant) == (metric, variant)}


OWN = both_texts([0.8, 0.8, 0.8, 0.8], [0.6, 0.6, 0.6, 0.6])
# Image 000 is correct in both directions, 001 to salient only, 002 to non_salient only, 003 not at all.
EXCHANGED = both_texts([0.5, 0.5, 0.9, 0.8], [0.4, 0.7, 0.4, 0.6], variant="opposite")


def test_a_map_follows_the_text_when_the_correct_text_scores_higher_than_the_swapped_one() -> None:
    found = by_direction(swap_accuracies(OWN, EXCHANGED))
    assert {name: one.accuracy for name, one in found.items()} == {
        "salient": 0.5,
        "non_salient": 0.5,
        "both": 0.25,
        "texts": 0.5,
    }
    assert {one.images for one in found.values()} == {4}


def test_better_means_less_where_less_is_better() -> None:
    own, exchanged = (t.rename(columns={"cc": "kl"}) for t in (OWN, EXCHANGED))
    found = by_direction(swap_accuracies(own, exchanged), "kl")
    # To salient only 002 moves in the right direction now, to non_salient only 001.
    assert {name: one.accuracy for name, one in found.items()} == {
        "salient": 0.25,
        "non_salient": 0.25,
        "both": 0.0,
        "texts": 0.25,
    }


def test_a_map_that_does_not_change_has_not_moved() -> None:
    rounding = np.random.default_rng(0).uniform(-1e-7, 1e-7, 8)
    own = OWN.assign(cc=OWN["cc"] + rounding)
    found = by_direction(swap_accuracies(own, OWN.assign(variant="opposite")))
    assert [one.accuracy for one in found.values()] == [0, 0, 0, 0]


def test_pairs_are_matched_whatever_their_order_and_lonely_ones_left_out() -> None:
    shuffled = EXCHANGED.sample(frac=1, random_state=1)
    lonely = pd.DataFrame({"image_id": ["9"], "task": ["salient"], "cc": [0.0], "variant": ["opposite"]})
    own = pd.concat([OWN, lonely.drop(columns="variant").assign(cc=1.0)])
    assert swap_accuracies(own, pd.concat([shuffled, lonely])) == swap_accuracies(OWN, EXCHANGED)


def test_an_image_with_an_undefined_score_is_not_counted_for_that_metric() -> None:
    own = OWN.assign(nss=1.0).assign(nss=lambda t: t["nss"].where(t.index != 0))
    found = swap_accuracies(own, EXCHANGED.assign(nss=0.5))
    assert by_direction(found, "nss")["both"].images == 3
    assert by_direction(found, "cc")["both"].images == 4


def test_the_exact_interval_is_that_of_clopper_and_pearson() -> None:
    # 8 of 10: beta quantiles, as tabulated for the binomial proportion.
    eight = [0.6] * 8 + [0.4] * 2
    found = by_direction(
        swap_accuracies(both_texts(eight, eight), both_texts([0.5] * 10, [0.5] * 10, variant="opposite"))
    )["both"]
    assert found.accuracy == 0.8
    assert (found.exact_low, found.exact_high) == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))


def test_the_bootstrap_takes_an_image_s_two_texts_together() -> None:
    rng = np.random.default_rng(0)
    moved = rng.uniform(size=400) < 0.5
    alike = np.where(moved, 0.6, 0.4).tolist()  # both texts of an image move, or none
    found = by_direction(
        swap_accuracies(both_texts(alike, alike), both_texts([0.5] * 400, [0.5] * 400, variant="opposite"))
    )
    width = found["texts"].bootstrap_high - found["texts"].bootstrap_low
    assert width == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(400), rel=0.1)  # of 400 images, not of 800 texts
    assert math.isnan(found["texts"].exact_low)
    assert str(found["texts"]).endswith(f"{100 * found['texts'].bootstrap_high:.0f})")


def test_other_variants_are_not_looked_at_and_the_condition_s_is_apart() -> None:
    empty = EXCHANGED.assign(variant="empty")
    both = EXCHANGED.assign(variant="opposite_condition", cc=0.0)
    found = swap_accuracies(OWN, pd.concat([empty, EXCHANGED, both]))
    assert {one.variant for one in found} == {"opposite", "opposite_condition"}
    assert by_direction(found, variant="opposite_condition")["both"].accuracy == 1
    assert by_direction(found)["both"].accuracy == 0.25


def test_it_applies_where_an_image_s_two_texts_were_exchanged() -> None:
    assert has_swaps(EXCHANGED)
    assert not has_swaps(pd.DataFrame())
    assert not has_swaps(EXCHANGED.assign(variant="empty"))
    assert not has_swaps(EXCHANGED[EXCHANGED["task"] == "salient"])


def test_gains_are_in_the_metric_s_unit_and_positive_where_the_right_text_is_better() -> None:
    found = gains(OWN, EXCHANGED).set_index("image_id")
    assert found["salient"].tolist() == pytest.approx([0.3, 0.3, -0.1, 0.0])
    assert found["non_salient"].tolist() == pytest.approx([0.2, -0.1, 0.2, 0.0])
    less = gains(OWN.rename(columns={"cc": "kl"}), EXCHANGED.rename(columns={"cc": "kl"}))
    assert less["salient"].tolist() == pytest.approx([-0.3, -0.3, 0.1, 0.0])


def test_the_swap_that_is_looked_at_is_the_whole_one() -> None:
    both = EXCHANGED.assign(variant="opposite_condition")
    assert set(exchanged_pairs(pd.concat([EXCHANGED, both]))["variant"]) == {"opposite_condition"}
    assert set(exchanged_pairs(pd.concat([EXCHANGED, EXCHANGED.assign(variant="empty")]))["variant"]) == {"opposite"}


def test_the_accuracies_make_a_table_of_one_row_each() -> None:
    table = pd.DataFrame(swap_accuracies(OWN, EXCHANGED))
    assert table["direction"].tolist() == ["salient", "non_salient", "both", "texts"]
    assert table["accuracy"].tolist() == [0.5, 0.5, 0.25, 0.5]
    assert list(table)[:5] == ["variant", "metric", "direction", "images", "accuracy"]


def ablated(cc: list[float], task: str = "salient", **more: str) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [str(number) for number in range(len(cc))], "task": task, "cc": cc, **more})


def test_the_effect_is_own_text_minus_other_text_on_the_same_pairs() -> None:
    own = pd.concat([ablated([0.8, 0.7, 0.6] * 2), ablated([0.9, 0.9, 0.9] * 2, task="pure")])
    variants = [ablated([0.5, 0.4, 0.3] * 2, variant="empty"), ablated([0.9, 0.6, 0.6] * 2, variant="opposite")]
    effects = ablation_differences(own, pd.concat(variants, ignore_index=True))
    (empty,) = effects["empty"]
    assert (empty.task, empty.metric, empty.images) == ("salient", "cc", 6)
    assert empty.mean == pytest.approx(0.3)
    assert empty.excludes_zero
    (opposite,) = effects["opposite"]
    assert opposite.mean == pytest.approx(0.0)
    assert not opposite.excludes_zero


def test_variants_stand_in_their_usual_order_and_unknown_ones_last() -> None:
    names = ["opposite", "typed_twice", "other_image", "empty"]
    variants = pd.concat([ablated([0.5, 0.5, 0.5], variant=name) for name in names])
    own = ablated([0.5, 0.5, 0.5])
    assert list(ablation_differences(own, variants)) == ["empty", "other_image", "opposite", "typed_twice"]
    assert ablation_differences(own, pd.DataFrame()) == {}
    assert TITLES["other_image"] == "shuffled text (another image's)"


def test_own_scores_are_those_of_the_model_that_read_other_texts() -> None:
    pairs = pd.concat(
        ablated([0.5, 0.5, 0.5], model=model, protocol=protocol)
        for model in ("mine", "uniform map")
        for protocol in ("standard", "tranblend")
    )
    found = own_scores(pairs, ablated([0.1, 0.1, 0.1], model="mine", variant="empty"))
    assert found[["model", "protocol"]].drop_duplicates().to_numpy().tolist() == [["mine", "standard"]]
    assert len(found) == 3
