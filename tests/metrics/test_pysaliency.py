"""The standard metrics against pysaliency: on real pairs the values it computed, recorded in the golden files, and on
generated maps itself."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from saltext.metrics import FixationPool, Fixations, auc_judd, auc_shuffled, cc, ig, kl, nss, published, score, sim
from tests.benchmarks.oracles import PySaliency
from tests.reference.pysaliency_oracle import Evaluation

SIZE = (288, 384)
needs_pysaliency = pytest.mark.skipif(find_spec("pysaliency") is None, reason="needs pysaliency: make oracle")


def _points(pair, protocol):
    if protocol == "standard_mask_fixations":
        return (pair.resized_fixations[0, 0] > 0).nonzero()
    return pair.points


def _centre_bias():
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in SIZE), indexing="ij")
    return torch.exp(-0.5 * (((y - 143.5) / 72) ** 2 + ((x - 191.5) / 96) ** 2))[None, None]


@pytest.mark.golden
@pytest.mark.real_data
@pytest.mark.parametrize("protocol", ["standard_mask_fixations", "standard_point_fixations"])
def test_agrees_with_pysaliency(protocol, tranblend_pairs) -> None:
    points = [_points(pair, protocol) for pair in tranblend_pairs]
    names = [str(i) for i in range(len(points))]
    pool = FixationPool(points, torch.tensor(SIZE).expand(len(points), 2), names, ["all"] * len(points))
    others = pool.others(names, ["all"] * len(points), SIZE)
    for i, pair in enumerate(tranblend_pairs):
        pred, density = pair.pred.double(), pair.density.double()
        fixations = Fixations.from_points([points[i]], SIZE)
        values = pair.values[protocol]
        assert int(fixations.each.number) == values["n_fixations"]
        assert int(others.each.number[i]) == values["n_nonfixations"]
        found = {
            "AUC_unfixated_all_thresholds": auc_judd(pred, fixations, "unfixated"),
            "AUC_uniform": auc_judd(pred, fixations),
            "AUC_Judd": published.auc_judd_mit(pred, fixations),
            "sAUC_given_nonfixations": auc_shuffled(pred, fixations, others.images(i, i + 1)),
            "NSS": nss(pred, fixations),
            "CC": cc(pred, density),
            "SIM": sim(pred, density),
            "KLDiv_MIT_eps2.2204e-16": kl(pred, density),
            "IG_bits_vs_centrebias_min0.001": ig(pred + 0.001, fixations, _centre_bias(), eps=0.0),
            "IG_bits_vs_centrebias_min1e-20": ig(pred + 1e-20, fixations, _centre_bias(), eps=0.0),
            "IG_bits_numpy_eps2.2204e-16": ig(pred, fixations, _centre_bias()),
        }
        for name, value in found.items():
            assert float(value) == pytest.approx(values[name], rel=1e-9, abs=1e-12), name


@pytest.mark.golden
@pytest.mark.real_data
def test_float32_maps_agree_as_well(tranblend_pairs) -> None:
    for pair in tranblend_pairs:
        values = pair.values["standard_point_fixations"]
        fixations = Fixations.from_points([pair.points], SIZE)
        assert float(cc(pair.pred, pair.density)) == pytest.approx(values["CC"], rel=1e-9)
        assert float(kl(pair.pred, pair.density)) == pytest.approx(values["KLDiv_MIT_eps2.2204e-16"], rel=1e-6)
        assert float(nss(pair.pred, fixations)) == pytest.approx(values["NSS"], rel=1e-9)
        assert float(auc_judd(pair.pred, fixations)) == pytest.approx(values["AUC_uniform"], rel=1e-12)


@dataclass(frozen=True)
class Drawn:
    """Three generated images, as saltext and as pysaliency take them."""

    pred: torch.Tensor
    density: torch.Tensor
    points: list[np.ndarray]
    others: list[np.ndarray]

    @property
    def size(self) -> tuple[int, int]:
        return tuple(self.pred.shape[2:])

    def fixations(self, points: list[np.ndarray], name: str = "fixations") -> Fixations:
        return Fixations.from_points([torch.from_numpy(p) for p in points], self.size, name)


SIZES = [(24, 32), (41, 17), (64, 9), (5, 60), (30, 30), (1, 50)]
KINDS = ["continuous", "plateaus", "two values", "zeros", "one fixation", "repeated fixations"]


def _draw(size, kind) -> Drawn:
    rng = np.random.default_rng([*size, KINDS.index(kind)])
    pred, density = rng.random((2, 3, 1, *size)) ** 2
    if kind == "plateaus":
        pred, density = np.ceil(4 * pred) / 4, np.ceil(6 * density) / 6
    elif kind == "two values":
        pred = (pred > 0.5) + 1.0
    elif kind == "zeros":
        pred, density = pred * (pred > 0.3), density * (density > 0.6)
        pred[..., 0, 0] = density[..., 0, 0] = 0.5
    number = {"one fixation": 1, "repeated fixations": 3 * size[0] * size[1]}.get(kind, 14)
    points, others = ([rng.integers(0, size, (n, 2)) for _ in range(3)] for n in (number, 60))
    if kind == "repeated fixations":  # some pixels stay free: there have to be unfixated ones
        points = [p[(p % 3 != 0).any(1)] for p in points]
    return Drawn(torch.from_numpy(pred), torch.from_numpy(density), points, others)


@pytest.fixture(params=[(size, kind) for size in SIZES for kind in KINDS], ids=lambda p: f"{p[0][0]}x{p[0][1]} {p[1]}")
def drawn(request: pytest.FixtureRequest) -> Drawn:
    return _draw(*request.param)


@needs_pysaliency
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_generated_maps_agree_with_pysaliency_itself(dtype, tolerance, drawn) -> None:
    pred, density = drawn.pred.to(dtype), drawn.density.to(dtype)
    fixations, others = drawn.fixations(drawn.points), drawn.fixations(drawn.others, "others")
    names = ["cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled"]
    found = score(pred, density, fixations, names, others=others)
    oracle = PySaliency()
    for i, (p, g) in enumerate(zip(pred[:, 0].double().numpy(), density[:, 0].double().numpy(), strict=True)):
        expected = {
            "cc": oracle.cc(p, g),
            "sim": oracle.sim(p, g),
            "kl": oracle.kl(p, g),
            "nss": oracle.nss(p, drawn.points[i]),
            "auc_judd": oracle.auc_judd(p, drawn.points[i]),
            "auc_shuffled": oracle.auc_shuffled(p, drawn.points[i], drawn.others[i]),
        }
        for name, value in expected.items():
            assert float(found[name][i]) == pytest.approx(value, rel=tolerance, abs=tolerance), name


@needs_pysaliency
def test_generated_maps_agree_with_pysaliencys_evaluation_of_a_model(drawn) -> None:
    pred, baseline = drawn.pred + 0.01, drawn.density + 0.01
    fixations, others = drawn.fixations(drawn.points), drawn.fixations(drawn.others, "others")
    evaluation = Evaluation(pred[:, 0].numpy(), drawn.points)
    pairs = {
        "all pixels": (auc_judd(pred, fixations), evaluation.auc("uniform")),
        "unfixated pixels": (auc_judd(pred, fixations, "unfixated"), evaluation.auc("unfixated")),
        "MIT": (published.auc_judd_mit(pred, fixations), evaluation.auc("unfixated", "fixations")),
        "MIT, all pixels": (published.auc_judd_mit(pred, fixations, "all"), evaluation.auc("uniform", "fixations")),
        "shuffled": (auc_shuffled(pred, fixations, others), evaluation.auc(drawn.others)),
        "information gain": (ig(pred, fixations, baseline, eps=0.0), evaluation.ig(baseline[:, 0].numpy())),
    }
    for what, (found, expected) in pairs.items():
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9, err_msg=what)


@needs_pysaliency
def test_the_pool_holds_the_fixations_that_pysaliency_shuffles(drawn) -> None:
    names, groups = ["a", "b", "c"], ["one"] * 3
    points = [torch.from_numpy(p) for p in drawn.points]
    others = FixationPool(points, torch.tensor([drawn.size] * 3), names, groups).others(names, groups, drawn.size)
    found = auc_shuffled(drawn.pred, drawn.fixations(drawn.points), others)
    expected = Evaluation(drawn.pred[:, 0].numpy(), drawn.points).auc("shuffled")
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_areas_are_those_of_scikit_learn(drawn) -> None:
    fixations, others = drawn.fixations(drawn.points), drawn.fixations(drawn.others, "others")
    found = [
        auc_judd(drawn.pred, fixations),
        auc_judd(drawn.pred, fixations, "unfixated"),
        auc_shuffled(drawn.pred, fixations, others),
    ]
    for i, values in enumerate(drawn.pred[:, 0].numpy()):
        positives = values[tuple(drawn.points[i].T)]
        free = np.ones(drawn.size, dtype=bool)
        free[tuple(drawn.points[i].T)] = False
        for area, negatives in zip(
            found, (values.ravel(), values[free], values[tuple(drawn.others[i].T)]), strict=True
        ):
            labels = np.repeat([1, 0], [len(positives), len(negatives)])
            assert float(area[i]) == pytest.approx(
                roc_auc_score(labels, np.concatenate([positives, negatives])), abs=1e-9
            )
