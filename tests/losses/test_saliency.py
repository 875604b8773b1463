import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from saltext.losses import PAPER_WEIGHTS, SaliencyLoss
from tests.reference import metrics as reference

TERMS = ("cc", "nss", "sim", "kl", "mse")


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    saliency, density = rng.random((4, 1, 9, 7)), rng.random((4, 1, 9, 7)) ** 2
    fixations = rng.poisson(0.1, (4, 1, 9, 7)).astype(np.float64)
    return tuple(torch.from_numpy(a) for a in (saliency, density, fixations))


def _references(batch):
    return [reference.loss_terms(*(maps[i, 0].numpy() for maps in batch)) for i in range(len(batch[0]))]


def test_terms_agree_with_the_plain_reference(batch) -> None:
    _, terms = SaliencyLoss(PAPER_WEIGHTS)(*batch)
    assert set(terms) == set(TERMS)
    for name in TERMS:
        expected = np.mean([image[name] for image in _references(batch)])
        assert float(terms[name]) == pytest.approx(expected, rel=1e-12), name


def test_the_total_is_the_weighted_sum(batch) -> None:
    total, terms = SaliencyLoss({"cc": -2, "kl": 10.0, "mse": 0.25})(*batch)
    assert list(terms) == ["cc", "kl", "mse"]
    expected = -2 * terms["cc"] + 10 * terms["kl"] + 0.25 * terms["mse"]
    torch.testing.assert_close(total, expected)


def test_the_papers_weights_reward_agreement_and_punish_divergence() -> None:
    assert dict(PAPER_WEIGHTS) == {"cc": -2, "nss": -1, "sim": -1, "kl": 10, "mse": 4}


def test_the_loss_is_lowest_for_the_truth(batch) -> None:
    _, density, _ = batch
    peak = (density == density.amax((2, 3), keepdim=True)).double()
    loss = SaliencyLoss(PAPER_WEIGHTS)
    truth = loss(density, density, peak)[0]
    for other in (1 - density, density.flip(3), density**4, torch.full_like(density, 0.5)):
        assert loss(other, density, peak)[0] > truth


def test_an_image_does_not_change_its_batch_mates_terms(batch) -> None:
    loss = SaliencyLoss(PAPER_WEIGHTS)
    alone = [loss(*(maps[i : i + 1] for maps in batch))[0] for i in range(4)]
    torch.testing.assert_close(loss(*batch)[0], torch.stack(alone).mean())


def test_images_without_fixations_are_left_out_of_the_nss_term(batch) -> None:
    saliency, density, fixations = batch
    fixations = fixations.clone()
    fixations[1] = 0
    _, terms = SaliencyLoss({"nss": -1})(saliency, density, fixations)
    scores = [r["nss"] for i, r in enumerate(_references((saliency, density, fixations))) if i != 1]
    assert float(terms["nss"]) == pytest.approx(np.mean(scores), rel=1e-12)


def test_a_batch_without_fixations_has_no_nss_term(batch) -> None:
    saliency, density, fixations = batch
    saliency = saliency.clone().requires_grad_()
    total, terms = SaliencyLoss(PAPER_WEIGHTS)(saliency, density, torch.zeros_like(fixations))
    total.backward()
    assert float(terms["nss"].detach()) == 0
    assert saliency.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 1.0])
def test_gradients_at_a_constant_prediction_are_finite_and_lead_away_from_it(value, dtype, batch) -> None:
    _, density, fixations = (maps.to(dtype) for maps in batch)
    saliency = torch.full_like(density, value).requires_grad_()
    total, terms = SaliencyLoss(PAPER_WEIGHTS)(saliency, density, fixations)
    total.backward()
    assert all(term.isfinite() for term in terms.values())
    assert saliency.grad.isfinite().all()
    assert (saliency.grad != 0).any()


@pytest.mark.parametrize("name", ["cc", "nss", "sim"])
def test_every_normalised_term_has_a_gradient_at_a_constant_prediction(name, batch) -> None:
    _, density, fixations = batch
    saliency = torch.full_like(density, 0.3).requires_grad_()
    SaliencyLoss({name: -1})(saliency, density, fixations)[0].backward()
    assert saliency.grad.isfinite().all()
    assert (saliency.grad != 0).any()


@pytest.mark.parametrize("logit", [-200.0, -30.0, 30.0])
def test_gradients_reach_saturated_logits_without_overflow(logit, batch) -> None:
    _, density, fixations = (maps.float() for maps in batch)
    logits = torch.full_like(density, logit)
    logits[..., 2:4, 2:4] = 0.0
    logits.requires_grad_()
    SaliencyLoss(PAPER_WEIGHTS)(torch.sigmoid(logits), density, fixations)[0].backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", [*TERMS, "contrast"])
def test_gradients_are_those_of_the_formula(name, batch) -> None:
    saliency, density, fixations = (maps[:2] for maps in batch)
    loss = SaliencyLoss({name: 1.0})
    assert torch.autograd.gradcheck(lambda s: loss(s, density, fixations)[0], (saliency.requires_grad_(),))


def test_an_all_zero_ground_truth_does_not_hide(batch) -> None:
    # It has no direction to learn; a data set check should have found it, and a silent 0 would keep it hidden.
    saliency, density, fixations = batch
    total, _ = SaliencyLoss(PAPER_WEIGHTS)(saliency, torch.zeros_like(density), fixations)
    assert total.isnan()


def test_nan_passes_through_instead_of_raising(batch) -> None:
    saliency, density, fixations = batch
    saliency = saliency.clone()
    saliency[0, 0, 0, 0] = math.nan
    assert SaliencyLoss(PAPER_WEIGHTS)(saliency, density, fixations)[0].isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_total_has_the_predictions_dtype_and_the_terms_float64_precision(dtype, batch) -> None:
    saliency, density, fixations = batch
    saliency = saliency.to(dtype)
    total, terms = SaliencyLoss(PAPER_WEIGHTS)(saliency, density.float(), fixations.float())
    assert total.dtype == dtype
    _, exact = SaliencyLoss(PAPER_WEIGHTS)(saliency.double(), density.float().double(), fixations)
    for name in TERMS:
        assert terms[name].dtype == torch.float64
        torch.testing.assert_close(terms[name], exact[name], rtol=1e-12, atol=0)


def test_a_shape_mismatch_says_what_to_resize(batch) -> None:
    saliency, density, fixations = batch
    with pytest.raises(ValueError, match="resize saliency to 9 x 7"):
        SaliencyLoss(PAPER_WEIGHTS)(saliency[..., :5], density, fixations)
    with pytest.raises(ValueError, match="saliency is 9 x 7 pixels and fixations 9 x 5"):
        SaliencyLoss(PAPER_WEIGHTS)(saliency, density, fixations[..., :5])


def test_the_contrast_is_the_cross_entropy_of_a_softmax_over_divergences(batch) -> None:
    saliency, density, _ = (maps[:, 0].numpy() for maps in batch)
    found = []
    for own, truth in enumerate(density):
        likeness = np.exp([-reference.kl(other, truth) for other in saliency])
        found.append(-np.log(likeness[own] / likeness.sum()))
    _, terms = SaliencyLoss({"contrast": 1})(*batch)
    assert float(terms["contrast"]) == pytest.approx(np.mean(found), rel=1e-12)


def test_predictions_that_are_all_alike_have_the_contrast_of_chance_and_the_truths_less(batch) -> None:
    _, density, fixations = batch
    loss = SaliencyLoss({"contrast": 1})
    assert float(loss(density[:1].expand(4, -1, -1, -1), density, fixations)[0]) == pytest.approx(math.log(4))
    assert loss(density, density, fixations)[0] < math.log(4) < loss(density.flip(0), density, fixations)[0]


def test_unknown_terms_and_bad_weights_are_named_all_at_once() -> None:
    with pytest.raises(
        ValueError, match=r"cc, nss, sim, kl, mse.* got .*'nsss' \(did you mean 'nss'\?\); the weight of kl is nan"
    ):
        SaliencyLoss({"nsss": -1, "kl": math.nan, "cc": -2})
    with pytest.raises(ValueError, match="the weight of cc is None"):
        SaliencyLoss({"cc": None})


@pytest.mark.parametrize("weights", [{}, {"cc": 0, "kl": 0.0}])
def test_a_loss_of_nothing_is_refused(weights) -> None:
    with pytest.raises(ValueError, match="all weights are 0"):
        SaliencyLoss(weights)


def test_terms_with_weight_zero_are_not_computed(batch) -> None:
    assert list(SaliencyLoss({"cc": -1, "kl": 0})(*batch)[1]) == ["cc"]


def test_prints_its_weights() -> None:
    assert repr(SaliencyLoss({"cc": -2, "mse": 4})) == "SaliencyLoss(cc=-2, mse=4)"


def _resized(path: Path):
    return TF.to_tensor(TF.resize(Image.open(path).convert("L"), [288, 384]))


@pytest.fixture(scope="module")
def golden_batch(golden: Path, sjtu_root: Path):
    pairs = json.loads((golden / "metrics.json").read_text())["pairs"]
    columns = (("map_1800", "prediction"), ("map_1800", "gt"), ("fixation_1800", "gt"))
    return pairs, tuple(torch.stack([_resized(sjtu_root / f / pair[key]) for pair in pairs]) for f, key in columns)


@pytest.mark.golden
@pytest.mark.real_data
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_agrees_with_the_authors_loss(dtype, rtol, golden_batch) -> None:
    pairs, maps = golden_batch
    loss = SaliencyLoss(PAPER_WEIGHTS)
    golden_name = {"cc": "cc", "nss": "nss", "sim": "sim", "kl": "kldiv", "mse": "mse"}
    values = [pair[f"losses_{str(dtype).removeprefix('torch.')}"] for pair in pairs]
    for i, expected in enumerate(values):
        total, terms = loss(*(m[i : i + 1].to(dtype) for m in maps))
        assert float(total) == pytest.approx(expected["combined_2_1_10_1_4"], rel=rtol)
        for name, theirs in golden_name.items():
            assert float(terms[name]) == pytest.approx(expected[theirs], rel=rtol), name
    total, _ = loss(*(m.to(dtype) for m in maps))
    assert float(total) == pytest.approx(np.mean([v["combined_2_1_10_1_4"] for v in values]), rel=rtol)
