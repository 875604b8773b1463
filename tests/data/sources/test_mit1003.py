"""MIT1003's layout."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from saltext.data.cache import CacheSettings, open_cache
from saltext.data.sources.detect import source_of
from saltext.data.sources.mit1003 import Mit1003
from saltext.errors import DataError, InvalidFileError
from saltext.evaluation.folders import open_data
from tests.data.made_up_layouts import write_mit1003

SIZE = (60, 80)


def test_published_fixations_are_read_for_training_and_for_scoring(tmp_path: Path) -> None:
    written = write_mit1003(tmp_path)
    source = source_of(tmp_path)
    pairs = source.read().pairs
    assert [pair.image_id for pair in pairs] == sorted(written)
    assert {(pair.task, pair.text) for pair in pairs} == {("pure", "")}
    cache = open_cache(pairs, CacheSettings((36, 48), (18, 24)), tmp_path / "cache")
    truth = open_data(source, lambda things, what, length: things).ground_truth
    for index, pair in enumerate(pairs):
        expected = sorted({(y, x) for points in written[pair.image_id] for x, y in points})
        assert sorted(map(tuple, truth.points(index).tolist())) == expected
        assert sorted(map(tuple, cache.points(index).tolist())) == expected


def test_viewers_fixations_are_found_in_their_recordings_without_the_first(tmp_path: Path) -> None:
    write_mit1003(tmp_path)
    # (x, y) counted from 1: the start at the centre, two fixations on the image, one outside it.
    samples = np.repeat([(40.0, 30.0), (5.0, 6.0), (70.0, 50.0), (200.0, 30.0)], 60, axis=0)
    samples[90:94] = -1  # a blink
    savemat(tmp_path / "DATA" / "viewer1" / "i000.mat", {"i000": {"DATA": {"eyeData": samples}}})
    pair = Mit1003(tmp_path).read().pairs[0]
    by_viewer = pair.viewers.points(SIZE)
    assert len(by_viewer) == 5
    assert by_viewer[1].tolist() == [[5, 4], [5, 4], [49, 69]], "the blink divides a fixation"


def test_without_recordings_viewers_are_unknown(tmp_path: Path) -> None:
    write_mit1003(tmp_path, gaze=False)
    assert {pair.viewers for pair in Mit1003(tmp_path).read().pairs} == {None}


def test_a_recording_of_another_form_is_refused(tmp_path: Path) -> None:
    write_mit1003(tmp_path)
    savemat(tmp_path / "DATA" / "viewer0" / "i000.mat", {"i000": {"DATA": {"headData": 1.0}}})
    pair = Mit1003(tmp_path).read().pairs[0]
    with pytest.raises(InvalidFileError, match=r"without DATA\.eyeData.*i000\.mat"):
        pair.viewers.points(SIZE)


def test_all_problems_come_in_one_error(tmp_path: Path) -> None:
    write_mit1003(tmp_path)
    (tmp_path / "ALLFIXATIONMAPS" / "i000_fixMap.jpg").unlink()
    (tmp_path / "ALLFIXATIONMAPS" / "i001_fixPts.jpg").unlink()
    (tmp_path / "ALLSTIMULI" / "i002.jpeg").unlink()
    with pytest.raises(DataError) as raised:
        Mit1003(tmp_path).read()
    for expected in (
        "images without a map in ALLFIXATIONMAPS/ (1): i000",
        "images without fixations in ALLFIXATIONMAPS/ (1): i001",
        "files of ALLFIXATIONMAPS/ without an image (1): i002",
    ):
        assert expected in str(raised.value)


def test_a_folder_without_it_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the folders ALLSTIMULI/ and ALLFIXATIONMAPS/"):
        Mit1003(tmp_path).read()
