"""Which pairs and images are shown, from made-up scores."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saltext.data.pairs import Pair
from saltext.results.selection import (
    BY_EFFECT,
    BY_ID,
    extremes,
    gaps,
    images_by_effect,
    images_under_both_texts,
    pairs_by_id,
)
from tests.made_up_scores import both_texts


def scores(cc: list[float], task: str = "pure") -> pd.DataFrame:
    ids = [f"{place:03}" for place in range(len(cc))]
    return pd.DataFrame({"image_id": ids, "task": task, "text": [f"text {i}" for i in ids], "cc": cc})


def ranks(values: list[float], count: int = 2) -> list[tuple[str, str]]:
    return [(f"{one.end} {one.position}", one.image_id) for one in extremes(scores(values), count)]


def test_the_best_come_first_then_the_worst_each_from_the_end() -> None:
    assert ranks([0.5, 0.9, 0.1, 0.7, 0.3, 0.6]) == [
        ("best 1", "001"), ("best 2", "003"), ("worst 1", "002"), ("worst 2", "004")
    ]  # fmt: skip


def test_no_pair_is_both_and_a_lonely_one_is_the_best() -> None:
    assert ranks([0.5, 0.9, 0.1]) == [("best 1", "001"), ("best 2", "000"), ("worst 1", "002")]
    assert ranks([0.5]) == [("best 1", "000")]
    assert ranks([]) == []


def test_undefined_scores_are_left_out_and_tasks_are_ranked_by_themselves() -> None:
    table = pd.concat([scores([0.2, np.nan, 0.4], "salient"), scores([0.9, 0.8])])
    found = [(one.task, f"{one.end} {one.position}", one.image_id, one.text) for one in extremes(table, 1)]
    assert found == [("pure", "best 1", "000", "text 000"), ("pure", "worst 1", "001", "text 001"),
                     ("salient", "best 1", "002", "text 002"), ("salient", "worst 1", "000", "text 000")]  # fmt: skip
    assert extremes(table.rename(columns={"cc": "nss"})) == []


ZEROS = [0.0] * 11


def test_images_are_chosen_by_how_much_the_text_matters() -> None:
    effect = np.linspace(-0.5, 0.5, 11).tolist()
    found, rule = images_under_both_texts(both_texts(effect, effect), both_texts(ZEROS, ZEROS, variant="opposite"))
    assert rule == BY_EFFECT
    assert list(found) == ["001", "005", "009"]
    assert found["009"] == "CC +0.40 by the right text, 90th percentile of the test images"


def test_a_model_conditioned_on_the_task_is_looked_at_with_the_condition_swapped_too() -> None:
    effect = np.linspace(-0.5, 0.5, 11)
    swapped = [
        both_texts(ZEROS, ZEROS, variant="opposite"),
        both_texts(effect.tolist(), effect.tolist(), variant="opposite_condition"),
    ]
    found, _ = images_under_both_texts(both_texts(ZEROS, ZEROS), pd.concat(swapped))
    assert list(found) == ["009", "005", "001"]


def test_without_scores_under_other_texts_the_first_images_are_taken() -> None:
    alone = pd.DataFrame({"image_id": ["!"], "task": ["salient"], "cc": [0.0]})
    own = pd.concat([both_texts(ZEROS, ZEROS), alone])
    found, rule = images_under_both_texts(own, pd.DataFrame())
    assert list(found) == ["000", "001", "002"]  # "!" would be the first, but has one text only
    assert rule == BY_ID
    assert images_under_both_texts(own[own["task"] == "salient"], pd.DataFrame())[0] == {}


def test_failures_and_successes_are_chosen_by_percentile() -> None:
    effect = np.random.default_rng(3).permutation(np.linspace(-0.5, 0.5, 21))
    own = both_texts((0.5 + effect).tolist(), [0.5] * 21)
    found = images_by_effect(own, both_texts([0.5] * 21, [0.5] * 21))
    assert list(found.values()) == [  # the mean of both texts
        "CC -0.20 by the right text, 10th percentile of the test images",
        "CC +0.00 by the right text, 50th percentile of the test images",
        "CC +0.20 by the right text, 90th percentile of the test images",
    ]
    assert [effect[int(image_id)] for image_id in found] == pytest.approx([-0.4, 0.0, 0.4])


def test_few_images_are_shown_once_each() -> None:
    two = images_by_effect(both_texts([0.8, 0.9], [0.8, 0.9]), both_texts([0.5, 0.5], [0.5, 0.5]))
    assert list(two) == ["000", "001"]
    assert len(images_by_effect(both_texts([0.8], [0.8]), both_texts([0.5], [0.5]))) == 1


def pair(image_id: str, task: str) -> Pair:
    return Pair(image_id, task, "text", Path("i"), Path("d"), Path("f"), f"{image_id} {task}")


def test_the_first_images_by_id_are_shown_under_both_texts() -> None:
    pairs = [pair(i, t) for i in ("3", "1", "2") for t in ("pure", "salient", "non_salient")] + [pair("0", "whole")]
    shown = [(pairs[i].image_id, pairs[i].task) for i in pairs_by_id(pairs, 2)]
    assert shown == [("1", "salient"), ("1", "non_salient"), ("2", "salient"), ("2", "non_salient"), ("0", "whole")]


def test_without_opposite_texts_the_first_pairs_are_shown() -> None:
    pairs = [pair(i, "pure") for i in ("1", "2", "3")]
    assert pairs_by_id(pairs, 2) == [0, 1]


ONE = scores([0.9, 0.5, 0.4, 0.7, 0.2, 0.6, 0.8, 0.3])
OTHER = scores([0.1, 0.6, 0.4, 0.5, 0.5, 0.5, 0.75, 0.35])


def test_pairs_are_matched_and_ranked_by_their_gap() -> None:
    found = gaps(ONE, OTHER.sample(frac=1, random_state=0), "pure")
    assert found["image_id"].tolist() == ["000", "003", "005", "006", "002", "007", "001", "004"]
    assert found["gap"][0] == pytest.approx(0.8)
    assert found.loc[0, ["text", "one", "other"]].tolist() == ["text 000", 0.9, 0.1]


def test_undefined_scores_and_pairs_of_one_model_alone_have_no_gap() -> None:
    gappy = ONE.assign(cc=ONE["cc"].where(ONE.index != 1))
    found = gaps(pd.concat([gappy, scores([0.5], "salient")]), OTHER[2:], "pure")
    assert sorted(found["image_id"]) == [f"{place:03}" for place in range(2, 8)]
    assert gaps(ONE, scores([0.1], "whole"), "whole").empty
    assert gaps(ONE, OTHER.rename(columns={"cc": "nss"}), "pure").empty
