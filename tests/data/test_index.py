from pathlib import Path

import numpy as np
import pytest

from saltext.data.index import DatasetIndex, sets_by_conditions
from saltext.data.pairs import FixationPoints, Pair, Recording
from saltext.errors import DataError


def pair(image: str, task: str) -> Pair:
    return Pair(image, task, "", Path("i.png"), 1.0, FixationPoints(np.zeros((1, 2), np.int32)), f"{image}/{task}")


def test_images_seen_under_the_same_conditions_are_a_set_and_small_sets_join_the_largest() -> None:
    kinds = {"many": ("a",), "some": ("a", "b"), "few": ("b",)}
    counts = {"many": 12, "some": 10, "few": 9}
    pairs = [pair(f"{name}{n}", task) for name, count in counts.items() for n in range(count) for task in kinds[name]]
    sets = sets_by_conditions(pairs)
    assert {name: {sets[f"{name}{n}"] for n in range(count)} for name, count in counts.items()} == {
        "many": {"a"}, "some": {"a b"}, "few": {"a"},
    }  # fmt: skip
    assert sets_by_conditions([]) == {}


def test_training_asks_for_an_image_of_every_map() -> None:
    recording = Recording("1", "a", "", Path("m.png"), Path("f.png"), "1")
    whole = [pair("0", "a")]
    index = DatasetIndex("own", Path("here"), whole, ("a",), [""], sets_by_conditions(whole))
    assert index.pairs_with_images() == whole
    without = DatasetIndex("salicon", Path("here"), [recording], ("a",), [""], {"1": "a"})
    with pytest.raises(DataError, match="Expected an image for each of the 1 maps under here"):
        without.pairs_with_images()
