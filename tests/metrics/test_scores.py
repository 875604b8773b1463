import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from saltext import metrics
from saltext.metrics import (
    METRICS,
    Fixations,
    Metric,
    Targets,
    check_names,
    register_metric,
    score,
    score_against,
    scores,
)


def _score(case, names=tuple(METRICS), **changes):
    truths = {name: getattr(case, name) for name in ("density", "fixations", "others", "baseline")} | changes
    return score(
        case.pred, truths["density"], truths["fixations"], names, others=truths["others"], baseline=truths["baseline"]
    )


def test_several_metrics_at_once_equal_each_one_alone(case) -> None:
    found = _score(case)
    assert list(found) == list(METRICS)
    for name, metric in METRICS.items():
        alone = metric.function(case.pred, *case.truths(metric.needs))
        torch.testing.assert_close(found[name], alone, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("pixels", [1, 100, 144, 10**9])
def test_the_size_of_the_blocks_does_not_matter(pixels, batch, monkeypatch) -> None:
    whole = _score(batch)
    monkeypatch.setattr(scores, "BLOCK_PIXELS", pixels)
    for name, values in _score(batch).items():
        assert torch.equal(values, whole[name]), name


@pytest.fixture
def two_threads(monkeypatch) -> Iterator[set[str]]:
    """Blocks of one image on two threads; the names of the threads that scored one."""
    seen: set[str] = set()
    score_block = scores._score_block

    def watched(*arguments):
        seen.add(threading.current_thread().name)
        return score_block(*arguments)

    monkeypatch.setattr(scores, "_score_block", watched)
    monkeypatch.setattr(scores, "BLOCK_PIXELS", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield seen
    torch.set_num_threads(threads)


def test_threads_do_not_change_a_bit(batch, two_threads) -> None:
    found = _score(batch)
    assert two_threads
    assert threading.current_thread().name not in two_threads
    torch.set_num_threads(1)
    for name, values in _score(batch).items():
        assert torch.equal(values, found[name]), name


def test_scores_of_other_threads_carry_no_gradient(batch, two_threads) -> None:
    found = score(batch.pred.clone().requires_grad_(), batch.density, None, ["cc", "kl"])
    assert two_threads
    assert not any(values.requires_grad for values in found.values())


def test_an_error_of_another_thread_is_that_of_the_first_bad_map(batch, two_threads) -> None:
    pred = batch.pred.clone()
    pred[[1, 3], 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="first in map 1 of the batch"):
        score(pred, batch.density, None, ["cc"])
    assert torch.get_num_threads() == 2


def test_fixations_may_come_as_points(batch) -> None:
    listed = {name: Fixations.of(getattr(batch, name), name) for name in ("fixations", "others")}
    for name, values in _score(batch, **listed).items():
        torch.testing.assert_close(values, _score(batch)[name], rtol=1e-13, atol=1e-14)


def test_scores_against_a_truth_that_was_used_before_are_the_same(batch) -> None:
    truth = Targets(batch.density, batch.fixations, others=batch.others, baseline=batch.baseline)
    others = score_against(batch.pred.flip(0), truth, tuple(METRICS))
    found, expected = score_against(batch.pred, truth, tuple(METRICS)), _score(batch)
    assert not torch.equal(found["cc"], others["cc"])
    for name, values in found.items():
        assert torch.equal(values, expected[name]), name


def test_scores_carry_no_gradient(batch) -> None:
    found = score(batch.pred.clone().requires_grad_(), batch.density, None, ["cc"])
    assert not found["cc"].requires_grad


def test_truth_that_no_metric_needs_may_be_left_out(batch) -> None:
    assert list(score(batch.pred, batch.density, None, ["kl", "cc"])) == ["kl", "cc"]
    assert list(score(batch.pred, None, batch.fixations, ["nss"])) == ["nss"]


def test_missing_truth_is_named_all_at_once(batch) -> None:
    with pytest.raises(ValueError, match=r"baseline for ig; density for cc, kl; others for auc_shuffled"):
        score(batch.pred, None, batch.fixations, ["cc", "kl", "nss", "ig", "auc_shuffled"])


def test_unknown_metrics_are_named_with_the_closest_known_one() -> None:
    with pytest.raises(
        ValueError, match=r"unknown metric 'auc_jud' \(did you mean 'auc_judd'\?\); unknown metric 'x'.*cc, sim"
    ):
        check_names(["cc", "auc_jud", "x"])


def mae(pred, density):
    """Mean absolute difference."""
    return (pred - density).abs().mean((1, 2, 3))


def weighted(pred, fixations, others, baseline=None, power=1):
    assert baseline is None
    return ((pred**power) * (fixations - others / others.sum((1, 2, 3), keepdim=True))).sum((1, 2, 3)).float()


def test_a_metric_from_outside_is_scored_like_the_others(batch, two_threads) -> None:
    register_metric("mae", Metric.of(mae, higher_is_better=False, title="MAE"))
    register_metric("weighted", Metric.of(partial(weighted, power=2), higher_is_better=True))
    assert METRICS["weighted"].needs == ("fixations", "others")
    assert METRICS["weighted"].title == "weighted"
    assert list(METRICS)[-2:] == ["mae", "weighted"]
    found = _score(batch, ("cc", "mae", "weighted"))
    assert two_threads
    torch.testing.assert_close(found["mae"], mae(batch.pred, batch.density), rtol=1e-13, atol=1e-14)
    assert found["weighted"].dtype == torch.float64
    torch.testing.assert_close(found["weighted"].float(), weighted(batch.pred, batch.fixations, batch.others, power=2))
    plain = METRICS["weighted"].function
    torch.testing.assert_close(plain(batch.pred, batch.fixations, batch.others), found["weighted"])
    assert pickle.loads(pickle.dumps(METRICS["mae"])) == METRICS["mae"]
    with pytest.raises(ValueError, match="pred has NaN or infinite values"):
        score(batch.pred * torch.nan, batch.density, None, ["mae"])
    table = metrics.ScoreTable(["mae", "nss"])
    torch.testing.assert_close(table(batch.pred, batch.density, batch.fixations)["mae"], found["mae"].mean())


def test_a_name_that_was_registered_before_gets_the_new_function(batch) -> None:
    register_metric("mae", Metric.of(mae, higher_is_better=False))
    register_metric("mae", Metric.of(lambda pred, density: 2 * mae(pred, density), higher_is_better=False))
    found = score(batch.pred, batch.density, None, ["mae"])["mae"]
    torch.testing.assert_close(found, 2 * mae(batch.pred, batch.density))


@pytest.mark.parametrize("name", ["cc", "task", "model", "a-b", "val/x", "", "1st", "Größe"])
def test_a_name_that_is_taken_or_no_column_s_is_refused(name) -> None:
    with pytest.raises(ValueError, match=r"expected (another|a) name .* for a metric, got"):
        register_metric(name, Metric.of(mae, higher_is_better=False))
    assert name not in METRICS or METRICS[name].function is not mae


@pytest.mark.parametrize(
    "function",
    [
        lambda pred: pred,
        lambda pred, target: pred,
        lambda pred, density, unknown: pred,
        lambda pred, *, density: pred,
        lambda *maps: maps,
        lambda: 0,
    ],
    ids=["no target", "another name", "one more", "by keyword alone", "any number", "nothing"],
)
def test_a_function_that_takes_something_else_is_refused_with_what_it_takes(function) -> None:
    with pytest.raises(ValueError, match=r"expected <lambda> to take pred and any of density, fixations, others, bas"):
        Metric.of(function, higher_is_better=True)


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda pred, density: pred.mean(), r"shape \(\)"),
        (lambda pred, density: pred, r"shape \(5, 1, 8, 9\)"),
        (lambda pred, density: 0.5, "a float"),
    ],
)
def test_what_is_no_score_per_image_is_refused(gives, said, batch) -> None:
    metric = Metric.of(gives, higher_is_better=True)
    with pytest.raises(ValueError, match=rf"expected <lambda> to give one score per image, shape \(5,\), got {said}"):
        metric.function(batch.pred, batch.density)


def test_a_metric_that_is_described_alone_can_be_shown_and_not_computed(batch) -> None:
    scores.describe_metric("hit", "HIT", higher_is_better=False)
    assert (METRICS["hit"].title, METRICS["hit"].higher_is_better) == ("HIT", False)
    with pytest.raises(ValueError, match="expected a function for metric 'hit', got its scores alone"):
        score(batch.pred, batch.density, None, ["hit"])
    with pytest.raises(ValueError, match="one direction of metric 'hit', got lower is better and higher is better"):
        scores.describe_metric("hit", "HIT", higher_is_better=True)
    register_metric("hit", Metric.of(mae, higher_is_better=True, title="hits"))
    scores.describe_metric("hit", "HIT", higher_is_better=True)
    assert METRICS["hit"].title == "hits"


def test_a_metric_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'cc' is given 2 times"):
        check_names(["cc", "kl", "cc"])


def test_errors_name_the_map_of_the_whole_batch(batch, monkeypatch) -> None:
    monkeypatch.setattr(scores, "BLOCK_PIXELS", 2 * 72)
    pred = batch.pred.clone()
    pred[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="first in map 3 of the batch"):
        score(pred, batch.density, None, ["cc"])


def test_the_number_of_threads_is_as_before(batch, monkeypatch) -> None:
    threads: list[int] = [5]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    _score(batch)
    with pytest.raises(ValueError, match="negative"):
        score(-batch.pred, batch.density, None, ["kl"])
    assert threads == [5, 1, 5, 1, 5]


def test_a_wrong_size_is_refused_before_anything_is_scored(batch) -> None:
    with pytest.raises(ValueError, match="resize pred to 8 x 9"):
        score(batch.pred[..., :3], batch.density, None, ["cc"])


def test_no_two_metrics_have_the_same_title() -> None:
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.slow
def test_functions_and_losses_import_nothing_heavy_and_nothing_of_the_suite() -> None:
    code = (
        "import sys, saltext.losses; from saltext.metrics import cc, score, FixationPool;"
        "print([m for m in ('lightning', 'hydra', 'omegaconf', 'torchmetrics', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    assert all(hasattr(metrics, name) for name in metrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nss'"):
        metrics.Nss  # noqa: B018
