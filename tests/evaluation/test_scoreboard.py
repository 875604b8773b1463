from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from saltext.data.pairs import Pair
from saltext.evaluation.groups import Batch, Group
from saltext.evaluation.predictor import Maps, Predictor
from saltext.evaluation.protocols import PAPERS, standard
from saltext.evaluation.scoreboard import BaselinePredictor, Scoreboard
from saltext.metrics import Fixations
from saltext.models.baselines import Baseline

PAIRS = [
    Pair(str(i), task, "", Path("i"), Path("d"), Path("f"), f"{i} {task}") for i in (1, 2) for task in ("pure", "whole")
]
SIZE = (6, 8)


def truth() -> Tensor:
    return torch.randint(1, 255, (4, *SIZE), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def batch(numbers: Sequence[int]) -> dict[str, object]:
    density = truth()
    return {
        "image": torch.zeros(len(numbers), 3, *SIZE, dtype=torch.uint8),
        "index": torch.tensor(numbers),
        "size": torch.tensor([SIZE] * len(numbers)),
        "box": torch.tensor([(0, 0, *SIZE)] * len(numbers)),
        "native_density": [density[n] for n in numbers],
        "native_points": [torch.tensor([[n, n]]) for n in numbers],
    }


class Oracle(Predictor):
    """The truth itself."""

    model = "oracle"

    def __init__(self) -> None:
        self.calls = 0

    def covers(self, number: int) -> bool:
        return number != 2

    def at(self, batch: Batch) -> Maps:
        self.calls += 1
        return lambda group: group.density


def test_every_covered_pair_gets_one_row_a_protocol_whatever_the_order() -> None:
    board = Scoreboard(PAIRS)
    oracle = Oracle()
    board.add(oracle, standard(["cc"]))
    board.add(oracle, PAPERS["clip_salgan"])
    board.update(batch([3, 0]))
    board.update(batch([2, 1]))
    frame = board.frame()
    rows = list(zip(frame["image_id"], frame["task"], frame["protocol"], strict=True))
    covered = [("1", "pure"), ("1", "whole"), ("2", "whole")]
    assert rows == [(*c, p) for p in ("standard", "clip_salgan") for c in covered]
    assert frame["cc"].tolist() == pytest.approx([1.0] * 6)
    assert frame.loc[frame["protocol"] == "standard", "nss_of_map"].isna().all()


def test_a_predictor_predicts_a_batch_once_for_all_protocols() -> None:
    board = Scoreboard(PAIRS)
    oracle = Oracle()
    for protocol in (standard(["cc"]), PAPERS["tranblend"]):
        board.add(oracle, protocol)
    board.update(batch([0, 1, 3]))
    board.update(batch([2]))  # not covered: not predicted
    assert oracle.calls == 1


def test_what_was_scored_is_forgotten_on_reset() -> None:
    board = Scoreboard(PAIRS)
    board.add(Oracle(), standard(["cc"]))
    board.update(batch([0, 1]))
    board.reset()
    board.update(batch([3]))
    assert len(board.frame()) == 1


class Half(Baseline):
    """Scored against a truth of its own: the map that is bright on the left."""

    name = "half"
    title = "half"

    def maps(self, indices: Sequence[int], size: tuple[int, int]) -> Tensor:
        left = torch.zeros(len(indices), 1, *size)
        left[..., : size[1] // 2] = 1
        return left

    def truth(self, indices: Sequence[int], size: tuple[int, int]) -> tuple[Tensor, Fixations]:
        points = [torch.tensor([[0, 0]]) for _ in indices]
        return self.maps(indices, size), Fixations.from_points(points, size)


def test_a_baseline_with_a_truth_of_its_own_is_scored_against_that() -> None:
    board = Scoreboard(PAIRS)
    board.add(BaselinePredictor(Half(None)), standard(["cc", "nss"]))  # type: ignore[arg-type]
    board.update(batch([0, 1]))
    frame = board.frame()
    assert frame["cc"].tolist() == pytest.approx([1.0, 1.0])
    assert frame["nss"].tolist() == pytest.approx([1.0, 1.0])


def test_others_and_baseline_come_from_the_reference_where_a_metric_needs_them() -> None:
    asked: list[str] = []

    class Reference:
        def others(self, indices: Sequence[int], size: tuple[int, int]) -> Fixations:
            asked.append("others")
            return Fixations.from_points([torch.tensor([[0, 0]]) for _ in indices], size)

        def baseline(self, indices: Sequence[int], size: tuple[int, int]) -> Tensor:
            asked.append("baseline")
            return torch.ones(len(indices), 1, *size)

    board = Scoreboard(PAIRS, Reference())  # type: ignore[arg-type]
    board.add(Oracle(), standard(["cc", "auc_shuffled"]))
    board.update(batch([0, 1]))
    assert asked == ["others"]
    board.add(Oracle(), PAPERS["tranblend"])
    board.update(batch([3]))
    assert asked == ["others", "others"]


def test_a_group_is_an_honest_record_of_its_members() -> None:
    seen: list[Group] = []

    class Watcher(Oracle):
        def at(self, batch: Batch) -> Maps:
            def maps(group: Group) -> Tensor:
                seen.append(group)
                return group.density

            return maps

    board = Scoreboard(PAIRS)
    board.add(Watcher(), standard(["cc"]))
    board.update(batch([3, 2, 1]))
    (group,) = seen
    assert list(group.index) == [3, 1]
    torch.testing.assert_close(group.density[:, 0] * 255, truth()[[3, 1]].float())
