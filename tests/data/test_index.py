import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltext.console import progress
from saltext.data.cache import CacheSettings, open_cache
from saltext.data.index import BlurRule, DatasetIndex, sets_by_conditions
from saltext.data.pairs import FixationPoints, Pair, Recording
from saltext.errors import DataError
from saltext.evaluation.folders import read_data
from saltext.evaluation.score_cache import ScoreCache


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
    index = DatasetIndex(Path("here"), whole, ("a",), [""], sets_by_conditions(whole))
    assert index.pairs_with_images() == whole
    without = DatasetIndex(Path("here"), [recording], ("a",), [""], {"1": "a"})
    with pytest.raises(DataError, match="Expected an image for each of the 1 maps under here"):
        without.pairs_with_images()


def test_pairs_that_share_a_name_or_an_image_and_a_condition_are_refused_together() -> None:
    dog, cat = pair("dog", "a"), pair("cat", "a")
    pairs = [dog, dog, replace(cat, name="x"), replace(cat, name="y")]
    with pytest.raises(DataError) as raised:
        DatasetIndex(Path("data"), pairs, ("a",), [""] * 4, {})
    assert "condition (2): cat (a), dog (a)\n" in str(raised.value)
    assert "names of several pairs (1): dog/a\n" in str(raised.value)


def test_points_outside_their_image_and_pairs_without_points_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "i.png")
    points = {"far": np.array([[30, 0]]), "none": np.zeros((0, 2)), "inside": np.array([[29, 39]])}
    pairs = [
        Pair(name, "a", "", tmp_path / "i.png", 2.0, FixationPoints(yx.astype(np.int32)), name)
        for name, yx in points.items()
    ]
    index = DatasetIndex(tmp_path, pairs, ("a",), [""] * 3, {}, blur=BlurRule("two", lambda size: 2.0))
    problems = []
    for read in (
        lambda: open_cache(pairs, CacheSettings((32, 32), (8, 8)), tmp_path / "cache"),
        lambda: read_data(index, range(3), (), ScoreCache(None), progress),
    ):
        with pytest.raises(DataError) as raised:
            read()
        problems.append(str(raised.value))
    for problem in problems:
        assert re.search(r"fixations outside the image \(1\): .*first x=0, y=30 in 40x30", problem)
        assert "fixation lists without a fixation (1): " in problem


def test_pseudo_pairs_are_added_and_leave_sets_and_parts_as_they_are() -> None:
    index = DatasetIndex(
        Path("here"), [pair("0", "a"), pair("1", "a")], ("a",), ["x", "y"], parts={"train": ["0"], "test": ["1"]}
    )
    added = [replace(pair("1", "named"), name=f"1 named {n}") for n in range(2)]
    both = index.with_auxiliary_pairs("named", added)
    assert list(both.pairs) == [*index.pairs, *added]
    assert (both.conditions, both.levels, both.auxiliary_conditions) == (
        ["a", "named"],
        ["x", "y", "y", "y"],
        ["named"],
    )
    assert (both.image_sets, both.parts) == (index.image_sets, index.parts)


def test_pseudo_pairs_take_no_condition_and_no_name_of_the_data_set() -> None:
    index = DatasetIndex(Path("here"), [pair("0", "a")], ("a",))
    with pytest.raises(DataError, match="has a condition 'a' of its own"):
        index.with_auxiliary_pairs("a", [])
    with pytest.raises(DataError, match="names of several pairs"):
        index.with_auxiliary_pairs("named", [replace(pair("0", "named"), name="0/a")])
