from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltext.data.cache import CacheSettings, open_cache
from saltext.data.sources.detect import source_of
from saltext.data.sources.salicon import Salicon
from saltext.errors import DataError
from saltext.evaluation.folders import open_data
from tests.data.made_up_layouts import write_salicon
from tests.data.test_files import write_mat

SETTINGS = CacheSettings((36, 48), (18, 24))
SIZE = (48, 64)


def test_training_images_train_and_validation_images_test(tmp_path: Path) -> None:
    names = write_salicon(tmp_path)
    found = Salicon(tmp_path).read()
    assert [pair.image_id for pair in found.pairs] == sorted(names)
    assert found.parts is not None
    assert {part: len(ids) for part, ids in found.parts.items()} == {"train": 6, "test": 3}
    assert all("train2014" in name for name in found.parts["train"])
    assert {(pair.task, pair.text) for pair in found.pairs} == {("pure", "")}


def test_files_decode_to_the_written_points_and_maps(tmp_path: Path) -> None:
    points = write_salicon(tmp_path)
    pairs = Salicon(tmp_path).read().pairs
    cache = open_cache(pairs, SETTINGS, tmp_path / "cache")
    for place, pair in enumerate(pairs):
        assert sorted((x, y) for y, x in cache.points(place).tolist()) == sorted(points[pair.image_id])
        with Image.open(pair.density) as picture:
            np.testing.assert_array_equal(cache.native_density(place), np.asarray(picture))


def test_fixations_outside_the_picture_are_left_out(tmp_path: Path) -> None:
    write_salicon(tmp_path)
    pair = Salicon(tmp_path).read().pairs[0]
    write_mat(pair.fixations, [[(1, 1), (65, 3), (64, 48)], [(0, 5)]], SIZE)
    cache = open_cache(Salicon(tmp_path).read().pairs, SETTINGS, tmp_path / "cache")
    assert cache.points(0).tolist() == [[0, 0], [47, 63]]


def test_the_test_images_whose_fixations_are_not_published_are_not_read(tmp_path: Path) -> None:
    write_salicon(tmp_path)
    (tmp_path / "images" / "test").mkdir()
    (tmp_path / "images" / "test" / "COCO_test2014_000000000001.jpg").write_bytes(b"not looked at")
    assert len(Salicon(tmp_path).read().pairs) == 9


def test_all_problems_come_in_one_error(tmp_path: Path) -> None:
    names = sorted(write_salicon(tmp_path))
    (tmp_path / "maps" / "train" / f"{names[0]}.png").unlink()
    (tmp_path / "fixations" / "val" / f"{names[-1]}.mat").unlink()
    (tmp_path / "images" / "train" / "notes.txt").touch()
    for kind, ending in (("images", "jpg"), ("maps", "png"), ("fixations", "mat")):
        source = tmp_path / kind / "train" / f"{names[1]}.{ending}"
        (tmp_path / kind / "val" / source.name).write_bytes(source.read_bytes())
    with pytest.raises(DataError) as caught:
        Salicon(tmp_path).read()
    for said in (
        f"images without a file in maps/train (1): {names[0]}",
        f"images without a file in fixations/val (1): {names[-1]}",
        "notes.txt",
        f"images that are in train and in val (1): {names[1]}",
    ):
        assert said in str(caught.value)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    write_salicon(tmp_path)
    for path in (tmp_path / "maps" / "val").iterdir():
        path.unlink()
    (tmp_path / "maps" / "val").rmdir()
    with pytest.raises(DataError, match=r"missing folders \(1\): maps/val/"):
        Salicon(tmp_path).read()


def test_a_folder_without_the_layout_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the folders images/\{train,val\}.*SALICON_DATA"):
        Salicon(tmp_path).read()


def test_what_trains_is_scored_by_the_same_reader(tmp_path: Path) -> None:
    write_salicon(tmp_path)
    pair = Salicon(tmp_path).read().pairs[0]
    write_mat(pair.fixations, [[(1, 1), (65, 3), (64, 48)], [(0, 5)]], SIZE)
    found = Salicon(tmp_path).read()
    cache = open_cache(found.pairs, SETTINGS, tmp_path / "cache")
    scored = open_data(source_of(tmp_path), lambda things, _, __: things)
    assert [one.name for one in scored.ground_truth.pairs] == [one.name for one in found.pairs]
    assert set(scored.parts) == {"train", "val"}
    for place in range(len(cache)):
        np.testing.assert_array_equal(cache.points(place), scored.ground_truth.points(place))
        np.testing.assert_array_equal(cache.native_density(place), scored.ground_truth.native_density(place))


def test_the_kinds_of_files_that_are_scored_train_as_well(tmp_path: Path) -> None:
    write_salicon(tmp_path)
    pair = Salicon(tmp_path).read().pairs[0]
    mask = np.zeros(SIZE, np.uint8)
    mask[3, 4] = 255
    pair.fixations.unlink()
    Image.fromarray(mask).save(pair.fixations.with_suffix(".BMP"))
    assert open_cache(Salicon(tmp_path).read().pairs, SETTINGS, tmp_path / "cache").points(0).tolist() == [[3, 4]]
