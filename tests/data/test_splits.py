import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from saltext.data.index import DatasetIndex
from saltext.data.pairs import Pair, Recording
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.splits import (
    ARMS,
    PARTS,
    Arm,
    Part,
    PublishedArm,
    PublishedTranBlend,
    Split,
    SplitSettings,
    any_fold,
    authors_rows,
    eighty_twenty,
    fold_in,
    given,
    holdout,
    kfold,
    pooled_folds,
    published_arm,
    published_tranblend,
    seventy_fifteen_fifteen,
)
from saltext.data.tasks import TASKS
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


def authors_files(golden: Path, folder: Path) -> dict[str, str]:
    """CSV files with the authors' row order, which is what their draw is of."""
    theirs = json.loads((golden / "tranblend_splits.json").read_text())
    files = {}
    for task, name in AUTHORS_NAMES.items():
        drawn = theirs[name]["train"] + theirs[name]["test"]
        # Undo the draw: the row at place p of the permutation is the authors' row order.
        np.random.seed(42)
        places = np.random.permutation(len(drawn))
        lines = [f"data/image/{drawn[place]},data/map/{drawn[place]},a text" for place in np.argsort(places)]
        file = folder / f"{name}.csv"
        file.write_text("\n".join(["image,map,text", *lines]))
        files[task] = str(file)
    return files


@pytest.mark.golden
@pytest.mark.real_data
def test_with_the_authors_row_order_the_published_split_is_theirs(
    golden: Path, sjtu_root: Path, tmp_path: Path
) -> None:
    theirs = json.loads((golden / "tranblend_splits.json").read_text())
    expected = {
        part: sorted(file.removesuffix(".png") for name in theirs for file in theirs[name][part])
        for part in ("train", "test")
    }
    method = PublishedTranBlend(authors_files(golden, tmp_path))
    split = method(SjtuTis(sjtu_root).read(), SplitSettings())
    assert {part: list(split.parts[part]) for part in ("train", "test")} == expected
    assert "in the authors' row order" in split.method


@pytest.mark.real_data
def test_the_published_split_leaks_images_between_tasks_and_the_grouped_one_does_not(sjtu_root: Path) -> None:
    pairs = SjtuTis(sjtu_root).read().pairs

    def leaked(split: Split) -> int:
        images = [{pairs[place].image_id for place in split.select(pairs, part)} for part in ("train", "test")]
        return len(images[0] & images[1])

    sets = {pair.image_id: "A" for pair in pairs}
    assert leaked(published_tranblend(pairs)) > 100
    assert leaked(eighty_twenty(sets, 0.1, 0)) == 0


# Arms of the published split


def recordings(images: int) -> list[Recording]:
    """The pairs of a data set as large as SJTU-TIS, or smaller, without files."""
    sets = {image: half for image, half in SETS.items() if int(image) < images}
    none = Path("none")
    return [
        Recording(image, task.name, "a text" * task.has_text, none, none, f"{image}{task.suffix}")
        for image, half in sets.items()
        for task in TASKS
        if half in task.image_sets
    ]


def drawn(arm: Arm, pairs: list[Recording], rotation: int = 0) -> Split:
    return published_arm(pairs, SETS_OF[len(pairs)], arm, val_fraction=0.1, seed=0, rotation=rotation)


RECORDINGS = recordings(600)
SETS_OF = {len(recordings(n)): {i: half for i, half in SETS.items() if int(i) < n} for n in (12, 24, 600)}


def images_of(split: Split, part: Part, task: str, pairs: list[Recording] = RECORDINGS) -> set[str]:
    return {pairs[place].image_id for place in split.select(pairs, part) if pairs[place].task == task}


def rows_by_task(split: Split, part: Part, pairs: list[Recording] = RECORDINGS) -> Counter[str]:
    return Counter(pairs[place].task for place in split.select(pairs, part))


TEXTS = [task.name for task in TASKS if task.has_text]
COMPARED: list[tuple[Arm, Arm]] = [("leaky", "clean"), ("control_pure", "clean_pure")]


@pytest.mark.parametrize("images", [12, 24, 600])
@pytest.mark.parametrize("rotation", range(5))
@pytest.mark.parametrize(("one", "other"), COMPARED)
def test_arms_that_are_compared_train_on_as_many_rows_of_each_task(
    one: Arm, other: Arm, rotation: int, images: int
) -> None:
    pairs = recordings(images)
    counts = [rows_by_task(drawn(arm, pairs, rotation), "train", pairs) for arm in (one, other)]
    assert counts[0] == counts[1]
    assert all(counts[0].values())


@pytest.mark.parametrize("rotation", range(5))
def test_every_arm_tests_the_published_rows_of_its_tasks(rotation: int) -> None:
    published = published_tranblend(RECORDINGS, rotation=rotation)
    tested = {"leaky": ["pure", *TEXTS], "clean": TEXTS, "clean_pure": ["pure"], "control_pure": ["pure"]}
    for arm in ARMS[1:]:
        split = drawn(arm, RECORDINGS, rotation)
        for task in ("pure", *TEXTS):
            theirs = images_of(published, "test", task) if task in tested[arm] else set()
            assert images_of(split, "test", task) == theirs


@pytest.mark.parametrize("images", [12, 600])
@pytest.mark.parametrize("rotation", range(5))
def test_no_image_of_a_tested_text_trains_in_the_clean_arm_and_in_the_leaky_one_many_do(
    rotation: int, images: int
) -> None:
    pairs = recordings(images)
    for task in TEXTS:
        clean, leaky = drawn("clean", pairs, rotation), drawn("leaky", pairs, rotation)
        tested = images_of(clean, "test", task, pairs)
        assert not any(tested & images_of(clean, "train", other, pairs) for other in ("pure", *TEXTS))
        assert images < 600 or len(tested & images_of(leaky, "train", "pure", pairs)) > 35


def test_without_validation_images_pure_trains_in_the_clean_arm_on_the_images_that_no_text_tests() -> None:
    clean = drawn("clean", RECORDINGS)
    validating = {RECORDINGS[place].image_id for place in clean.select(RECORDINGS, "val")}
    tested = set.union(*(images_of(clean, "test", task) for task in TEXTS))
    assert images_of(clean, "train", "pure") == set(SETS) - tested - validating


def test_the_clean_arm_differs_from_the_leaky_one_in_pure_rows_alone() -> None:
    leaky, clean = drawn("leaky", RECORDINGS), drawn("clean", RECORDINGS)
    for task in TEXTS:
        assert images_of(leaky, "train", task) == images_of(clean, "train", task)
    assert images_of(clean, "train", "pure") - images_of(leaky, "train", "pure") <= images_of(leaky, "test", "pure")


@pytest.mark.parametrize("rotation", range(5))
def test_of_the_arms_that_test_pure_one_has_no_text_of_a_tested_image_and_the_other_all_of_them(rotation: int) -> None:
    leaky, clean, control = (drawn(arm, RECORDINGS, rotation) for arm in ("leaky", "clean_pure", "control_pure"))
    tested = images_of(leaky, "test", "pure")
    for task in TEXTS:
        assert not images_of(clean, "train", task) & tested
        assert images_of(control, "train", task) & tested == images_of(leaky, "train", task) & tested
    assert images_of(control, "train", "general") == images_of(control, "train", "salient")  # one image, one choice
    pure = [images_of(split, "train", "pure") for split in (leaky, clean, control)]
    assert pure[0] == pure[1] == pure[2]


def test_validation_images_are_the_same_in_all_arms_train_in_none_and_are_tested_in_none() -> None:
    splits = [drawn(arm, RECORDINGS) for arm in ARMS[1:]]
    assert len({split.parts["val"] for split in splits}) == 1
    rows = rows_by_task(splits[0], "val")
    assert rows["pure"] == rows["whole"] + rows["general"] >= 38
    assert rows["general"] == rows["salient"] == rows["non_salient"]
    validating = {RECORDINGS[place].image_id for place in splits[0].select(RECORDINGS, "val")}
    for split in splits:
        others = [*split.select(RECORDINGS, "train"), *split.select(RECORDINGS, "test")]
        assert not validating & {RECORDINGS[place].image_id for place in others}


def test_the_published_arm_is_the_published_split() -> None:
    assert drawn("published", RECORDINGS).digest == published_tranblend(RECORDINGS).digest


def test_five_rotations_test_every_row_once() -> None:
    splits = [published_tranblend(RECORDINGS, rotation=rotation) for rotation in range(5)]
    assert sorted(name for split in splits for name in split.parts["test"]) == sorted(p.name for p in RECORDINGS)
    assert splits[0].digest == published_tranblend(RECORDINGS).digest


def test_rows_with_which_the_clean_arm_is_not_clean_are_refused() -> None:
    rows = {task: sorted(pair.name for pair in RECORDINGS if pair.task == task) for task in ("pure", *TEXTS)}
    rows["salient"] = rows["salient"][::-1]  # so that it tests other images than general and non_salient
    with pytest.raises(ConfigError, match=r"arm=clean: expected .* the same images.* tested images train"):
        published_arm(RECORDINGS, SETS, "clean", 0.1, 0, rows)
    published_arm(RECORDINGS, SETS, "leaky", 0.1, 0, rows)


def test_an_unknown_arm_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.split.arm: expected one of published, leaky"):
        published_arm(RECORDINGS, SETS, "dirty", 0.1, 0)  # type: ignore[arg-type]


@pytest.mark.golden
@pytest.mark.real_data
def test_the_authors_rows_have_the_leak_and_the_counts_that_the_study_states(
    golden: Path, sjtu_root: Path, tmp_path: Path
) -> None:
    index = SjtuTis(sjtu_root).read()
    files = authors_files(golden, tmp_path)

    def counts(arm: Arm) -> list[int]:
        split = PublishedArm(arm, files)(index, SplitSettings(val_fraction=0.1))
        trained = Counter(index.pairs[place].task for place in split.select(index.pairs, "train"))
        return [trained[task.name] for task in TASKS]

    assert counts("published") == [480, 240, 240, 240, 240]
    assert counts("leaky") == counts("clean") == [440, 220, 220, 220, 220]
    assert counts("clean_pure") == counts("control_pure") == [440, 172, 173, 173, 173]
    published = PublishedTranBlend(files)(index, SplitSettings())

    def images(part: Part, task: str) -> set[str]:
        places = published.select(index.pairs, part)
        return {index.pairs[place].image_id for place in places if index.pairs[place].task == task}

    assert [len(images("test", task) & images("train", "pure")) for task in TEXTS] == [48, 47, 47, 47]
    with_text = set.union(*(images("train", task) for task in TEXTS))
    assert len(images("test", "pure") & with_text) == 95


def write_rows(folder: Path, index: DatasetIndex) -> dict[str, str]:
    """A CSV file for each task, rows in falling order, in the ways that such files are written."""
    files = {}
    for task in TASKS:
        names = sorted((pair.name for pair in index.pairs if pair.task == task.name), reverse=True)
        lines = [f'{number},"C:\\image\\{name}.png",map/{name}.png,"a text, with {name}"' for number, name in
                 enumerate(names)]  # fmt: skip
        files[task.name] = str(folder / f"{task.name}.csv")
        Path(files[task.name]).write_text("\n".join([",image,map,text", *lines]))
    return files


def test_the_authors_files_give_the_order_of_the_rows(small_root: Path, tmp_path: Path) -> None:
    index = SjtuTis(small_root).read()
    files = write_rows(tmp_path, index)
    names = sorted((pair.name for pair in index.pairs if pair.task == "whole"), reverse=True)
    assert authors_rows(files["whole"], names) == names
    settings = SplitSettings(val_fraction=0.2)
    split = PublishedArm("leaky", files)(index, settings)
    assert split.digest != PublishedArm("leaky")(index, settings).digest
    assert "in the authors' row order" in split.method


def test_a_file_with_some_of_the_rows_is_refused(small_root: Path, tmp_path: Path) -> None:
    index = SjtuTis(small_root).read()
    files = write_rows(tmp_path, index)
    lines = Path(files["pure"]).read_text().splitlines()
    Path(files["pure"]).write_text("\n".join([*lines[:-3], lines[1]]))
    with pytest.raises(DataError, match=r"each of the task's 20 pairs, got none for 3 \(.*\) and several for 1"):
        PublishedTranBlend(files)(index, SplitSettings())


def test_files_are_named_for_every_task(small_root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.split.rows: expected a CSV file for each of pure, .*got one for pure"):
        PublishedArm(rows={"pure": "pure.csv"})(SjtuTis(small_root).read(), SplitSettings())
