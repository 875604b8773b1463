from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from saltext.models.freezing import freeze
from saltext.models.grounding.coco import NAMES
from saltext.models.grounding.detections import DetectionGrounder, DetectionMaps, draw_boxes, nanodet_grounder
from saltext.models.grounding.nanodet import Detections
from saltext.models.normalize import Normalize
from saltext.models.text.tiny import TinyText

DOG, PERSON, CUP, TABLE = (NAMES.index(name) for name in ("dog", "person", "cup", "dining table"))


class StubDetector(nn.Module):
    """A detector that finds what it is given, at stride 8, whatever the image: (class, score, box)."""

    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self, found: Sequence[tuple[int, float, tuple[float, float, float, float]]] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.found = found
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> list[Detections]:
        self.seen.append(images)
        rows, columns = (-(-side // 8) for side in images.shape[2:])
        scores = torch.zeros(len(images), len(NAMES), rows, columns)
        boxes = torch.zeros(len(images), 4, rows, columns)
        for name, score, box in self.found:
            x, y = min(int((box[0] + box[2]) / 16), columns - 1), min(int((box[1] + box[3]) / 16), rows - 1)
            while boxes[0, :, y, x].any():  # one box a position
                x, y = (x + 1) % columns, y + (x + 1) // columns
            scores[:, name, y, x], boxes[:, :, y, x] = score, torch.tensor(box)
        return [Detections(scores, boxes)]


def maps_of(*found: tuple[int, float, tuple[float, float, float, float]], size: tuple[int, int] = (128, 160)) -> Tensor:
    (features,) = freeze(DetectionMaps(StubDetector(found)))(torch.zeros(1, 3, *size))
    assert features.dtype == torch.half
    return features[0].float()


def test_scores_and_boxes_of_a_class_peak_where_the_thing_is() -> None:
    maps = maps_of((DOG, 0.9, (96, 32, 160, 96)))  # centre at (128, 64): columns 3 and 4, rows 1 and 2
    assert maps.shape == (2 * 80, 4, 5)
    scores, boxes = maps.chunk(2)
    assert divmod(int(scores[DOG].argmax()), 5) == (2, 4)  # the position that found it, at (128, 64)
    assert scores[DOG].max() == pytest.approx(0.9, abs=1e-3)
    assert boxes[DOG, 1:3, 3:].min() > 0.3 > 0.01 > boxes[DOG, :, :2].max()
    others = [number for number in range(80) if number != DOG]
    assert not scores[others].any()
    assert not boxes[others].any()


def test_a_worked_example_of_a_drawn_box() -> None:
    # 4 wide and 8 high around (3, 4) in cells: deviations 1 and 2. Row 2, column 2 has its centre at (2.5, 2.5).
    drawn = draw_boxes(torch.tensor([[1.0, 0.0, 5.0, 8.0]]), torch.tensor([0.5]), torch.tensor([1]), 2, (8, 6))
    expected = 0.5 * torch.tensor(-(0.5**2) / 2 - (1.5 / 2) ** 2 / 2).exp()
    torch.testing.assert_close(drawn[1, 2, 2], expected)
    assert not drawn[0].any()


def test_without_a_detection_all_maps_are_zero() -> None:
    assert not maps_of().any()
    assert not maps_of((DOG, 0.05, (0, 0, 64, 64))).chunk(2)[1].any()  # too unsure for a box


def test_of_hundreds_of_detections_the_best_hundred_are_drawn() -> None:
    found = [
        (number % 80, 0.2 + 0.001 * number, (x, y, x + 6.0, y + 6.0))
        for number, (x, y) in enumerate((8.0 * (k % 20), 8.0 * (k // 20)) for k in range(300))
    ]
    encoder = DetectionMaps(StubDetector(found))
    levels = encoder.detector(torch.zeros(1, 3, 128, 160))
    boxes, scores, _ = encoder.best_boxes(levels[0].boxes[0].flatten(1).T, levels[0].scores[0].flatten(1).T)
    assert len(boxes) == len(scores) == 100
    assert scores.min() >= 0.2 + 0.001 * 200 - 1e-6
    assert maps_of(*found).isfinite().all()


def test_overlapping_boxes_of_a_class_count_once_and_of_two_classes_both() -> None:
    box, moved = (32.0, 32.0, 96.0, 96.0), (34.0, 32.0, 98.0, 96.0)
    encoder = DetectionMaps(StubDetector())
    boxes = torch.tensor([box, moved, box])
    scores = torch.zeros(3, 80)
    scores[0, DOG], scores[1, DOG], scores[2, PERSON] = 0.9, 0.8, 0.7
    _, kept, numbers = encoder.best_boxes(boxes, scores)
    assert kept.tolist() == pytest.approx([0.9, 0.7])
    assert numbers.tolist() == [DOG, PERSON]


def test_a_box_of_one_pixel_shows_in_its_cell() -> None:
    boxes = maps_of((CUP, 0.8, (70, 40, 71, 41))).chunk(2)[1][CUP]
    assert divmod(int(boxes.argmax()), 5) == (1, 2)
    assert boxes.max() > 0.2


def test_boxes_that_leave_the_image_are_drawn_inside() -> None:
    boxes = maps_of((DOG, 0.8, (-200, -200, 400, 400))).chunk(2)[1][DOG]
    assert boxes.min() > 0.5


def test_the_detector_sees_the_image_as_it_was_trained_and_not_larger() -> None:
    detector = StubDetector([(DOG, 0.9, (96.0, 32.0, 160.0, 96.0))])
    encoder = DetectionMaps(detector, longer_side=80)
    pixels = torch.randint(0, 256, (1, 3, 128, 160), dtype=torch.uint8)
    encoder(Normalize()(pixels))
    assert detector.seen[-1].shape == (1, 3, 64, 80)
    encoder(Normalize()(pixels[:, :, :48, :64]))
    torch.testing.assert_close(detector.seen[-1], Normalize((0.5,) * 3, (0.5,) * 3, "bgr")(pixels[:, :, :48, :64]))


def test_boxes_keep_their_place_when_the_detector_sees_a_smaller_image() -> None:
    whole = maps_of((DOG, 0.9, (96, 32, 160, 96))).chunk(2)[1]
    (half,) = DetectionMaps(StubDetector([(DOG, 0.9, (48.0, 16.0, 80.0, 48.0))]), longer_side=80)(
        torch.zeros(1, 3, 128, 160)
    )
    torch.testing.assert_close(half[0, 80:].float(), whole)


def grounder(*found: tuple[int, float, tuple[float, float, float, float]]) -> DetectionGrounder:
    return DetectionGrounder(StubDetector(found))


def ground(text: str, *found: tuple[int, float, tuple[float, float, float, float]]) -> Tensor:
    """Maps of a text: by similarity, named first, named later; of scores and of boxes."""
    grounding = grounder(*found)
    (features,) = grounding.image_encoder(torch.zeros(1, 3, 128, 160))
    maps = grounding(features, [text], freeze(TinyText(dim=12)))
    assert maps.shape == (1, DetectionGrounder.num_maps, 4, 5)
    assert maps.isfinite().all()
    return maps[0]


SCENE = ((CUP, 0.9, (8.0, 8.0, 24.0, 24.0)), (TABLE, 0.8, (96.0, 64.0, 160.0, 128.0)))


def test_what_a_text_names_first_has_maps_of_its_own() -> None:
    _, first, later, _, first_box, later_box = ground("a cup on the table", *SCENE)
    for maps in (first, first_box):
        assert divmod(int(maps.argmax()), 5) == (0, 0)
        assert maps[2:, 3:].max() < 0.01
    for maps in (later, later_box):
        assert divmod(int(maps.argmax()), 5)[0] >= 2
        assert maps[0, 0] < 0.01


def test_another_word_for_a_thing_finds_it() -> None:
    person = (PERSON, 0.9, (96.0, 64.0, 160.0, 128.0))
    assert torch.equal(ground("the lady", *SCENE, person)[[1, 4]], ground("a person", *SCENE, person)[[1, 4]])


@pytest.mark.parametrize("text", ["", "the sky", "一个人", "un chien"])
def test_a_text_that_names_nothing_has_maps_by_similarity_alone(text: str) -> None:
    maps = ground(text, *SCENE)
    assert not maps[[1, 2, 4, 5]].any()
    assert maps[[0, 3]].amax() > 0


def test_an_image_without_detections_has_finite_maps() -> None:
    assert not ground("a dog").any()


def test_the_semantic_map_points_to_the_thing_that_is_there() -> None:
    grounding, encoder = grounder(*SCENE), freeze(TinyText(dim=12))
    (features,) = grounding.image_encoder(torch.zeros(1, 3, 128, 160))
    semantic = grounding.semantic_map(features, encoder)
    assert semantic.shape == (1, grounding.semantic_dim(encoder), 4, 5)
    torch.testing.assert_close(semantic[0, :, 0, 0], features[0, CUP, 0, 0].float() * encoder(["cup"]).pooled[0])
    assert not semantic[0, :, 0, 4].any()


def test_the_packaged_detector_is_frozen_and_in_no_checkpoint() -> None:
    packaged = nanodet_grounder()
    assert packaged.state_dict() == {}
    assert not any(parameter.requires_grad for parameter in packaged.parameters())
    with torch.no_grad():
        (features,) = packaged.image_encoder(torch.randn(2, 3, 96, 128))
    assert features.shape == (2, 160, 3, 4)
    assert features.isfinite().all()


def test_a_map_does_not_depend_on_its_batch_mates() -> None:
    encoder = nanodet_grounder().image_encoder
    images = torch.randn(2, 3, 96, 128)
    torch.testing.assert_close(encoder(images)[0][:1], encoder(images[:1])[0], rtol=0, atol=2e-3)
