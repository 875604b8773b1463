import numpy as np
import pytest
import torch

from saltext.metrics import Fixations, Maps, cc, nss, published


def test_binarises_strictly_above_the_value_at_eight_tenths() -> None:
    # sorted: 0 0 0 1 1 2 2 2 3 4; the value at index 8 is 3, so only the 4 is above it
    values = torch.tensor([2.0, 0, 1, 4, 0, 2, 3, 1, 0, 2]).view(1, 1, 2, 5)
    assert Maps(values, "pred").salient_fifth.nonzero()[:, 1].tolist() == [3]


def test_ties_with_the_threshold_leave_fewer_than_a_fifth() -> None:
    values = torch.tensor([0.0, 1, 1, 1, 1, 1, 1, 1, 1, 1]).view(1, 1, 2, 5)
    assert not Maps(values, "pred").salient_fifth.any()


def test_top20_auc_is_the_one_corner_of_a_binary_roc_curve() -> None:
    truth = torch.arange(20.0).view(1, 1, 4, 5)  # index 16 holds 16: the salient fifth is 17, 18, 19
    pred = truth.clone()
    pred[truth == 19], pred[truth == 0] = 0.0, 19.0  # hits 17 and 18, falsely 0; 3 positives, 17 negatives
    assert float(published.top20_auc(pred, truth)) == pytest.approx((2 / 3 + 1 - 1 / 17) / 2, rel=1e-15)


def test_the_papers_sauc_is_a_quarter_plus_half_their_auc(batch) -> None:
    auc = published.top20_auc(batch.pred, batch.density)
    draws = torch.stack([published.top20_sauc_sampled(batch.pred, batch.density, seed=s) for s in range(2000)])
    torch.testing.assert_close(published.top20_sauc(batch.pred, batch.density), 0.25 + auc / 2)
    standard_error = draws.std(0) / 2000**0.5
    assert ((draws.mean(0) - (0.25 + auc / 2)).abs() < 5 * standard_error).all()


def test_nss_unbiased_is_nss_with_the_sample_deviation(batch) -> None:
    mask = batch.fixations > 0
    ratio = published.nss_unbiased(batch.pred, mask) / nss(batch.pred, mask)
    torch.testing.assert_close(ratio, torch.full((5,), ((72 - 1) / 72) ** 0.5, dtype=torch.float64))


def test_nss_unbiased_counts_a_repeated_fixation_once(batch) -> None:
    once = published.nss_unbiased(batch.pred, batch.fixations.clamp_max(1))
    assert torch.equal(published.nss_unbiased(batch.pred, batch.fixations), once)
    listed = published.nss_unbiased(batch.pred, Fixations.of(batch.fixations))
    torch.testing.assert_close(listed, once, rtol=1e-13, atol=1e-13)


def test_nss_of_the_map_ignores_the_fixations(batch) -> None:
    density = torch.where(batch.density > 0.1, batch.density, 0.0)
    expected = published.nss_unbiased(batch.pred, density > 0)
    assert torch.equal(published.nss_of_map(batch.pred, density), expected)
    assert torch.equal(published.nss_of_map(batch.pred, density.sqrt()), expected)


@pytest.mark.golden
@pytest.mark.real_data
def test_golden_files_were_loaded_as_their_authors_did(tranblend_pairs) -> None:
    for pair in tranblend_pairs:
        check = pair.values["resize_check"]
        assert round(float(pair.density.double().sum() * 255)) == check["gt_map_u8_sum"]
        assert round(float(pair.pred.double().sum() * 255)) == check["pred_map_u8_sum"]
        assert int((pair.resized_fixations > 0).sum()) == check["fix_pixels_gt0"]
        assert len(pair.points) == check["fix_points_after_scaling"]


@pytest.mark.golden
@pytest.mark.real_data
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("paper", ["tranblend_metrics_288x384", "clipsalgan_metrics_256x256"])
def test_agrees_with_the_authors_scripts(paper, dtype, tranblend_pairs, clipsalgan_pairs) -> None:
    pairs = tranblend_pairs if paper.startswith("tranblend") else clipsalgan_pairs
    for pair in pairs:
        # float32 maps are scored with float64 sums, so they meet the authors' float64 values as well.
        pred, density, values = pair.pred.to(dtype), pair.density.to(dtype), pair.values[paper]
        fixations = pair.resized_fixations if paper.startswith("tranblend") else density
        found = {
            "AUC": published.top20_auc(pred, density),
            "CC_float64": cc(pred, density),
            "NSS_float64": published.nss_unbiased(pred, fixations),
            "NSS_map_based": published.nss_of_map(pred, density),
            "sAUC_expected_0.25+AUC/2": published.top20_sauc(pred, density),
        }
        for name, score in found.items():
            if name in values:
                assert float(score) == pytest.approx(values[name], rel=1e-12 if "AUC" in name else 1e-9), name
        assert float(found["AUC"]) / 2 + 0.25 == pytest.approx(values["sAUC_mean_200_seeds"], abs=2e-4)


@pytest.mark.golden
@pytest.mark.real_data
def test_sampled_sauc_draws_what_the_authors_scripts_draw(tranblend_pairs) -> None:
    for pair in tranblend_pairs[:4]:
        drawn = [float(published.top20_sauc_sampled(pair.pred, pair.density, seed=seed)) for seed in range(3)]
        expected = pair.values["tranblend_metrics_288x384"]["sAUC_seed0_1_2"]
        np.testing.assert_allclose(drawn, expected, rtol=1e-12)
