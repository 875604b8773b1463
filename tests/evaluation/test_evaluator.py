from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from saltext.baselines import Baseline, CentrePriorOfOthers, HumanPure, SplitHalf, Uniform
from saltext.evaluation import groups
from saltext.evaluation.evaluator import Evaluator, Scores, score_natively, score_pairs
from saltext.evaluation.groups import EvaluationBatch
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.protocols import PAPERS, standard
from saltext.evaluation.reference import Reference
from saltext.evaluation.text_variants import SubstituteText, TextVariant
from saltext.metrics import FixationPool, Fixations, auc_judd, auc_shuffled, cc, ig, kl, nss, sim
from tests.data.in_memory import random_pair, truth_of
from tests.evaluation.small_batches import Oracle, batch

# Batches of a loader


class Counted:
    """A network that counts its forward passes."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, batch: EvaluationBatch) -> Tensor:
        self.calls += 1
        return torch.rand(len(batch["index"]), 1, 3, 4)


def test_a_network_predicts_a_batch_once_for_all_protocols() -> None:
    network, evaluator = Counted(), Evaluator()
    own = ModelPredictor(network)
    for protocol in (standard(["cc"]), PAPERS["tranblend"]):
        evaluator.add("network", own, protocol)
    found = list(evaluator.score_batch(batch([0, 1, 3])))
    assert [(scores.entry, list(scores.indices)) for scores in found] == [(0, [0, 1, 3]), (1, [0, 1, 3])]
    assert network.calls == 1


def test_a_network_does_not_predict_a_batch_of_which_it_covers_no_pair() -> None:
    network, evaluator = Counted(), Evaluator()
    variant = TextVariant("other", {1: SubstituteText("else", "whole")})
    evaluator.add("network", ModelPredictor(network, variant), standard(["cc"]), variant.name)
    assert list(evaluator.score_batch(batch([2, 0]))) == []
    assert network.calls == 0
    (scores,) = evaluator.score_batch(batch([2, 1]))
    assert list(scores.indices) == [1]
    assert network.calls == 1


def test_known_scores_are_yielded_for_their_pairs_and_the_predictor_is_not_asked() -> None:
    network, evaluator = Counted(), Evaluator()
    evaluator.add("network", ModelPredictor(network), standard(["cc"]))
    known = {1: [0.5, 0.25], 3: [0.125, float("nan")]}
    refusing = Uniform(truth_of([]))
    refusing.maps = None  # type: ignore[assignment,method-assign]
    evaluator.add("kept", refusing, standard(["cc", "nss"]), known=known)
    found = {scores.entry: scores for scores in evaluator.score_batch(batch([0, 1, 3]))}
    assert list(found[0].indices) == [0, 1, 3]
    assert list(found[1].indices) == [1, 3]
    torch.testing.assert_close(
        found[1].values, torch.tensor([known[1], known[3]], dtype=torch.float64), rtol=0, atol=0, equal_nan=True
    )


class Half(Baseline):
    """Scored against a truth of its own: the map that is bright on the left."""

    name = "half"
    title = "half"

    def maps(self, indices: Sequence[int], size: tuple[int, int]) -> Tensor:
        left = torch.zeros(len(indices), 1, *size)
        left[..., : size[1] // 2] = 1
        return left

    def ground_truth(self, indices: Sequence[int], size: tuple[int, int]) -> tuple[Tensor, Fixations]:
        points = [torch.tensor([[0, 0]]) for _ in indices]
        return self.maps(indices, size), Fixations.from_points(points, size)


def test_a_baseline_with_a_truth_of_its_own_is_scored_against_that() -> None:
    evaluator = Evaluator()
    evaluator.add("half", Half(None), standard(["cc", "nss"]))  # type: ignore[arg-type]
    (scores,) = evaluator.score_batch(batch([0, 1]))
    torch.testing.assert_close(scores.values, torch.ones(2, 2, dtype=torch.float64))


def test_others_and_baseline_come_from_the_reference_where_a_metric_needs_them() -> None:
    asked: list[str] = []

    class Other:
        def others(self, indices: Sequence[int], size: tuple[int, int]) -> Fixations:
            asked.append("others")
            return Fixations.from_points([torch.tensor([[0, 0]]) for _ in indices], size)

        def baseline(self, indices: Sequence[int], size: tuple[int, int]) -> Tensor:
            asked.append("baseline")
            return torch.ones(len(indices), 1, *size)

    evaluator = Evaluator(Other())  # type: ignore[arg-type]
    evaluator.add("oracle", Oracle(), standard(["cc", "auc_shuffled"]))
    list(evaluator.score_batch(batch([0, 1])))
    assert asked == ["others"]
    evaluator.add("oracle", Oracle(), PAPERS["tranblend"])
    list(evaluator.score_batch(batch([3])))
    assert asked == ["others", "others"]


def test_a_predictor_is_asked_for_what_it_covers_and_scored_against_that() -> None:
    evaluator, oracle = Evaluator(), Oracle()
    evaluator.add("oracle", oracle, standard(["cc"]))
    (scores,) = evaluator.score_batch(batch([3, 2, 1]))
    assert list(scores.indices) == [3, 1]
    assert oracle.asked == [[3, 1]]
    torch.testing.assert_close(scores.values, torch.ones(2, 1, dtype=torch.float64))


# Recordings, without a loader

TASKS = ["pure", "salient"]
SIZES = {"a": (30, 40), "b": (40, 30), "c": (30, 40), "d": (30, 40)}
PAIRS = [
    random_pair(image, task, 10 * number + place, size)
    for number, (image, size) in enumerate(SIZES.items())
    for place, task in enumerate(TASKS)
]
METRICS = ["cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig"]


def _silent(things, what, total):
    return things


class Ramp:
    """Predicts the place of the pair plus a ramp."""

    def covers(self, index: int) -> bool:
        return index != 3

    def maps(self, indices, size):
        ramp = torch.arange(size[0] * size[1]).view(1, 1, *size) % 97
        return torch.cat([ramp.float() + 20 * index for index in indices])

    def ground_truth(self, indices, size):
        return None


def _directly(place: int) -> dict[str, float]:
    viewing, size = PAIRS[place], PAIRS[place].density.shape
    pred = Ramp().maps([place], size)
    density = torch.from_numpy(viewing.density / np.float32(255))[None, None]
    points = [torch.tensor(v.points) for v in PAIRS]
    sizes = torch.tensor([v.density.shape for v in PAIRS])
    pool = FixationPool(points, sizes, [v.image_id for v in PAIRS], [v.task for v in PAIRS])
    fixations = Fixations.from_points([points[place]], size)
    others = pool.others([viewing.image_id], [viewing.task], size)
    baseline = CentrePriorOfOthers(truth_of(PAIRS)).maps([place], size)
    scores = [cc(pred, density), sim(pred, density), kl(pred, density), nss(pred, fixations), auc_judd(pred, fixations)]
    scores += [auc_shuffled(pred, fixations, others), ig(pred, fixations, baseline)]
    return {name: float(value) for name, value in zip(METRICS, scores, strict=True)}


def test_scores_equal_the_metric_functions_called_directly() -> None:
    scores = score_natively(truth_of(PAIRS), {"ramp": Ramp()}, range(8), METRICS, _silent)
    assert list(zip(scores["image_id"], scores["task"], strict=True)) == [
        (v.image_id, v.task) for place, v in enumerate(PAIRS) if place != 3
    ]
    for row, place in enumerate([0, 1, 2, 4, 5, 6, 7]):
        assert scores.iloc[row][METRICS].to_dict() == pytest.approx(_directly(place), abs=1e-9)


def test_rows_come_by_predictor_and_only_for_covered_pairs() -> None:
    truth = truth_of(PAIRS)
    predictors = {"ramp": Ramp(), "free viewing": HumanPure(truth)}
    scores = score_natively(truth, predictors, [7, 3, 2], ["cc"], _silent)
    assert list(zip(scores["model"], scores["image_id"], scores["task"], strict=True)) == [
        ("ramp", "b", "pure"),
        ("ramp", "d", "salient"),
        ("free viewing", "b", "salient"),
        ("free viewing", "d", "salient"),
    ]


@pytest.mark.parametrize("bound", ["_BATCH_PIXELS", "_BATCH_POINTS"])
def test_scores_do_not_depend_on_what_is_scored_together(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    truth = truth_of(PAIRS)
    predictors = {"split": SplitHalf(truth), "uniform": Uniform(truth)}
    together = score_natively(truth, predictors, range(8), METRICS, _silent)
    monkeypatch.setattr(groups, bound, 1)
    assert all(len(group.index) == 1 for group in groups.recorded_groups(truth, range(8), _silent))
    alone = score_natively(truth, predictors, range(8), METRICS, _silent)
    np.testing.assert_allclose(together[METRICS], alone[METRICS], atol=1e-6)


def test_split_half_is_scored_against_its_own_half() -> None:
    truth = truth_of(PAIRS)
    split = SplitHalf(truth)
    scores = score_natively(truth, {"split": split}, [0], ["cc", "nss"], _silent)
    density, fixations = split.ground_truth([0], (30, 40))
    maps = split.maps([0], (30, 40))
    assert scores["cc"].item() == pytest.approx(float(cc(maps, density)))
    assert scores["nss"].item() == pytest.approx(float(nss(maps, fixations)))


def test_what_no_metric_needs_is_not_read() -> None:
    truth = truth_of(PAIRS)
    score_natively(truth, {"ramp": Ramp()}, [0], ["cc", "nss"], _silent)
    assert truth._fixation_data.read == [0]


def test_a_single_image_has_no_defined_gain_over_others() -> None:
    scores = score_natively(truth_of(PAIRS[:1]), {"ramp": Ramp()}, [0], ["cc", "ig", "auc_shuffled"], _silent)
    assert scores[["ig", "auc_shuffled"]].isna().all(axis=None)
    assert scores["cc"].notna().all()


def test_a_loader_s_batches_are_scored_as_the_recordings_are() -> None:
    truth, protocol = truth_of(PAIRS), standard(METRICS)
    predictors = {"split": SplitHalf(truth), "free viewing": HumanPure(truth), "ramp": Ramp()}
    expected = score_pairs(truth, predictors, range(8), METRICS, _silent)
    evaluator = Evaluator(Reference(truth))
    for label, predictor in predictors.items():
        evaluator.add(label, predictor, protocol)
    found: list[Scores] = []
    for numbers in ([5, 0, 2], [1, 3, 4], [6, 7]):
        loaded = {
            "image": torch.zeros(len(numbers), 3, 6, 8),
            "index": torch.tensor(numbers),
            "size": torch.tensor([PAIRS[n].density.shape for n in numbers]),
            "box": torch.tensor([(0, 0, 6, 8)] * len(numbers)),
            "native_density": [torch.from_numpy(PAIRS[n].density) for n in numbers],
            "native_points": [torch.tensor(PAIRS[n].points) for n in numbers],
        }
        found += evaluator.score_batch(loaded)
    rows = {
        (evaluator.entries[scores.entry].model, index): row
        for scores in found
        for index, row in zip(scores.indices, scores.values.tolist(), strict=True)
    }
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert row == pytest.approx(expected[key], abs=1e-9, nan_ok=True)
