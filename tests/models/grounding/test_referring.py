from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from saltext.data.density import sigma_for
from saltext.data.index import BlurRule, DatasetIndex
from saltext.data.pairs import FixationPoints, Pair
from saltext.errors import DataError
from saltext.models.grounding import referring
from saltext.models.grounding.coco import NAMES, named_things
from saltext.models.grounding.referring import Box, DetectedPairs, fixations_on, referring_texts
from tests.models.grounding.test_detections import DOG, PERSON, StubDetector


def box(name: str, x: float, y: float = 0.5, side: float = 0.2) -> Box:
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2, 0.9, name)


def said(*boxes: Box) -> dict[str, list[Box]]:
    return dict(referring_texts(boxes))


def test_a_text_is_about_the_things_that_it_names() -> None:
    dog, bench = box("dog", 0.2), box("bench", 0.7)
    assert said(dog, bench) == {
        "There is a dog": [dog],
        "There is a dog next to a bench": [dog],
        "There is a bench": [bench],
        "There is a bench next to a dog": [bench],
    }
    left, right = box("person", 0.2), box("person", 0.8)
    assert said(right, left) == {
        "There are two people": [left, right],
        "The person on the left": [left],
        "The person on the right": [right],
    }


def test_adjacent_objects_are_not_named_left_and_right() -> None:
    crowd = [box("sheep", 0.3 + 0.05 * n) for n in range(7)]
    assert list(said(*crowd)) == ["There are many sheep"]
    assert list(said(*crowd, box("sheep", 0.9))) == ["There are many sheep", "The sheep on the right"]


def test_the_nearest_other_thing_is_the_one_nearby() -> None:
    assert "There is an orange next to a bowl" in said(box("orange", 0.3), box("cup", 0.9), box("bowl", 0.5))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_makes_texts_in_which_it_is_read_again(name: str) -> None:
    for text in (*said(box(name, 0.2)), *said(box(name, 0.2), box(name, 0.8))):
        assert NAMES.index(name) in named_things(text)[0], text


def test_without_a_detection_nothing_is_said() -> None:
    assert said() == {}


def test_fixations_lie_around_the_centre_of_the_box_a_quarter_as_wide_and_high() -> None:
    points = fixations_on([Box(0.4, 0.2, 0.8, 0.3, 0.9, "dog")], (200, 400))
    assert (points.shape, points.dtype) == ((25, 2), np.int32)
    np.testing.assert_allclose(points.mean(axis=0), (49.5, 239.5), atol=0.6)
    np.testing.assert_allclose(points.std(axis=0), (20 / 4 * 0.87, 160 / 4 * 0.87), rtol=0.1)  # the outer tenths lack


def test_fixations_on_a_box_at_the_edge_stay_inside() -> None:
    points = fixations_on([Box(0.0, 0.0, 0.001, 0.001, 0.9, "dog"), Box(0.99, 0.99, 1.0, 1.0, 0.9, "dog")], (30, 40))
    assert (points >= 0).all()
    assert (points < (30, 40)).all()


class Detects(StubDetector):
    """A dog on the left of every image and a faint person, at 64x96 pixels."""

    def __init__(self) -> None:
        super().__init__([(DOG, 0.9, (8, 16, 40, 56)), (PERSON, 0.3, (60, 16, 80, 40))])

    def forward(self, images: Tensor) -> list[referring.Any]:
        assert images.shape[2:] == (64, 96)
        return super().forward(images)


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    pairs = []
    for number in range(3):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (96, 64), (number, 0, 0)).save(path)
        pairs.append(Pair(str(number), "pure", "", path, 9.0, FixationPoints(np.zeros((1, 2), np.int32)), str(number)))
    return DatasetIndex(tmp_path, pairs, ("pure",), blur=BlurRule("sigma_for", sigma_for))


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Detects:
    detects = Detects()
    monkeypatch.setattr(referring, "nanodet", lambda: detects)
    return detects


def test_pairs_name_what_was_detected_surely_enough(index: DatasetIndex, detector: Detects, tmp_path: Path) -> None:
    pairs = DetectedPairs(tmp_path / "cache")(index)
    assert [(pair.image_id, pair.task, pair.text, pair.name) for pair in pairs] == [
        (str(n), "referring", "There is a dog", f"{n}_referring_0") for n in range(3)
    ]
    assert [pair.density for pair in pairs] == [16.0] * 3
    fixations = pairs[0].fixations
    assert isinstance(fixations, FixationPoints)
    np.testing.assert_allclose(fixations.coordinates.mean(axis=0), (35.5, 23.5), atol=0.7)
    few = DetectedPairs(tmp_path / "cache", condition="names", min_score=0.2, most=1)(index)
    assert [(pair.task, pair.text) for pair in few] == [("names", "There is a dog")] * 3  # the larger thing
    index.with_auxiliary_pairs("referring", pairs)


def test_things_are_detected_once_and_again_where_the_file_is_damaged(
    index: DatasetIndex, detector: Detects, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = DetectedPairs(tmp_path / "cache")
    first = make(index)
    assert len(detector.seen) == 3
    (file,) = (tmp_path / "cache").glob("detections-*.json")
    kept = file.read_text()
    assert [pair.text for pair in make(index)] == [pair.text for pair in first]
    assert len(detector.seen) == 3
    Image.new("RGB", (96, 64), "blue").save(index.pairs[1].image)  # type: ignore[union-attr]
    make(index)
    assert len(detector.seen) == 4
    for damaged in ("", kept[:-20], "[]", '{"x": 1}', kept.replace("dog", "dragon"), kept.replace("0.9", '"0.9"')):
        file.write_text(damaged)
        again = make(index)
        assert len(detector.seen) > 4, damaged
        assert [pair.text for pair in again] == [pair.text for pair in first]
        detector.seen[4:] = []


def test_a_data_set_without_a_known_blur_is_refused(index: DatasetIndex, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="known blur"):
        DetectedPairs(tmp_path)(DatasetIndex(index.root, index.pairs, index.conditions))
