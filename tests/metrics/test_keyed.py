import inspect
import multiprocessing
import pickle
import sys
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection

from saltext.metrics import (
    CC,
    IG,
    KL,
    METRICS,
    NSS,
    SIM,
    AUCBorji,
    AUCJudd,
    AUCShuffled,
    NSSUnbiased,
    ScoreTable,
    keyed,
    score,
)

_OWN = [cls for cls in vars(keyed).values() if inspect.isclass(cls) and issubclass(cls, keyed.PerImageMetric)]
CLASSES = {cls.name: cls for cls in _OWN if hasattr(cls, "name")} | {
    "sim_minmax": partial(SIM, minmax=True),
    "auc_judd_unfixated": partial(AUCJudd, "unfixated"),
}
IDS = torch.tensor([40, 7, 3, 12, 11])


def _feed(metric, case, name, rows=slice(None)):
    truths = {need: getattr(case, need)[rows] for need in METRICS[name].needs}
    metric.update(pred=case.pred[rows], ids=IDS[rows], **truths)


@pytest.mark.parametrize("name", CLASSES)
def test_the_mean_over_images_is_that_of_the_function(name, batch) -> None:
    metric = CLASSES[name]()
    _feed(metric, batch, name)
    scores = METRICS[name].function(batch.pred, *batch.truths(METRICS[name].needs))
    torch.testing.assert_close(metric.compute(), scores.mean())
    assert metric.higher_is_better is METRICS[name].higher_is_better
    ids, values = metric.per_sample()
    assert ids.tolist() == [3, 7, 11, 12, 40]
    torch.testing.assert_close(values[:, 0], scores[IDS.argsort()], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("split", [[5], [1, 1, 1, 1, 1], [2, 3], [4, 1]])
def test_the_mean_does_not_depend_on_how_images_fall_into_batches(split, batch) -> None:
    metric, start = NSS(), 0
    for size in split:
        _feed(metric, batch, "nss", slice(start, start + size))
        start += size
    expected = NSS()
    _feed(expected, batch, "nss")
    assert torch.equal(metric.compute(), expected.compute())


def test_the_order_of_the_images_does_not_matter(batch) -> None:
    metric, expected = NSS(), NSS()
    for i in (4, 0, 3, 1, 2):
        _feed(metric, batch, "nss", slice(i, i + 1))
    _feed(expected, batch, "nss")
    assert torch.equal(metric.compute(), expected.compute())


def test_a_repeated_sample_counts_once(batch) -> None:
    metric, expected = CC(), CC()
    _feed(metric, batch, "cc")
    _feed(metric, batch, "cc", slice(1, 3))
    _feed(expected, batch, "cc")
    assert torch.equal(metric.compute(), expected.compute())


def test_a_sample_with_two_different_scores_is_refused(batch) -> None:
    metric = CC()
    _feed(metric, batch, "cc")
    metric.update(batch.pred[:1] ** 2, batch.density[:1], ids=IDS[:1])
    with pytest.raises(ValueError, match=r"1 samples were scored more than once .*\[40\].*reset\(\)"):
        metric.compute()


def test_a_sample_that_was_once_undefined_contradicts_its_score(batch) -> None:
    metric = NSS()
    _feed(metric, batch, "nss")
    metric.update(batch.pred[:1], torch.zeros_like(batch.fixations[:1]), ids=IDS[:1])
    with pytest.raises(ValueError, match="different results"):
        metric.compute()


def test_missing_samples_are_noticed(batch) -> None:
    metric = NSS()
    _feed(metric, batch, "nss", slice(0, 3))
    assert metric.missing(torch.tensor([12, 3, 11, 7, 40])).tolist() == [11, 12]


def test_an_image_without_fixations_is_counted_not_averaged(batch) -> None:
    metric = NSS()
    fixations = batch.fixations.clone()
    fixations[2] = 0
    metric.update(batch.pred, fixations)
    assert metric.undefined().tolist() == [1]
    keep = [0, 1, 3, 4]
    torch.testing.assert_close(metric.compute(), METRICS["nss"].function(batch.pred, fixations)[keep].mean())


@pytest.mark.parametrize("metric", [CC(), ScoreTable(["cc", "nss"])], ids=["one metric", "table"])
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")  # torchmetrics, before any update
def test_nothing_scored_has_no_mean_and_no_crash(metric) -> None:
    result = metric.compute()
    values = result.values() if isinstance(result, dict) else [result]
    assert all(v.isnan() for v in values)
    assert metric.per_sample()[1].shape == (0, len(metric.names))


def test_reset_forgets(batch) -> None:
    metric = CC()
    _feed(metric, batch, "cc")
    metric.compute()
    metric.reset()
    assert metric.per_sample()[0].numel() == 0
    _feed(metric, batch, "cc", slice(0, 1))
    assert metric.per_sample()[0].tolist() == [40]


def test_forward_gives_the_batch_and_keeps_the_total(batch) -> None:
    metric, expected = CC(), CC()
    first = metric(batch.pred[:2], batch.density[:2], ids=IDS[:2])
    metric(batch.pred[2:], batch.density[2:], ids=IDS[2:])
    torch.testing.assert_close(first, METRICS["cc"].function(batch.pred[:2], batch.density[:2]).mean())
    _feed(expected, batch, "cc")
    assert torch.equal(metric.compute(), expected.compute())


@pytest.mark.parametrize("name", CLASSES)
def test_survives_pickling_and_cloning(name, batch) -> None:
    metric = CLASSES[name]()
    _feed(metric, batch, name, slice(0, 3))
    copies = [pickle.loads(pickle.dumps(metric)), metric.clone()]
    for copy in [metric, *copies]:
        _feed(copy, batch, name, slice(3, 5))
        assert torch.equal(copy.compute(), metric.compute())
        assert copy.per_sample()[0].tolist() == [3, 7, 11, 12, 40]


def test_scores_are_no_part_of_a_checkpoint(batch) -> None:
    metric = CC()
    _feed(metric, batch, "cc")
    assert metric.state_dict() == {}


def test_scores_stay_float64_when_a_model_goes_to_half_precision(batch) -> None:
    metric = CC().half()
    _feed(metric, batch, "cc")
    assert metric.compute().dtype == torch.float64


@pytest.mark.parametrize(
    "ids",
    [torch.tensor([1, 2]), torch.rand(5), torch.ones(5, 1, dtype=torch.long), torch.arange(5) - 1],
    ids=["few", "float", "shape", "negative"],
)
def test_ids_that_do_not_number_the_samples_are_refused(ids, batch) -> None:
    with pytest.raises(ValueError, match="expected one whole number for each of the 5 samples"):
        CC().update(batch.pred, batch.density, ids=ids)


def test_a_table_scores_all_its_metrics(batch) -> None:
    names = ["kl", "nss", "ig", "auc_shuffled"]
    table = ScoreTable(names)
    for rows in (slice(3, 5), slice(0, 3)):
        targets = {key: getattr(batch, key)[rows] for key in ("density", "fixations", "others", "baseline")}
        table.update(batch.pred[rows], **targets, ids=IDS[rows])
    ids, values = table.per_sample()
    assert ids.tolist() == sorted(IDS.tolist())
    for column, name in enumerate(names):
        scores = METRICS[name].function(batch.pred, *batch.truths(METRICS[name].needs))
        torch.testing.assert_close(values[:, column], scores[IDS.argsort()], rtol=1e-13, atol=1e-14)
        torch.testing.assert_close(table.compute()[name], scores.mean())


def test_a_table_keeps_scores_that_were_computed_elsewhere_like_its_own(batch) -> None:
    own, given = ScoreTable(["cc", "nss"]), ScoreTable(["cc", "nss"])
    for rows in (slice(3, 5), slice(0, 3)):
        part = (batch.pred[rows], batch.density[rows], batch.fixations[rows])
        own.update(*part, ids=IDS[rows])
        given.add(IDS[rows], torch.stack(list(score(*part, ["cc", "nss"]).values()), dim=1))
        assert given.compute() == own.compute()
    for found, expected in zip(given.per_sample(), own.per_sample(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        (IDS, torch.zeros(5, 3, dtype=torch.float64), r"expected values of shape \(samples, 2\), got \(5, 3\)"),
        (IDS, torch.zeros(5, dtype=torch.float64), r"expected values of shape \(samples, 2\), got \(5,\)"),
        (IDS, torch.zeros(4, 2, dtype=torch.float64), "expected one whole number for each of the 4 samples"),
    ],
    ids=["metrics", "axes", "samples"],
)
def test_scores_from_elsewhere_that_do_not_fit_the_table_are_refused(ids, values, message) -> None:
    with pytest.raises(ValueError, match=message):
        ScoreTable(["cc", "nss"]).add(ids, values)


def test_a_table_of_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'nss'"):
        ScoreTable(["nsss"])


@pytest.mark.parametrize("compute_groups", [False, True])
def test_metrics_that_agree_on_the_first_batch_are_not_merged(compute_groups, batch) -> None:
    # A constant prediction scores 0.5 with both AUCs and 0 with both NSSs, so after the first batch their states are
    # equal, and that is when torchmetrics looks for groups to merge.
    collection = MetricCollection([NSS(), NSSUnbiased()], compute_groups=compute_groups)
    variants = MetricCollection({"all": AUCJudd(), "unfixated": AUCJudd("unfixated")}, compute_groups=compute_groups)
    pred = batch.pred.clone()
    pred[0] = 0.5
    for metrics in (collection, variants):
        metrics.update(pred=pred[:1], fixations=batch.fixations[:1], ids=IDS[:1])
        metrics.update(pred=pred[1:], fixations=batch.fixations[1:], ids=IDS[1:])
    names = {"NSS": "nss", "NSSUnbiased": "nss_unbiased"}
    names |= {"all": "auc_judd", "unfixated": "auc_judd_unfixated"}
    for key, value in {**collection.compute(), **variants.compute()}.items():
        scores = METRICS[names[key]].function(pred, batch.fixations)
        torch.testing.assert_close(value, scores.mean(), msg=key)


@pytest.mark.parametrize("compute_groups", [False, True])
def test_a_collection_gives_each_metric_the_target_it_needs(compute_groups, batch) -> None:
    own = {name: CLASSES[name]() for name in CLASSES}
    collection = MetricCollection(own, compute_groups=compute_groups)
    targets = {name: getattr(batch, name) for name in ("density", "fixations", "others", "baseline")}
    for rows in (slice(0, 3), slice(3, 5)):
        part = {name: target[rows] for name, target in targets.items()}
        found = collection(batch.pred[rows], **part)
        expected = score(batch.pred[rows], part.pop("density"), part.pop("fixations"), list(CLASSES), **part)
        torch.testing.assert_close(found, {name: values.mean() for name, values in expected.items()})
    torch.testing.assert_close(
        collection.compute(),
        {name: METRICS[name].function(batch.pred, *batch.truths(METRICS[name].needs)).mean() for name in CLASSES},
    )


def test_a_collection_of_one_kind_takes_its_target_by_position(batch) -> None:
    of_maps, of_points = MetricCollection([CC(), SIM(), KL()]), MetricCollection([NSS(), AUCJudd(), AUCBorji()])
    of_maps.update(batch.pred, batch.density)
    of_points.update(batch.pred, batch.fixations)
    expected = score(batch.pred, batch.density, batch.fixations, ["cc", "sim", "kl", "nss", "auc_judd", "auc_borji"])
    found = [*of_maps.compute().items(), *of_points.compute().items()]
    assert [name for name, _ in found] == ["CC", "SIM", "KL", "NSS", "AUCJudd", "AUCBorji"]
    means = {name.replace("_", ""): values.mean() for name, values in expected.items()}
    for name, value in found:
        torch.testing.assert_close(value, means[name.lower()])


@pytest.mark.parametrize("metric", [AUCShuffled(), IG()], ids=["sAUC", "IG"])
def test_what_a_metric_needs_besides_is_asked_for(metric, batch) -> None:
    with pytest.raises(ValueError, match=r"ground truth is missing: (others for auc_shuffled|baseline for ig)"):
        metric(batch.pred, batch.fixations)


@pytest.mark.parametrize("name", CLASSES)
def test_without_ids_every_sample_counts(name, batch) -> None:
    metric, targets = CLASSES[name](), dict(zip(METRICS[name].needs, batch.truths(METRICS[name].needs), strict=True))
    expected = METRICS[name].function(batch.pred, *targets.values())
    torch.testing.assert_close(metric(batch.pred, **targets), expected.mean())  # of the batch
    first = metric(batch.pred[:1], **{key: target[:1] for key, target in targets.items()})
    torch.testing.assert_close(first, expected[0])
    torch.testing.assert_close(metric.compute(), torch.cat([expected, expected[:1]]).mean())
    ids, values = metric.per_sample()
    assert ids.tolist() == [-1] * 6
    torch.testing.assert_close(values[:, 0], torch.cat([expected, expected[:1]]))
    metric.reset()
    metric.update(batch.pred, **targets)
    torch.testing.assert_close(metric.compute(), expected.mean())


@pytest.mark.parametrize("name", CLASSES)
def test_keeps_to_what_torchmetrics_expects_of_a_metric(name, batch) -> None:
    """What ``MetricTester`` of torchmetrics' own tests looks at, besides the values."""
    metric = CLASSES[name]()
    targets = dict(zip(METRICS[name].needs, batch.truths(METRICS[name].needs), strict=True))
    assert metric.higher_is_better is METRICS[name].higher_is_better
    assert metric.is_differentiable is False
    assert metric.full_state_update is False
    for attribute in ("is_differentiable", "higher_is_better"):
        with pytest.raises(RuntimeError, match=f"Can't change const `{attribute}`"):
            setattr(metric, attribute, None)
    metric.update(batch.pred, **targets)
    assert metric.update_called
    value = metric.compute()
    assert value is metric.compute()  # cached
    assert value.shape == ()
    assert torch.equal(metric.clone().compute(), value)
    assert torch.equal(metric.to("cpu").double().compute(), value)
    assert hash(metric) != hash(CLASSES[name]())
    one, other = CLASSES[name](), CLASSES[name]()
    one.update(batch.pred, **targets)
    other.update(batch.pred.flip(0), **targets)
    both = torch.stack([value, other.compute()]).mean()
    one.merge_state(other)
    torch.testing.assert_close(one.compute(), both)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")
def test_samples_with_and_without_ids_do_not_go_together(batch) -> None:
    metric = CC()
    _feed(metric, batch, "cc")
    metric.update(batch.pred[:2], batch.density[:2])
    with pytest.raises(ValueError, match="expected ids in every update or in none, got 2 of 7 samples without"):
        metric.compute()
    metric = CC()
    metric.update(batch.pred, batch.density)
    with pytest.raises(ValueError, match="expected ids in every update to know which samples are missing, got none"):
        metric.missing(IDS)


@pytest.mark.parametrize("name", CLASSES)
def test_plots_its_value_and_several(name, batch) -> None:
    mpl.use("Agg")
    metric = CLASSES[name]()
    _feed(metric, batch, name)
    for values in (None, [metric.compute(), metric.compute()]):
        figure, axis = metric.plot(values)
        drawn = np.concatenate([line.get_ydata() for line in axis.lines], dtype=float)
        assert np.isclose(drawn, float(metric.compute())).any()
        mpl.pyplot.close(figure)


# Which samples each of two processes scores.
ASSIGNMENTS = {
    "uneven": ([0, 2, 4, 6], [1, 3, 5]),
    "one process without samples": ([6, 5, 4, 3, 2, 1, 0], []),
    "a sampler that repeats a sample": ([0, 2, 4, 6], [1, 3, 5, 0]),
}


def _scored(case, samples):
    table, nss = ScoreTable(["cc", "kl", "auc_judd"]), NSS()
    for i in samples:
        rows, ids = slice(i, i + 1), torch.tensor([100 - i])
        table.update(case.pred[rows], case.density[rows], case.fixations[rows], ids=ids)
        nss.update(case.pred[rows], case.fixations[rows], ids=ids)
    means = table.compute() | {"nss": nss.compute()}
    ids, values = table.per_sample()
    return means, ids, torch.cat([values, nss.per_sample()[1]], dim=1)


def _of_each_batch(case, samples):
    """Without ids, as a training loop uses them: each step's value, and the mean of all."""
    metrics = MetricCollection({"cc": CC(), "nss": NSS()})
    steps = [metrics(case.pred[[i]], density=case.density[[i]], fixations=case.fixations[[i]])["cc"] for i in samples]
    return steps, metrics.compute()


def _score_on_one_of_two(rank, address, folder, case):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{address}", rank=rank, world_size=2)
    results = [_scored(case, samples[rank]) for samples in ASSIGNMENTS.values()]
    results += [_of_each_batch(case, samples[rank]) for samples in ASSIGNMENTS.values()]
    together = CC(dist_sync_on_step=True)
    synced = [together(case.pred[[i]], case.density[[i]]) for i in (rank, 2 + rank, 4 + rank)]
    suite = [name for name in ("lightning", "pytorch_lightning", "hydra", "omegaconf") if name in sys.modules]
    torch.save({"results": results, "synced": [*synced, together.compute()], "suite": suite}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def _score_on_both(_, *arguments):
    """A process that starts from nothing, and its fork: what both import is imported once."""
    other = multiprocessing.get_context("fork").Process(target=_score_on_one_of_two, args=(1, *arguments))
    other.start()
    _score_on_one_of_two(0, *arguments)
    other.join()
    assert other.exitcode == 0


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one_however_the_samples_fall(tmp_path: Path, seven) -> None:
    expected = _scored(seven, range(7))
    torch.multiprocessing.spawn(_score_on_both, (tmp_path / "meeting", tmp_path, seven), nprocs=1)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["suite"] == [], "metrics have to work without Lightning and Hydra"
        number = len(ASSIGNMENTS)
        with_ids, without = found["results"][:number], found["results"][number:]
        for name, result in zip(ASSIGNMENTS, with_ids, strict=True):
            torch.testing.assert_close(tuple(result), expected, rtol=0, atol=1e-12, msg=name)
        single = METRICS["cc"].function(seven.pred, seven.density)
        for (name, samples), (steps, means) in zip(ASSIGNMENTS.items(), without, strict=True):
            torch.testing.assert_close(steps, [single[i] for i in samples[rank]], msg=name)  # of this process alone
            torch.testing.assert_close(means["cc"], single[[*samples[0], *samples[1]]].mean(), msg=name)
        expected_steps = [*single[:6].view(3, 2).mean(1), single[:6].mean()]
        torch.testing.assert_close(found["synced"], expected_steps)  # of both processes at each step


def test_repeat_tolerance_is_wider_than_float32_noise_and_narrower_than_a_real_difference() -> None:
    assert 1e-6 < keyed.REPEAT_TOLERANCE < 1e-3


@pytest.mark.slow
def test_lightning_logs_it_like_any_metric_of_torchmetrics(seven) -> None:
    import lightning as L  # not above: the processes of the test before are without

    class Validated(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.metrics = MetricCollection([CC(), NSS()], prefix="val/")

        def validation_step(self, batch, _):
            pred, density, fixations = batch
            self.metrics.update(pred, density=density, fixations=fixations)
            self.log_dict(self.metrics, on_epoch=True)

    batches = DataLoader(TensorDataset(seven.pred, seven.density, seven.fixations), batch_size=3)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    (logged,) = trainer.validate(Validated(), batches, verbose=False)
    expected = score(seven.pred, seven.density, seven.fixations, ["cc", "nss"])
    assert logged == {f"val/{name.upper()}": pytest.approx(float(v.mean()), rel=1e-6) for name, v in expected.items()}
