"""The gallery of the documentation."""

import re
from pathlib import Path

import numpy as np
import pytest

import saltext
from saltext.images import read_photo
from saltext.prediction.pictures import ImageRecord, TextMaps
from tests.conftest import ROOT
from tests.filled_pages import filled
from tests.gallery import CASES, FOLDER, Case, Object, Shown, markdown, photo, predicted, write_pictures

PAGE = ROOT / "docs" / "gallery.md"
_MOST_BYTES, _MOST_BYTES_TOGETHER = 150_000, 1_000_000
_PERCENT = re.compile(r"(\d+) %")


def shown(first: tuple[int, int], second: tuple[int, int]) -> Shown:
    """A case whose predictions are single pixels (row, column); its objects are the left and the right half."""
    maps = np.zeros((2, 40, 60), np.float32)
    maps[0][first] = maps[1][second] = 1
    objects = (Object("left", [(0, 0, 30, 40)]), Object("right", [(30, 0, 60, 40)]))
    texts = [TextMaps(one.text, density) for one, density in zip(objects, maps, strict=True)]
    record = ImageRecord("photo", np.zeros((40, 60, 3), np.uint8), texts)
    return Shown(Case("case", "Left and right", "photo", "nothing", objects), record)


def test_a_text_is_a_hit_where_the_prediction_rises_most_inside_its_object() -> None:
    found = shown((5, 10), (5, 50))
    assert (found.is_hit(0), found.is_hit(1)) == (True, True)
    found = shown((5, 40), (5, 50))
    assert (found.is_hit(0), found.is_hit(1)) == (False, True)


def test_chance_is_the_area_of_an_object() -> None:
    assert shown((0, 0), (0, 59)).chance(0) == 0.5


def test_hits_are_counted_and_every_case_has_its_pictures(tmp_path: Path) -> None:
    found = [shown((5, 40), (5, 50))]
    text = markdown(found)
    assert text.startswith("1 of 2 texts are hits; pixels drawn at random would give 1.0.\n")
    write_pictures(found, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(re.findall(rf"{FOLDER}/(\S+)", text))


def test_the_pictures_of_the_page_are_there_and_small() -> None:
    sizes = {file.name: file.stat().st_size for file in (PAGE.parent / FOLDER).iterdir()}
    assert set(sizes) == set(re.findall(rf"figure}} {FOLDER}/(\S+)", PAGE.read_text(encoding="utf-8")))
    assert max(sizes.values()) < _MOST_BYTES
    assert sum(sizes.values()) < _MOST_BYTES_TOGETHER


@pytest.mark.slow
def test_the_page_shows_what_the_pretrained_model_predicts() -> None:
    pytest.importorskip("sklearn")
    text = PAGE.read_text(encoding="utf-8")
    now = filled(text, FOLDER, markdown(list(predicted(saltext.load(device="cpu", inference="reference")))))
    assert _PERCENT.sub("%", now) == _PERCENT.sub("%", text), "python -m tests.gallery docs/gallery.md"
    shares = [np.array([int(share) for share in _PERCENT.findall(page)]) for page in (now, text)]
    assert np.abs(shares[0] - shares[1]).max() <= 1  # another processor rounds otherwise


def test_objects_lie_within_their_photographs() -> None:
    pytest.importorskip("sklearn")
    for case in CASES:
        height, width, _ = read_photo(photo(case.photo)).pixels.shape
        for left, top, right, bottom in (box for one in case.objects for box in one.boxes):
            assert 0 <= left < right <= width, case.name
            assert 0 <= top < bottom <= height, case.name
