"""OSIE's layout."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from saltext.data.cache import CacheSettings, open_cache
from saltext.data.sources.detect import source_of
from saltext.data.sources.osie import SIGMA, Osie
from saltext.errors import DataError
from saltext.evaluation.folders import open_data
from tests.data.made_up_layouts import write_osie

SIZE = (60, 80)


def test_every_image_has_the_fixations_of_all_viewers(tmp_path: Path) -> None:
    written = write_osie(tmp_path)
    index = source_of(tmp_path).read()
    assert [pair.image_id for pair in index.pairs] == sorted(written)
    assert {(pair.task, pair.text, pair.density) for pair in index.pairs} == {("pure", "", SIGMA)}
    for pair in index.pairs:
        expected = sorted((y, x) for points in written[pair.image_id] for x, y in points)
        assert sorted(map(tuple, pair.fixations.coordinates.tolist())) == expected


def test_each_viewer_has_their_own_fixations(tmp_path: Path) -> None:
    written = write_osie(tmp_path)
    for pair in Osie(tmp_path).read().pairs:
        by_viewer = pair.viewers.points(SIZE)
        assert [[(x, y) for y, x in points.tolist()] for points in by_viewer] == written[pair.image_id]


def test_it_may_lie_below_data_or_have_the_fixations_beside_the_images(tmp_path: Path) -> None:
    write_osie(tmp_path / "repository" / "data")
    assert len(source_of(tmp_path / "repository").read().pairs) == 4
    write_osie(tmp_path / "flat")
    (tmp_path / "flat" / "eye" / "fixations.mat").rename(tmp_path / "flat" / "fixations.mat")
    assert len(source_of(tmp_path / "flat").read().pairs) == 4


def test_files_decode_for_training_and_for_scoring_to_the_same_points(tmp_path: Path) -> None:
    write_osie(tmp_path)
    source = Osie(tmp_path)
    pairs = source.read().pairs
    cache = open_cache(pairs, CacheSettings((36, 48), (18, 24)), tmp_path / "cache")
    truth = open_data(source, lambda things, what, length: things).ground_truth
    for index in range(len(pairs)):
        np.testing.assert_array_equal(cache.points(index), truth.points(index))


def test_one_viewer_with_one_fixation_and_one_with_none_are_read(tmp_path: Path) -> None:
    write_osie(tmp_path, images=1)
    subjects = np.empty((2, 1), object)
    subjects[0, 0] = {"fix_x": 5.0, "fix_y": 8.0}
    subjects[1, 0] = {"fix_x": np.zeros((1, 0)), "fix_y": np.zeros((1, 0))}
    cells = np.empty((1, 1), object)
    cells[0, 0] = {"img": "1001.jpg", "subjects": subjects}
    savemat(tmp_path / "eye" / "fixations.mat", {"fixations": cells})
    (pair,) = Osie(tmp_path).read().pairs
    assert [points.tolist() for points in pair.viewers.points(SIZE)] == [[[7, 4]], []]


def test_all_problems_come_in_one_error(tmp_path: Path) -> None:
    write_osie(tmp_path)
    (tmp_path / "stimuli" / "1002.jpg").rename(tmp_path / "stimuli" / "9.jpg")
    (tmp_path / "stimuli" / "notes.txt").touch()
    with pytest.raises(DataError) as raised:
        Osie(tmp_path).read()
    for expected in (
        "images without fixations (1): 9",
        "fixations without an image (1): 1002",
        "entries of stimuli/",
    ):
        assert expected in str(raised.value)


@pytest.mark.parametrize("content", [{"other": 1}, {"fixations": np.ones(3)}, None])
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: dict[str, object] | None) -> None:
    write_osie(tmp_path)
    table = tmp_path / "eye" / "fixations.mat"
    if content is None:
        table.write_bytes(b"no Matlab")
    else:
        savemat(table, content)
    with pytest.raises(DataError, match=r"eye/fixations\.mat"):
        Osie(tmp_path).read()


def test_a_folder_without_it_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected stimuli/ and eye/fixations\.mat"):
        Osie(tmp_path).read()
