import numpy as np
import pytest
import torch

from saltext.evaluation import native
from saltext.evaluation.native import score_natively
from saltext.metrics import FixationPool, Fixations, auc_judd, auc_shuffled, cc, ig, kl, nss, sim
from saltext.models.baselines import CentrePriorOfOthers, HumanPure, SplitHalf, Uniform
from tests.data.viewings import seen, truth_of

TASKS = ["pure", "salient"]
SIZES = {"a": (30, 40), "b": (40, 30), "c": (30, 40), "d": (30, 40)}
VIEWINGS = [
    seen(image, task, 10 * number + place, size)
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

    def truth(self, indices, size):
        return None


def _directly(place: int) -> dict[str, float]:
    viewing, size = VIEWINGS[place], VIEWINGS[place].density.shape
    pred = Ramp().maps([place], size)
    density = torch.from_numpy(viewing.density / np.float32(255))[None, None]
    points = [torch.tensor(v.points) for v in VIEWINGS]
    sizes = torch.tensor([v.density.shape for v in VIEWINGS])
    pool = FixationPool(points, sizes, [v.image_id for v in VIEWINGS], [v.task for v in VIEWINGS])
    fixations = Fixations.from_points([points[place]], size)
    others = pool.others([viewing.image_id], [viewing.task], size)
    baseline = CentrePriorOfOthers(truth_of(VIEWINGS)).maps([place], size)
    scores = [cc(pred, density), sim(pred, density), kl(pred, density), nss(pred, fixations), auc_judd(pred, fixations)]
    scores += [auc_shuffled(pred, fixations, others), ig(pred, fixations, baseline)]
    return {name: float(value) for name, value in zip(METRICS, scores, strict=True)}


def test_scores_equal_the_metric_functions_called_directly() -> None:
    scores = score_natively(truth_of(VIEWINGS), {"ramp": Ramp()}, range(8), METRICS, _silent)
    assert list(zip(scores["image_id"], scores["task"], strict=True)) == [
        (v.image_id, v.task) for place, v in enumerate(VIEWINGS) if place != 3
    ]
    for row, place in enumerate([0, 1, 2, 4, 5, 6, 7]):
        assert scores.iloc[row][METRICS].to_dict() == pytest.approx(_directly(place), abs=1e-9)


def test_rows_come_by_predictor_and_only_for_covered_pairs() -> None:
    truth = truth_of(VIEWINGS)
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
    truth = truth_of(VIEWINGS)
    predictors = {"split": SplitHalf(truth), "uniform": Uniform(truth)}
    together = score_natively(truth, predictors, range(8), METRICS, _silent)
    monkeypatch.setattr(native, bound, 1)
    assert all(len(batch) == 1 for batch in native._batches(truth, range(8), _silent))
    alone = score_natively(truth, predictors, range(8), METRICS, _silent)
    np.testing.assert_allclose(together[METRICS], alone[METRICS], atol=1e-6)


def test_split_half_is_scored_against_its_own_half() -> None:
    truth = truth_of(VIEWINGS)
    split = SplitHalf(truth)
    scores = score_natively(truth, {"split": split}, [0], ["cc", "nss"], _silent)
    density, fixations = split.truth([0], (30, 40))
    maps = split.maps([0], (30, 40))
    assert scores["cc"].item() == pytest.approx(float(cc(maps, density)))
    assert scores["nss"].item() == pytest.approx(float(nss(maps, fixations)))


def test_what_no_metric_needs_is_not_read() -> None:
    truth = truth_of(VIEWINGS)
    score_natively(truth, {"ramp": Ramp()}, [0], ["cc", "nss"], _silent)
    assert truth._records.read == [0]


def test_a_single_image_has_no_defined_gain_over_others() -> None:
    scores = score_natively(truth_of(VIEWINGS[:1]), {"ramp": Ramp()}, [0], ["cc", "ig", "auc_shuffled"], _silent)
    assert scores[["ig", "auc_shuffled"]].isna().all(axis=None)
    assert scores["cc"].notna().all()
