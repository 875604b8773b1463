import math

import numpy as np
import pandas as pd
import pytest

from saltext.reporting.text_swap import Share, applies, chosen_images, document, gains, shares


def table(salient: list[float], non_salient: list[float], name: str = "cc", **more: object) -> pd.DataFrame:
    """Scores of images 000, 001 ... on both tasks."""
    parts = [
        pd.DataFrame({"image_id": [f"{i:03}" for i in range(len(column))], "task": task, name: column})
        for task, column in (("salient", salient), ("non_salient", non_salient))
    ]
    return pd.concat(parts, ignore_index=True).assign(**more)


def by_direction(found: list[Share], metric: str = "cc", variant: str = "opposite") -> dict[str, Share]:
    return {share.direction: share for share in found if (share.metric, share.variant) == (metric, variant)}


OWN = table([0.8, 0.8, 0.8, 0.8], [0.6, 0.6, 0.6, 0.6])
# Image 000 moves rightly in both directions, 001 to salient only, 002 to non_salient only, 003 not at all.
EXCHANGED = table([0.5, 0.5, 0.9, 0.8], [0.4, 0.7, 0.4, 0.6], variant="opposite")


def test_a_map_moves_rightly_when_the_right_text_brings_it_nearer_to_its_truth() -> None:
    found = by_direction(shares(OWN, EXCHANGED))
    assert {name: share.share for name, share in found.items()} == {
        "salient": 0.5,
        "non_salient": 0.5,
        "both": 0.25,
        "texts": 0.5,
    }
    assert {share.images for share in found.values()} == {4}


def test_nearer_means_less_where_less_is_better() -> None:
    own, exchanged = (t.rename(columns={"cc": "kl"}) for t in (OWN, EXCHANGED))
    found = by_direction(shares(own, exchanged), "kl")
    # To salient only 002 moves rightly now, to non_salient only 001.
    assert {name: share.share for name, share in found.items()} == {
        "salient": 0.25,
        "non_salient": 0.25,
        "both": 0.0,
        "texts": 0.25,
    }


def test_a_map_that_does_not_change_has_not_moved() -> None:
    rounding = np.random.default_rng(0).uniform(-1e-7, 1e-7, 8)
    own = OWN.assign(cc=OWN["cc"] + rounding)
    found = by_direction(shares(own, OWN.assign(variant="opposite")))
    assert [share.share for share in found.values()] == [0, 0, 0, 0]


def test_pairs_are_matched_whatever_their_order_and_lonely_ones_left_out() -> None:
    shuffled = EXCHANGED.sample(frac=1, random_state=1)
    lonely = pd.DataFrame({"image_id": ["9"], "task": ["salient"], "cc": [0.0], "variant": ["opposite"]})
    own = pd.concat([OWN, lonely.drop(columns="variant").assign(cc=1.0)])
    assert shares(own, pd.concat([shuffled, lonely])) == shares(OWN, EXCHANGED)


def test_an_image_with_an_undefined_score_is_not_counted_for_that_metric() -> None:
    own = OWN.assign(nss=1.0).assign(nss=lambda t: t["nss"].where(t.index != 0))
    found = shares(own, EXCHANGED.assign(nss=0.5))
    assert by_direction(found, "nss")["both"].images == 3
    assert by_direction(found, "cc")["both"].images == 4


def test_the_exact_interval_is_that_of_clopper_and_pearson() -> None:
    # 8 of 10: beta quantiles, as tabulated for the binomial proportion.
    eight = [0.6] * 8 + [0.4] * 2
    found = by_direction(shares(table(eight, eight), table([0.5] * 10, [0.5] * 10, variant="opposite")))["both"]
    assert found.share == 0.8
    assert (found.exact_low, found.exact_high) == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))


def test_the_bootstrap_takes_an_image_s_two_texts_together() -> None:
    rng = np.random.default_rng(0)
    moved = rng.uniform(size=400) < 0.5
    alike = np.where(moved, 0.6, 0.4).tolist()  # both texts of an image move, or none
    found = by_direction(shares(table(alike, alike), table([0.5] * 400, [0.5] * 400, variant="opposite")))
    width = found["texts"].bootstrap_high - found["texts"].bootstrap_low
    assert width == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(400), rel=0.1)  # of 400 images, not of 800 texts
    assert math.isnan(found["texts"].exact_low)
    assert str(found["texts"]).endswith(f"{100 * found['texts'].bootstrap_high:.0f})")


def test_other_variants_are_not_looked_at_and_the_condition_s_is_apart() -> None:
    empty = EXCHANGED.assign(variant="empty")
    told = EXCHANGED.assign(variant="opposite_condition", cc=0.0)
    found = shares(OWN, pd.concat([empty, EXCHANGED, told]))
    assert {share.variant for share in found} == {"opposite", "opposite_condition"}
    assert by_direction(found, variant="opposite_condition")["both"].share == 1
    assert by_direction(found)["both"].share == 0.25


def test_it_applies_where_an_image_s_two_texts_were_exchanged() -> None:
    assert applies(EXCHANGED)
    assert not applies(pd.DataFrame())
    assert not applies(EXCHANGED.assign(variant="empty"))
    assert not applies(EXCHANGED[EXCHANGED["task"] == "salient"])


def test_gains_are_in_the_metric_s_unit_and_positive_where_the_right_text_is_better() -> None:
    found = gains(OWN, EXCHANGED).set_index("image_id")
    assert found["salient"].tolist() == pytest.approx([0.3, 0.3, -0.1, 0.0])
    assert found["non_salient"].tolist() == pytest.approx([0.2, -0.1, 0.2, 0.0])
    less = gains(OWN.rename(columns={"cc": "kl"}), EXCHANGED.rename(columns={"cc": "kl"}))
    assert less["salient"].tolist() == pytest.approx([-0.3, -0.3, 0.1, 0.0])


def test_the_figure_shows_failures_and_successes_by_percentile() -> None:
    effect = np.random.default_rng(3).permutation(np.linspace(-0.5, 0.5, 21))
    own = table((0.5 + effect).tolist(), [0.5] * 21)
    found = chosen_images(own, table([0.5] * 21, [0.5] * 21))
    assert [chosen.quantile for chosen in found] == [0.1, 0.5, 0.9]
    assert [chosen.effect for chosen in found] == pytest.approx([-0.2, 0.0, 0.2])  # the mean of both texts
    assert [effect[int(chosen.image_id)] for chosen in found] == pytest.approx([-0.4, 0.0, 0.4])
    assert "10th percentile" in str(found[0])
    assert "-0.20 CC" in str(found[0])


def test_few_images_are_shown_once_each() -> None:
    two = chosen_images(table([0.8, 0.9], [0.8, 0.9]), table([0.5, 0.5], [0.5, 0.5]))
    assert [chosen.image_id for chosen in two] == ["000", "001"]
    assert len(chosen_images(table([0.8], [0.8]), table([0.5], [0.5]))) == 1


def test_the_document_has_a_line_a_metric_and_says_what_is_counted() -> None:
    text = document(shares(OWN.assign(nss=1.0), EXCHANGED.assign(nss=0.0)))
    assert "| CC | 4 | 50 % (7 to 93) | 50 % (7 to 93) | 25 % (1 to 81) | 50 % (" in text
    assert "| NSS | 4 | 100 % (40 to 100) |" in text
    assert "nearer to the truth of that text" in text
    assert "Clopper-Pearson" in text
