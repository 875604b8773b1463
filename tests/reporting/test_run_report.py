from pathlib import Path

from saltext.data import Pair
from saltext.reporting.run_report import chosen_pairs


def pair(image_id: str, task: str) -> Pair:
    return Pair(image_id, task, "text", Path("i"), Path("d"), Path("f"))


def test_the_picture_shows_the_first_images_by_id_under_both_texts() -> None:
    pairs = [pair(i, t) for i in ("3", "1", "2") for t in ("pure", "salient", "non_salient")] + [pair("0", "whole")]
    shown = [(pairs[i].image_id, pairs[i].task) for i in chosen_pairs(pairs, 2)]
    assert shown == [("1", "salient"), ("1", "non_salient"), ("2", "salient"), ("2", "non_salient"), ("0", "whole")]


def test_without_opposite_texts_the_first_pairs_are_shown() -> None:
    pairs = [pair(i, "pure") for i in ("1", "2", "3")]
    assert chosen_pairs(pairs, 2) == [0, 1]
