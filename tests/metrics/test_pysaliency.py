"""The standard metrics against pysaliency: values it computed on real pairs, recorded in the golden files."""

import pytest
import torch

from saltext.metrics import FixationPool, Fixations, auc_judd, auc_shuffled, cc, ig, kl, nss, published, sim

pytestmark = [pytest.mark.golden, pytest.mark.real_data]
SIZE = (288, 384)


def _points(pair, protocol):
    if protocol == "standard_mask_fixations":
        return (pair.resized_fixations[0, 0] > 0).nonzero()
    return pair.points


def _centre_bias():
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in SIZE), indexing="ij")
    return torch.exp(-0.5 * (((y - 143.5) / 72) ** 2 + ((x - 191.5) / 96) ** 2))[None, None]


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
        for name, score in found.items():
            assert float(score) == pytest.approx(values[name], rel=1e-9, abs=1e-12), name


def test_float32_maps_agree_as_well(tranblend_pairs) -> None:
    for pair in tranblend_pairs:
        values = pair.values["standard_point_fixations"]
        fixations = Fixations.from_points([pair.points], SIZE)
        assert float(cc(pair.pred, pair.density)) == pytest.approx(values["CC"], rel=1e-9)
        assert float(kl(pair.pred, pair.density)) == pytest.approx(values["KLDiv_MIT_eps2.2204e-16"], rel=1e-9)
        assert float(nss(pair.pred, fixations)) == pytest.approx(values["NSS"], rel=1e-9)
        assert float(auc_judd(pair.pred, fixations)) == pytest.approx(values["AUC_uniform"], rel=1e-12)
