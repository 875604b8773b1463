"""Score the test pairs of a run: the model, the model with other texts, and the baselines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig

from saltext.baselines import BASELINES, Baseline
from saltext.baselines.centre_prior import prior_of_others
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.ground_truth import GroundTruth
from saltext.evaluation.baseline_scores import BaselineScores, ScoresByPair
from saltext.evaluation.evaluator import Evaluator
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.predictor import OWN
from saltext.evaluation.protocols import Protocol
from saltext.evaluation.reference import Reference
from saltext.evaluation.score_cache import ScoreCache
from saltext.evaluation.text_variants import text_variants
from saltext.results.score_table import RunScores
from saltext.runs import build, build_training
from saltext.training import EvaluatorModule, ScoredModule
from saltext.training.out_of_memory import explain_out_of_memory


def evaluator(
    cfg: DictConfig, module: ScoredModule | None, data: SaliencyDataModule, truth: GroundTruth, cached: BaselineScores
) -> Evaluator:
    """The evaluator of the test pairs, with model, text variants and baselines in the order of the tables."""
    tested, trained = data.indices("test"), data.recorded_training_indices
    standard_protocol, *papers = build.protocols(cfg)
    built = Evaluator(Reference(truth))
    if module is not None:
        own = ModelPredictor(module.predict_saliency)
        for protocol in (standard_protocol, *papers):
            built.add(cfg.label, own, protocol)
        if cfg.evaluation.text_ablation and module.reads_text:
            for variant in text_variants(data.pairs, tested, module.reads_condition):
                built.add(cfg.label, ModelPredictor(module.predict_saliency, variant), standard_protocol, variant.name)
    known = {protocol: cached.get(protocol) or {} for protocol in (standard_protocol, *papers)}
    for name in build.baselines(cfg):
        baseline = BASELINES[name](truth, trained)
        for protocol, scores in known.items():
            built.add(baseline.title, baseline, protocol, known=scores.get(name))
    return built


def score_test(cfg: DictConfig, module: ScoredModule | None, data: SaliencyDataModule) -> RunScores:
    """Score every test pair.

    Args:
        cfg: The run's configuration.
        module: The model; None scores the baselines alone.
        data: The run's data.

    Returns:
        See :class:`saltext.results.score_table.RunScores`; the same on all processes.
    """
    tester = build_training.tester(cfg)
    truth = GroundTruth(data.pairs, data.cache, data.sigma)
    cache = ScoreCache(data.cache.folder.parent)
    split = [data.recorded_training_indices, data.indices("test")]
    depends_on = [*_ground_truth(data), *split, tester.strategy.root_device.type]
    cached = BaselineScores(cache, depends_on, build.baselines(cfg))
    with _cached_prior(data, truth, cache):
        built = evaluator(cfg, module, data, truth, cached)
        scored = EvaluatorModule(built, data.pairs, module)
        with explain_out_of_memory(tester):
            tester.test(scored, datamodule=data, verbose=False)
    if tester.is_global_zero:
        _cache_baselines(built, scored.scores, data, cached)
    scores = scored.scores.assign(split="test", seed=cfg.seed)
    own = scores["variant"] == OWN
    return RunScores(_labels_first(scores[own].drop(columns="variant")), _labels_first(scores[~own]))


def _ground_truth(data: SaliencyDataModule) -> list[Any]:
    """What decides the ground truth of a data set, as JSON values."""
    blur = "fitted" if data.index.blur is None else data.index.blur.name
    return [data.cache.folder.name, [(pair.image_id, pair.task) for pair in data.pairs], blur]


@contextmanager
def _cached_prior(data: SaliencyDataModule, truth: GroundTruth, cache: ScoreCache) -> Iterator[None]:
    """Inside, the centre prior of other images is read from the cache, or cached afterwards if it was computed."""
    tasks = sorted({data.pairs[index].task for index in data.indices("test")})
    depends_on = [*_ground_truth(data), "centre prior", tasks]
    totals = prior_of_others(truth).totals
    arrays = cache.get(depends_on, ["totals"])
    if arrays is not None:
        totals.update(zip(tasks, torch.from_numpy(arrays["totals"]), strict=True))
    yield
    if arrays is None and all(task in totals for task in tasks):
        cache.put(depends_on, {"totals": torch.stack([totals[task] for task in tasks]).numpy()})


def _cache_baselines(built: Evaluator, scores: pd.DataFrame, data: SaliencyDataModule, cached: BaselineScores) -> None:
    """Cache the scores of the baselines that were computed."""
    index_of = {(pair.image_id, pair.task): index for index, pair in enumerate(data.pairs)}
    computed: dict[Protocol, dict[str, ScoresByPair]] = {}
    for entry in built.entries:
        if isinstance(entry.predictor, Baseline) and entry.known is None:
            rows = scores[(scores["model"] == entry.model) & (scores["protocol"] == entry.protocol.name)]
            indices = [index_of[key] for key in zip(rows["image_id"], rows["task"], strict=True)]
            values = rows[list(entry.protocol.metrics)].to_numpy().tolist()
            of_protocol = computed.setdefault(entry.protocol, {})
            of_protocol[entry.predictor.name] = dict(zip(indices, values, strict=True))
    for protocol, by_baseline in computed.items():
        cached.put(protocol, by_baseline)


def _labels_first(scores: pd.DataFrame) -> pd.DataFrame:
    """The columns that identify a row first, then the metrics."""
    first = ["image_id", "task", "text", "split", "model", "seed", "protocol", "variant"]
    labels = [column for column in first if column in scores]
    return scores[[*labels, *(column for column in scores if column not in labels)]].reset_index(drop=True)
