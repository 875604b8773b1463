import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from saltext.data.pairs import Pair
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.splits import (
    PARTS,
    Split,
    any_fold,
    eighty_twenty,
    fold_in,
    given,
    holdout,
    kfold,
    pooled_folds,
    published_tranblend,
    seventy_fifteen_fifteen,
)
from saltext.errors import ConfigError, DataError

SETS = {f"{number:012d}": "AB"[number % 2] for number in range(600)}
AUTHORS_NAMES = {"pure": "pure", "whole": "whole", "general": "all", "salient": "salient", "non_salient": "non_salient"}


def test_eighty_twenty_is_exact_in_each_image_set() -> None:
    split = eighty_twenty(SETS, val_fraction=0.1, seed=0)
    assert {part: Counter(SETS[i] for i in split.parts[part]) for part in PARTS} == {
        "train": {"A": 216, "B": 216},
        "val": {"A": 24, "B": 24},
        "test": {"A": 60, "B": 60},
    }


def test_the_test_part_does_not_depend_on_the_validation_fraction() -> None:
    tests = {eighty_twenty(SETS, val_fraction=value, seed=0).parts["test"] for value in (0.0, 0.1, 0.3)}
    assert len(tests) == 1


def test_seventy_fifteen_fifteen_has_its_sizes() -> None:
    split = seventy_fifteen_fifteen(SETS, seed=0)
    assert [len(split.parts[part]) for part in PARTS] == [420, 90, 90]


def test_every_image_is_in_exactly_one_part() -> None:
    for split in (eighty_twenty(SETS, 0.1, 0), seventy_fifteen_fifteen(SETS, 1), kfold(SETS, 5, 2, 0.1, 3)):
        assert sorted(name for part in PARTS for name in split.parts[part]) == sorted(SETS)


def test_testing_on_validation_images_leaves_the_test_images_out() -> None:
    split = kfold(SETS, 5, 2, 0.25, 3)
    chosen = split.validation_tested()
    assert chosen.parts == {"train": split.parts["train"], "val": (), "test": split.parts["val"]}
    assert "validation set tested" in chosen.method
    with pytest.raises(ConfigError, match="val_fraction above 0"):
        kfold(SETS, 5, 2, 0.0, 3).validation_tested()


def test_splits_do_not_depend_on_the_order_of_input() -> None:
    shuffled = dict(random.Random(0).sample(list(SETS.items()), k=len(SETS)))
    assert eighty_twenty(shuffled, 0.1, 0) == eighty_twenty(SETS, 0.1, 0)
    assert kfold(shuffled, 5, 1, 0.1, 0) == kfold(SETS, 5, 1, 0.1, 0)


def test_another_seed_divides_differently() -> None:
    assert eighty_twenty(SETS, 0.1, 0).digest != eighty_twenty(SETS, 0.1, 1).digest


def test_one_image_more_moves_at_most_one_other_test_image() -> None:
    before = set(eighty_twenty(SETS, 0.1, 0).parts["test"])
    after = set(eighty_twenty({**SETS, "999": "A"}, 0.1, 0).parts["test"])
    assert len(before - after) <= 1


def test_the_division_is_the_same_on_every_machine() -> None:
    # Written down when the method was fixed: a change here changes every number reported before it.
    assert eighty_twenty(SETS, 0.1, 0).digest.startswith("5189815877253c1b")
    assert kfold(SETS, 5, 0, 0.1, 0).digest.startswith("5405419a1f23cc76")


@pytest.mark.parametrize("images", [600, 601, 617])
def test_folds_have_the_properties_of_scikit_learns_stratified_folds(images: int) -> None:
    sets = {f"{number}": "A" if number % 3 else "B" for number in range(images)}
    labels = np.array([sets[i] for i in sorted(sets)])
    reference = [Counter(labels[test]) for _, test in StratifiedKFold(5).split(labels, labels)]
    tests = [kfold(sets, 5, fold, 0.1, 0).parts["test"] for fold in range(5)]
    counts = [Counter(sets[i] for i in test) for test in tests]
    assert sorted(i for test in tests for i in test) == sorted(sets)
    for half in "AB":
        assert sorted(c[half] for c in counts) == sorted(c[half] for c in reference)
    sizes = [len(test) for test in tests]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("folds", "fold", "fraction"), [(1, 0, 0.1), (5, 5, 0.1), (5, -1, 0.1), (301, 0, 0.1), (5, 0, 1.0)]
)
def test_folds_outside_their_range_are_refused(folds: int, fold: int, fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.(folds|fold|val_fraction)"):
        kfold(SETS, folds, fold, fraction, 0)


def test_folds_of_one_cross_validation_belong_together_by_their_methods() -> None:
    first, second, other = (kfold(SETS, folds, fold, 0.1, 0).method for folds, fold in ((5, 0), (5, 3), (4, 0)))
    assert any_fold(first) == any_fold(second) != any_fold(other)
    assert (fold_in(second), fold_in(eighty_twenty(SETS, 0.1, 0).method)) == ("fold 3 of 5", "")


@pytest.mark.parametrize(
    ("folds", "said"), [({5}, "5 folds"), ({3}, "3 of 5 folds"), ({2, 5}, "2 to 5 of 5 folds"), ({0}, "0 of 5 folds")]
)
def test_pooled_folds_say_how_many_there_are(folds: set[int], said: str) -> None:
    assert pooled_folds(kfold(SETS, 5, 2, 0.1, 0).method, folds) == f"{said}, validation 0.1"


def test_a_split_that_is_no_fold_keeps_its_method() -> None:
    method = eighty_twenty(SETS, 0.1, 0).method
    assert any_fold(method) == pooled_folds(method, {1}) == method


def test_fractions_must_sum_to_one() -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        holdout(SETS, (0.7, 0.2, 0.2), 0)


def test_a_saved_split_comes_back_equal(tmp_path: Path) -> None:
    split = kfold(SETS, 5, 2, 0.1, 7)
    split.save(tmp_path / "run" / "split.json")
    assert Split.load(tmp_path / "run" / "split.json") == split


def test_an_edited_split_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    eighty_twenty(SETS, 0.1, 0).save(path)
    content = json.loads(path.read_text())
    content["parts"]["train"] = content["parts"]["train"][1:]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"do not fit its digest.*Take the original file"):
        Split.load(path)


def test_a_split_file_whose_parts_overlap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    eighty_twenty(SETS, 0.1, 0).save(path)
    content = json.loads(path.read_text())
    content["parts"]["train"].append(content["parts"]["test"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"1 names .* in more than one part"):
        Split.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parts": []}', '{"parts": {"train": []}, "method": "", "seed": 0}'])
def test_a_file_that_is_no_split_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"split"):
        Split.load(path)


def test_a_missing_split_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable split file"):
        Split.load(tmp_path / "none.json")


def test_names_unknown_to_the_data_set_are_reported(small_pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match=r"names 600 images that are not in the data set.*data\.root"):
        eighty_twenty({f"x{i}": half for i, half in SETS.items()}, 0.1, 0).check_against(small_pairs)


def test_a_given_division_with_validation_images_is_taken_as_it_is() -> None:
    parts = {"train": ["c", "a"], "val": ["d"], "test": ["b"]}
    split = given(parts, val_fraction=0.5, seed=0)
    assert split.parts == {"train": ("a", "c"), "val": ("d",), "test": ("b",)}


def test_a_given_division_without_them_takes_some_training_images() -> None:
    parts = {"train": [str(number) for number in range(20)], "test": ["x", "y"]}
    split = given(parts, val_fraction=0.1, seed=0)
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 18, "val": 2, "test": 2}
    assert given(parts, val_fraction=0, seed=0).parts["val"] == ()


def test_the_published_split_is_per_row_and_has_no_validation_part(small_pairs: list[Pair]) -> None:
    split = published_tranblend(small_pairs)
    assert split.unit == "pair"
    assert split.parts["val"] == ()
    tasks = Counter(small_pairs[place].task for place in split.select(small_pairs, "test"))
    assert tasks == {"pure": 4, "whole": 2, "general": 2, "salient": 2, "non_salient": 2}


@pytest.mark.golden
@pytest.mark.real_data
def test_with_the_authors_row_order_the_published_split_is_theirs(golden: Path, sjtu_root: Path) -> None:
    theirs = json.loads((golden / "tranblend_splits.json").read_text())
    rows: dict[str, list[str]] = {}
    expected: dict[str, list[str]] = {"train": [], "test": []}
    for task, name in AUTHORS_NAMES.items():
        lists = {part: [file.removesuffix(".png") for file in theirs[name][part]] for part in expected}
        drawn = lists["train"] + lists["test"]
        # Undo the draw: the row at place p of the permutation is the authors' row order.
        np.random.seed(42)
        places = np.random.permutation(len(drawn))
        rows[task] = [drawn[place] for place in np.argsort(places)]
        for part, names in lists.items():
            expected[part] += names
    split = published_tranblend(SjtuTis(sjtu_root).read().pairs, rows=rows)
    assert {part: sorted(names) for part, names in expected.items()} == {
        part: list(split.parts[part]) for part in ("train", "test")
    }


@pytest.mark.real_data
def test_the_published_split_leaks_images_between_tasks_and_the_grouped_one_does_not(sjtu_root: Path) -> None:
    pairs = SjtuTis(sjtu_root).read().pairs

    def leaked(split: Split) -> int:
        images = [{pairs[place].image_id for place in split.select(pairs, part)} for part in ("train", "test")]
        return len(images[0] & images[1])

    sets = {pair.image_id: "A" for pair in pairs}
    assert leaked(published_tranblend(pairs)) > 100
    assert leaked(eighty_twenty(sets, 0.1, 0)) == 0
