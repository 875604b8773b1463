import doctest
import inspect
import math
import pkgutil
from collections.abc import Callable
from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch

from saltext import losses, metrics
from saltext.metrics import (
    METRICS,
    Fixations,
    auc_borji,
    auc_judd,
    auc_shuffled,
    ig,
    kl,
    nss,
    published,
    sim,
    sim_minmax,
)
from tests.reference import metrics as reference

DISTRIBUTIONS = [name for name, metric in METRICS.items() if metric.invariant_to == "scale"]
EXACT = [name for name, metric in METRICS.items() if not metric.sampled]


def plain_version(name: str) -> Callable[..., float]:
    """The metric once more, in loops over the pixels of one image."""
    function = getattr(reference, name, None)
    if function is None:
        names = ", ".join(("pred", *METRICS[name].needs))
        pytest.fail(
            f"expected def {name}({names}) in tests/reference/metrics.py, got none: the score of one image, two-"
            "dimensional arrays, straight from the definition and without code of the package. A metric that draws "
            f"samples says sampled=True in METRICS[{name!r}] instead, and is compared with its exact form by a test "
            "of its own"
        )
    return function


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", EXACT)
def test_agrees_with_the_plain_reference(name, case, dtype) -> None:
    plain, metric = plain_version(name), METRICS[name]
    pred = case.pred.to(dtype)
    truths = [t.to(dtype) for t in case.truths(metric.needs)]
    scores = metric.function(pred, *truths)
    assert scores.dtype == torch.float64
    assert scores.shape == (len(pred),)
    expected = [plain(pred[i, 0].numpy(), *(t[i, 0].numpy() for t in truths)) for i in range(len(pred))]
    # Two distributions are compared in their own precision, and summed in float64.
    narrow = dtype == torch.float32 and metric.invariant_to == "scale" and metric.needs == ("density",)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-6 if narrow else 1e-12, atol=1e-13)


MODULES = [
    import_module(info.name)
    for package in (metrics, losses)
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.removeprefix("saltext."))
def test_every_public_class_and_function_has_an_example_and_the_examples_are_true(module) -> None:
    public = {name: thing for name, thing in vars(module).items() if not name.startswith("_")}
    own = [name for name, thing in public.items() if getattr(thing, "__module__", "") == module.__name__]
    defined = [name for name in own if inspect.isclass(public[name]) or inspect.isfunction(public[name])]
    assert defined
    assert not [name for name in defined if ">>> " not in (inspect.getdoc(public[name]) or "")]
    result = doctest.testmod(module, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert result.attempted >= len(defined)


# --- worked examples, with the arithmetic visible ---

RAMP = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]], dtype=torch.float64)
CORNER = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]], dtype=torch.float64)


def test_nss_uses_the_population_deviation() -> None:
    # mean 1.5, squares 2.25 + 0.25 + 0.25 + 2.25 = 5 over 4 pixels; the sample deviation would give 1.1619
    assert float(nss(RAMP, CORNER)) == pytest.approx((3 - 1.5) / math.sqrt(5 / 4), rel=1e-15)


def test_kl_charges_missed_ground_truth_and_not_missed_prediction() -> None:
    half, all_ = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]]).double(), torch.ones(1, 1, 1, 4).double()
    # ground truth on half the pixels, prediction everywhere: sum of 1/2 ln(1/2 / 1/4), twice
    assert float(kl(all_, half)) == pytest.approx(math.log(2), rel=1e-12)
    # ground truth everywhere, prediction on half: each missed quarter costs about 1/4 ln(1/4 / eps)
    expected = 2 * 0.25 * math.log(0.25 / 0.5) + 2 * 0.25 * math.log(0.25 / 2.2204e-16)
    assert float(kl(half, all_)) == pytest.approx(expected, rel=1e-9)


def test_sim_is_the_shared_part_of_two_distributions() -> None:
    # 0, 1/6, 2/6, 3/6 against 0, 0, 0, 1
    assert float(sim(RAMP, CORNER)) == pytest.approx(0.5, rel=1e-15)


def test_sim_of_lifted_maps_differs_from_its_minmax_variant() -> None:
    assert float(sim(RAMP + 1, CORNER)) == pytest.approx(4 / 10, rel=1e-15)
    assert float(sim_minmax(RAMP + 1, CORNER)) == pytest.approx(0.5, rel=1e-15)


def test_ties_count_one_half() -> None:
    pred = torch.tensor([[[[1.0, 1.0, 0.0, 2.0]]]])
    fixations = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    # against itself 1/2, its twin 1/2, below 1, above 0
    assert float(auc_judd(pred, fixations)) == 2 / 4
    # the unfixated ones: twin 1/2, below 1, above 0
    assert float(auc_judd(pred, fixations, "unfixated")) == 1.5 / 3


def test_a_pixel_fixated_twice_counts_twice() -> None:
    once, twice = RAMP.eq(3).double() + RAMP.eq(0), 2 * RAMP.eq(3).double() + RAMP.eq(0)
    assert float(nss(RAMP, once)) == pytest.approx(0, abs=1e-15)
    assert float(nss(RAMP, twice)) == pytest.approx((2 * 1.5 - 1.5) / 3 / math.sqrt(5 / 4), rel=1e-14)
    # 3 wins against 0, 1, 2 and ties itself: 3.5 of 4; 0 only ties itself: 0.5 of 4
    assert float(auc_judd(RAMP, twice)) == pytest.approx((2 * 3.5 + 0.5) / 12, rel=1e-15)
    # without the fixated pixels 0 and 3: 3 wins 2 of 2, 0 wins none
    assert float(auc_judd(RAMP, twice, "unfixated")) == pytest.approx((2 * 2 + 0) / 6, rel=1e-15)


def test_shuffled_auc_counts_every_repeat_of_a_negative() -> None:
    others = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])  # values 0, 3, 3, 3
    fixated = RAMP.eq(2).double()
    assert float(auc_shuffled(RAMP, fixated, others)) == 1 / 4
    assert float(auc_shuffled(RAMP, fixated, others.gt(0))) == 1 / 2


def test_information_gain_is_in_bits_and_counts_from_the_baseline() -> None:
    uniform = torch.ones(1, 1, 2, 2)
    assert float(ig(RAMP, CORNER, uniform)) == pytest.approx(math.log2(3 / 6) - math.log2(1 / 4), rel=1e-12)
    assert float(ig(uniform, CORNER, RAMP)) == pytest.approx(-(math.log2(3 / 6) - math.log2(1 / 4)), rel=1e-12)
    assert float(ig(RAMP, CORNER, 5 * RAMP)) == pytest.approx(0, abs=1e-15)


def test_a_fixation_where_nothing_was_predicted_has_no_finite_gain_without_epsilon() -> None:
    assert float(ig(CORNER, RAMP.eq(0), torch.ones(1, 1, 2, 2), eps=0.0)) == -math.inf


# --- invariances ---


@pytest.mark.parametrize("name", METRICS)
def test_ignores_of_the_prediction_what_it_declares_and_no_more(name, batch) -> None:
    metric = METRICS[name]
    truths = batch.truths(metric.needs)
    plain, scaled, moved = (
        metric.function(pred, *truths) for pred in (batch.pred, 1000 * batch.pred, 1e6 + 4096 * batch.pred)
    )
    ignored = "nothing"
    if torch.allclose(scaled, plain, rtol=1e-9, atol=1e-9):
        ignored = "scale and offset" if torch.allclose(moved, plain, rtol=1e-9, atol=1e-9) else "scale"
    assert metric.invariant_to == ignored


@pytest.mark.parametrize("name", METRICS)
def test_the_ground_truth_scores_better_than_its_inversion(name, batch) -> None:
    metric = METRICS[name]
    given = {**vars(batch), "density": batch.density * (batch.density > 0.1)}
    truths = [given[need] for need in metric.needs]
    best = truths[0]
    inverted = best.amax((1, 2, 3), keepdim=True) - best
    better, worse = (best, inverted) if metric.higher_is_better else (inverted, best)
    assert (metric.function(better, *truths) > metric.function(worse, *truths)).all()


@pytest.mark.parametrize("name", METRICS)
def test_an_image_does_not_see_its_batch_mates(name, batch) -> None:
    metric = METRICS[name]
    truths = batch.truths(metric.needs)
    together = metric.function(batch.pred, *truths)
    alone = torch.cat(
        [metric.function(batch.pred[i : i + 1], *(t[i : i + 1] for t in truths)) for i in range(len(batch.pred))]
    )
    assert torch.equal(together, alone)


@pytest.mark.parametrize("name", EXACT)
def test_the_order_of_the_pixels_matters_to_spatial_metrics_alone(name, batch) -> None:
    metric = METRICS[name]
    order = torch.from_numpy(np.random.default_rng(0).permutation(8 * 9))

    def shuffled(maps):
        return maps.flatten(2)[..., order].view_as(maps)

    truths = batch.truths(metric.needs)
    moved, plain = metric.function(shuffled(batch.pred), *map(shuffled, truths)), metric.function(batch.pred, *truths)
    assert metric.spatial is not torch.allclose(moved, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int64, torch.bool])
@pytest.mark.parametrize("name", METRICS)
def test_takes_any_real_dtype(name, dtype, batch) -> None:
    metric = METRICS[name]
    pred = (batch.pred * 4).round().to(dtype)
    truths = [t.round().to(dtype) for t in batch.truths(metric.needs)]
    expected = metric.function(pred.double(), *(t.double() for t in truths))
    torch.testing.assert_close(metric.function(pred, *truths), expected, equal_nan=True)


@pytest.mark.parametrize("name", METRICS)
def test_takes_maps_that_are_not_contiguous(name, batch) -> None:
    metric = METRICS[name]
    truths = batch.truths(metric.needs)
    turned = metric.function(batch.pred.mT, *(t.mT for t in truths))
    copied = metric.function(batch.pred.mT.contiguous(), *(t.mT.contiguous() for t in truths))
    assert torch.equal(turned, copied)


@pytest.mark.parametrize("name", METRICS)
def test_a_batch_of_none_scores_none(name) -> None:
    metric = METRICS[name]
    empty = torch.zeros(0, 1, 4, 5)
    assert metric.function(empty, *(empty for _ in metric.needs)).shape == (0,)


# --- degenerate predictions ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", METRICS)
def test_a_constant_prediction_has_the_chance_score_that_is_declared(name, dtype, batch) -> None:
    metric = METRICS[name]
    truths = batch.truths(metric.needs)
    constants = [0.1, 1e9, 0.0] + [-3.3] * (metric.invariant_to != "scale")
    scores = torch.cat([metric.function(torch.full_like(batch.pred, c, dtype=dtype), *truths) for c in constants])
    same = bool((scores == scores[0]).all())
    assert metric.chance == (float(scores[0]) if same else None)


@pytest.mark.parametrize("name", METRICS)
def test_no_prediction_scores_outside_the_declared_bounds(name, batch) -> None:
    metric = METRICS[name]
    low, high = metric.bounds
    truths = batch.truths(metric.needs)
    random = torch.rand(20, *batch.pred.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    predictions = [*random, *random**8, batch.pred, batch.density, batch.density.max() - batch.density]
    scores = torch.cat([metric.function(pred, *truths) for pred in predictions])
    defined = scores[~scores.isnan()]
    assert (low - 1e-9 <= defined).all()
    assert (defined <= high + 1e-9).all()


def test_an_all_zero_prediction_places_its_mass_nowhere(batch) -> None:
    zero = torch.zeros_like(batch.pred)
    assert torch.equal(sim(zero, batch.density), torch.zeros(5, dtype=torch.float64))
    assert (kl(zero, batch.density) > 25).all()
    assert (ig(zero, batch.fixations, batch.baseline) < -40).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", METRICS)
def test_a_prediction_that_is_not_finite_is_refused(name, bad, batch) -> None:
    metric = METRICS[name]
    pred = batch.pred.clone()
    pred[3, 0, 2, 2] = bad
    with pytest.raises(ValueError, match=r"pred has NaN or infinite values \(first in map 3"):
        metric.function(pred, *batch.truths(metric.needs))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_negative_prediction_is_refused_where_a_distribution_is_needed(name, batch) -> None:
    metric = METRICS[name]
    with pytest.raises(ValueError, match=r"negative values.*sigmoid or a softmax, or subtract the minimum"):
        metric.function(batch.pred - 0.5, *batch.truths(metric.needs))


def test_huge_finite_predictions_are_not_mistaken_for_infinite_ones() -> None:
    pred = torch.tensor([[[[-3e38, 3e38], [0.0, 0.0]]]])
    assert float(auc_judd(pred, pred > 0)) == 3.5 / 4


# --- degenerate ground truth ---


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if "fixations" in m.needs])
def test_an_image_without_fixations_is_undefined_and_leaves_the_others_alone(name, batch) -> None:
    metric = METRICS[name]
    truths = dict(zip(metric.needs, batch.truths(metric.needs), strict=True))
    full = metric.function(batch.pred, *truths.values())
    truths["fixations"] = truths["fixations"].clone()
    truths["fixations"][1] = 0
    scores = metric.function(batch.pred, *truths.values())
    assert scores.isnan().tolist() == [False, True, False, False, False]
    assert torch.equal(scores[[0, 2, 3, 4]], full[[0, 2, 3, 4]])


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if "density" in m.needs])
def test_a_ground_truth_without_content_is_undefined(name, batch) -> None:
    density = batch.density.clone()
    density[2] = 0
    metric, given = METRICS[name], {**vars(batch), "density": density}
    scores = metric.function(batch.pred, *(given[need] for need in metric.needs))
    assert scores.isnan().tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if {"density", "baseline"} & set(m.needs)])
def test_a_ground_truth_that_is_not_finite_is_refused(name, bad, batch) -> None:
    metric = METRICS[name]
    *others, truth = batch.truths(metric.needs)
    truth = truth.clone()
    truth[2, 0, 1, 1] = bad
    with pytest.raises(ValueError, match=rf"{metric.needs[-1]} has NaN or infinite values \(first in map 2"):
        metric.function(batch.pred, *others, truth)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_negative_ground_truth_is_refused_where_a_distribution_is_needed(name, batch) -> None:
    metric = METRICS[name]
    *others, truth = batch.truths(metric.needs)
    with pytest.raises(ValueError, match=rf"{metric.needs[-1]} has negative values"):
        metric.function(batch.pred, *others, truth - 0.5)


def test_nothing_to_compare_with_is_undefined(batch) -> None:
    everywhere = torch.ones_like(batch.pred)
    nowhere = torch.zeros_like(batch.pred)
    assert auc_judd(batch.pred, everywhere, "unfixated").isnan().all()
    assert published.auc_judd_mit(batch.pred, everywhere).isnan().all()
    assert auc_shuffled(batch.pred, batch.fixations, nowhere).isnan().all()
    assert ig(batch.pred, batch.fixations, nowhere).isnan().all()


@pytest.mark.parametrize("bad", [0.5, -1.0, math.nan])
# nss_unbiased reads a mask, as TranBlend's script does.
@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if "fixations" in m.needs and n != "nss_unbiased"])
def test_a_resized_fixation_image_is_no_map_of_counts(name, bad, batch) -> None:
    metric = METRICS[name]
    fixations = batch.fixations.clone()
    fixations[1, 0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"expected counts \(0, 1, 2, ...\).*from coordinates"):
        metric.function(batch.pred, fixations, *batch.truths(metric.needs)[1:])


@pytest.mark.parametrize("name", METRICS)
def test_a_shape_mismatch_says_what_to_resize(name, batch) -> None:
    metric = METRICS[name]
    with pytest.raises(ValueError, match=r"pred is 4 x 9 pixels and \w+ 8 x 9: resize pred to 8 x 9"):
        metric.function(batch.pred[:, :, :4], *batch.truths(metric.needs))
    with pytest.raises(ValueError, match=r"expected a map for each image, got 2 in pred and 5 in \w+"):
        metric.function(batch.pred[:2], *batch.truths(metric.needs))
    with pytest.raises(ValueError, match=r"expected pred of shape \(batch, 1, height, width\)"):
        metric.function(batch.pred[:, 0], *batch.truths(metric.needs))


def test_unknown_negatives_are_refused(batch) -> None:
    for function in (auc_judd, published.auc_judd_mit):
        with pytest.raises(ValueError, match="expected 'all' or 'unfixated'"):
            function(batch.pred, batch.fixations, "some")


# --- sampling ---


def test_borji_is_a_sample_of_judd(batch) -> None:
    exact = auc_judd(batch.pred, batch.fixations)
    sampled = auc_borji(batch.pred, batch.fixations, draws=4000)
    # One comparison deviates by at most 1/2; 6 * 4000 negatives: 5 standard errors are 0.016.
    torch.testing.assert_close(sampled, exact, rtol=0, atol=0.016)
    assert not torch.equal(sampled, exact)


def test_borji_repeats_with_its_seed(batch) -> None:
    first, again, other = (auc_borji(batch.pred, batch.fixations, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_borji_needs_a_draw(batch) -> None:
    with pytest.raises(ValueError, match="expected draws of at least 1, got 0"):
        auc_borji(batch.pred, batch.fixations, draws=0)


# --- gradients ---


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.differentiable])
def test_gradients_are_those_of_the_formula(name, batch) -> None:
    metric = METRICS[name]
    truths = [t[:2] for t in batch.truths(metric.needs)]
    pred = (batch.pred[:2] + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: metric.function(p, *truths), (pred,))


@pytest.mark.parametrize("name", METRICS)
def test_a_prediction_with_gradients_has_the_same_scores_and_a_gradient_where_one_is_declared(name, batch) -> None:
    metric = METRICS[name]
    truths = batch.truths(metric.needs)
    scores = metric.function(batch.pred.clone().requires_grad_(), *truths)
    assert scores.requires_grad is metric.differentiable
    torch.testing.assert_close(scores.detach(), metric.function(batch.pred, *truths))


def test_an_image_without_fixations_does_not_spoil_the_gradients_of_the_others(batch) -> None:
    pred = batch.pred.clone().requires_grad_()
    fixations = batch.fixations.clone()
    fixations[0] = 0
    nss(pred, fixations)[1:].sum().backward()
    assert pred.grad is not None
    assert pred.grad.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["constant", "no fixations", "plateaus"])
def test_a_gpu_treats_corner_cases_alike(kind, batch) -> None:
    pred, fixations = batch.pred.clone(), batch.fixations.clone()
    if kind == "constant":
        pred[1] = 0.1
    elif kind == "no fixations":
        fixations[1] = 0
    else:
        pred = (3 * pred).floor()
    given = {"density": batch.density, "fixations": fixations, "others": batch.others, "baseline": batch.baseline}
    for name, metric in METRICS.items():
        truths = [given[need] for need in metric.needs]
        on_gpu = metric.function(pred.cuda(), *(t.cuda() for t in truths))
        expected = metric.function(pred, *truths)
        torch.testing.assert_close(on_gpu.cpu(), expected, rtol=1e-12, atol=1e-12, equal_nan=True, msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_scores(batch) -> None:
    for metric in METRICS.values():
        truths = batch.truths(metric.needs)
        scores = metric.function(batch.pred.cuda(), *(t.cuda() for t in truths))
        assert scores.device.type == "cuda"
        torch.testing.assert_close(scores.cpu(), metric.function(batch.pred, *truths), rtol=1e-12, atol=1e-12)


def test_points_and_counts_give_the_same_fixations(batch) -> None:
    points = [image.nonzero().repeat_interleave(image[image > 0].long(), 0).flip(0) for image in batch.fixations[:, 0]]
    listed = Fixations.from_points(points, (8, 9))
    for function in (nss, auc_judd, partial(auc_judd, negatives="unfixated")):
        torch.testing.assert_close(
            function(batch.pred, listed), function(batch.pred, batch.fixations), rtol=1e-14, atol=1e-14
        )
