"""What a run found, in sentences, on made-up scores."""

import numpy as np
import pandas as pd
import pytest

from saltext.results.findings import conclusion, findings

TEXTS = ("salient", "non_salient")


def scores(model: str, cc: float, tasks: tuple[str, ...] = TEXTS, images: int = 40, **columns: object) -> pd.DataFrame:
    rows = [(f"{n}", task, cc + n / 100) for n in range(images) for task in tasks]
    found = pd.DataFrame(rows, columns=["image_id", "task", "cc"])
    return found.assign(text="x", split="test", seed=0, protocol="standard", model=model).assign(**columns)


def test_it_says_the_score_the_gap_to_a_baseline_the_text_ablation_and_whether_the_map_follows() -> None:
    pairs = pd.concat([scores("mine", 0.5), scores("uniform map", 0.0), scores("centre prior (other images)", 0.3)])
    accuracy, text, swap = findings(pairs, scores("mine", 0.4, variant="opposite"), "mine")
    assert [one.kind for one in (accuracy, text, swap)] == ["accuracy", "text", "swap"]
    assert accuracy.sentence.startswith("CC 0.695 (0.6")
    assert accuracy.sentence.endswith(
        " on non_salient, +0.200 (+0.200 to +0.200) against the centre prior (other images)."
    )
    assert text.sentence == (
        "Text ablation: +0.100 (+0.100 to +0.100) CC on non_salient, own text against swapped text, same weights."
    )
    assert (
        swap.sentence == "The map follows the text for 100 % (100 to 100) of the texts of 40 images (text-swap test)."
    )
    assert "same network trained without text" in text.caveat
    assert "50 % is chance" in swap.caveat


def test_the_conclusion_is_the_findings_without_their_caveats() -> None:
    pairs, other = scores("mine", 0.5), scores("mine", 0.4, variant="opposite")
    found = findings(pairs, other, "mine")
    assert conclusion(pairs, other, "mine") == " ".join(one.sentence for one in found)
    assert conclusion(scores("uniform map", 0.0), pd.DataFrame(), "baselines") == ""


def test_without_texts_or_baselines_it_says_what_there_is() -> None:
    (accuracy,) = findings(scores("mine", 0.5), pd.DataFrame(), "mine")
    assert accuracy.sentence.startswith("CC 0.695 (")
    assert accuracy.sentence.endswith(") on non_salient.")
    assert findings(scores("uniform map", 0.0), pd.DataFrame(), "baselines") == []


def test_the_strongest_baseline_that_was_scored_on_the_condition_is_the_one_compared_with() -> None:
    free_viewing = scores("human map, free viewing", 0.6)
    lesser = [scores("mine", 0.5), scores("uniform map", 0.0)]
    assert "-0.100 (-0.100 to -0.100) against the human map of free viewing" in conclusion(
        pd.concat([*lesser, free_viewing]), pd.DataFrame(), "mine"
    )
    elsewhere = free_viewing[free_viewing["task"] == "salient"]
    assert "against the uniform map" in conclusion(pd.concat([*lesser, elsewhere]), pd.DataFrame(), "mine")


def test_the_most_telling_other_text_is_the_one_that_is_named() -> None:
    shuffled, empty = (scores("mine", 0.45, variant=name) for name in ("other_image", "empty"))
    said = conclusion(scores("mine", 0.5), pd.concat([empty, shuffled]), "mine")
    assert "own text against shuffled text, same weights" in said
    assert "own text against empty text" in conclusion(scores("mine", 0.5), empty, "mine")


def test_a_model_conditioned_on_the_task_is_judged_with_the_condition_swapped_too() -> None:
    swapped = pd.concat([scores("mine", 0.9, variant="opposite"), scores("mine", 0.4, variant="opposite_condition")])
    assert "for 100 % (100 to 100) of the texts" in conclusion(scores("mine", 0.5), swapped, "mine")


def test_own_data_has_findings_whatever_its_conditions_and_metrics_are_called() -> None:
    own = scores("mine", 0.5, ("guided", "free")).rename(columns={"cc": "nss"})
    empty = scores("mine", 0.2, ("guided",), variant="empty").rename(columns={"cc": "nss"})
    accuracy, text = findings(own, empty, "mine")
    assert accuracy.sentence.startswith("NSS 0.695 (")
    assert accuracy.sentence.endswith(") on guided.")
    assert "+0.300 (+0.300 to +0.300) NSS on guided, own text against empty text" in text.sentence


def test_without_texts_the_last_condition_is_concluded_about() -> None:
    (accuracy,) = findings(scores("mine", 0.5, ("zebras", "afraid")), pd.DataFrame(), "mine")
    assert accuracy.sentence.endswith("on afraid.")


@pytest.mark.parametrize(("images", "few"), [(2, True), (29, True), (30, False)])
def test_few_images_make_a_rough_interval_and_the_caveat_says_so(images: int, few: bool) -> None:
    (accuracy,) = findings(scores("mine", 0.5, images=images), pd.DataFrame(), "mine")
    assert accuracy.caveat.startswith(f"{images} test images")
    assert ("few: the interval is rough" in accuracy.caveat) is few


def test_the_caveat_says_how_many_seeds_there_were_and_what_makes_scores_optimistic() -> None:
    nothing = pd.DataFrame()
    once = scores("mine", 0.5)
    twice = pd.concat([once, once.assign(seed=1)])
    assert "one seed, whose spread is not in the interval" in findings(once, nothing, "mine")[0].caveat
    assert "2 seeds, averaged pair by pair" in findings(twice, nothing, "mine")[0].caveat
    for setting in ("Split: random, by row: test images also train", "chosen on the test part, which is optimistic"):
        assert "has seen test images" in findings(once, nothing, "mine", setting)[0].caveat
    assert "has seen" not in findings(once, nothing, "mine", "Split: random, grouped by image.")[0].caveat


def test_an_undefined_score_is_left_out_of_the_mean() -> None:
    pairs = scores("mine", 0.5)
    pairs.loc[1, "cc"] = np.nan
    (accuracy,) = findings(pairs, pd.DataFrame(), "mine")
    assert accuracy.sentence.startswith("CC 0.700 (")
    assert accuracy.caveat.startswith("39 test images")
