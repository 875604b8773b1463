import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from saltext.metrics import METRICS, Fixations, Maps, cc, kl, nss


def test_wrapped_maps_score_like_tensors(batch) -> None:
    wrapped = {
        "density": Maps(batch.density, "density"),
        "fixations": Fixations.of(batch.fixations),
        "others": Fixations.of(batch.others, "others"),
        "baseline": Maps(batch.baseline, "baseline"),
    }
    pred = Maps(batch.pred, "pred")
    for metric in METRICS.values():
        plain = metric.function(batch.pred, *batch.truths(metric.needs))
        torch.testing.assert_close(
            metric.function(pred, *(wrapped[n] for n in metric.needs)), plain, rtol=1e-14, atol=0
        )


def test_a_constant_map_stays_constant_when_its_sum_is_rounded() -> None:
    # 0.1 summed 1080 times and divided by 1080 is not 0.1
    maps = Maps(torch.full((1, 1, 27, 40), 0.1, dtype=torch.float64), "pred")
    assert float(maps.total / maps.pixels) != 0.1
    assert bool(maps.constant.all())


def test_a_faint_map_is_not_constant() -> None:
    pred = torch.full((1, 1, 8, 8), 1.0)
    pred[0, 0, 3, 3] += 1e-7  # one step of float32
    assert float(cc(pred, pred)) == pytest.approx(1.0, abs=1e-9)


def test_unchecked_maps_let_nan_through() -> None:
    pred = torch.rand(2, 1, 4, 4)
    pred[0, 0, 0, 0] = torch.nan
    assert cc(Maps(pred, "pred", validate=False), torch.rand(2, 1, 4, 4)).isnan().tolist() == [True, False]


def test_the_size_is_checked_when_something_is_wrapped_too(batch) -> None:
    with pytest.raises(ValueError, match="resize pred to 8 x 9"):
        nss(batch.pred[..., :5], Fixations.of(batch.fixations))


@pytest.mark.parametrize("maps", [torch.zeros(4, 5), torch.zeros(2, 3, 4, 5), torch.zeros(2, 1, 0, 5)])
def test_a_map_of_another_shape_says_what_was_expected(maps) -> None:
    with pytest.raises(
        ValueError, match=r"expected pred of shape \(batch, 1, height, width\) with at least one pixel, got"
    ):
        Maps(maps, "pred")


def test_complex_maps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected real values in pred, got torch\.complex64"):
        Maps(torch.zeros(1, 1, 2, 2, dtype=torch.complex64), "pred")


def test_fixations_are_read_as_row_then_column() -> None:
    fixations = Fixations.from_points([torch.tensor([[1, 2]]), torch.empty(0, 2, dtype=torch.long)], (3, 4))
    pred = torch.arange(24.0).view(2, 1, 3, 4)
    first, second = nss(pred, fixations)
    assert float(first) == pytest.approx((6 - 5.5) / np.arange(12).std(), rel=1e-14)
    assert second.isnan()


def test_a_fixation_outside_the_map_is_refused_with_its_place() -> None:
    inside, outside = torch.tensor([[0, 0], [2, 3]]), torch.tensor([[1, 1], [3, 0], [0, -1]])
    with pytest.raises(ValueError, match=r"2 of 5 fixations lie outside the 3 x 4 pixels \(first: y=3, x=0 in map 1\)"):
        Fixations.from_points([inside, outside], (3, 4))


@pytest.mark.parametrize("points", [torch.zeros(3, 2), torch.zeros(3, 3, dtype=torch.long), torch.zeros(2).long()])
def test_points_that_are_no_pixel_coordinates_are_refused(points) -> None:
    with pytest.raises(ValueError, match=r"whole numbers \(y, x\)"):
        Fixations.from_points([points], (3, 4))


def test_fixations_of_part_of_a_batch_are_those_of_its_images(batch) -> None:
    part = Fixations.of(batch.fixations).images(1, 4)
    assert part.shape == (3, 1, 8, 9)
    torch.testing.assert_close(nss(batch.pred[1:4], part), nss(batch.pred, batch.fixations)[1:4])
    assert part.to("cpu").distinct.number.tolist() == (batch.fixations[1:4] > 0).sum((1, 2, 3)).tolist()


def test_counts_of_fixations_are_those_they_were_made_of(batch) -> None:
    fixations = Fixations.of(batch.fixations)
    assert torch.equal(fixations.counts, batch.fixations.float())
    assert torch.equal(Fixations.from_counts(fixations.counts).counts, fixations.counts)


def test_no_images_have_no_fixations() -> None:
    assert Fixations.from_points([], (3, 4)).each.number.shape == (0,)


def test_a_prediction_and_a_divergence_share_their_passes(batch) -> None:
    pred = Maps(batch.pred, "pred")
    kl(pred, batch.density)
    shared = pred.total, pred.inverse_total
    kl(pred, batch.baseline)
    assert pred.total is shared[0]
    assert pred.inverse_total is shared[1]


def test_threads_sort_maps_at_the_same_time(monkeypatch) -> None:
    both = threading.Barrier(2, timeout=30)
    monkeypatch.setattr("saltext.metrics.maps.ascending", lambda values: (both.wait(), values)[1])
    batches = [Maps(torch.rand(1, 1, 4, 5), "pred") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(lambda maps: maps.ascending, batches))) == 2
