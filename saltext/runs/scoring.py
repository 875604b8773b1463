"""Score the test pairs of a run: the model, the model with other texts, and the baselines."""

import pandas as pd
from omegaconf import DictConfig

from saltext.baselines import BASELINES
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.ground_truth import GroundTruth
from saltext.evaluation.evaluator import Evaluator
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.predictor import OWN
from saltext.evaluation.reference import Reference
from saltext.evaluation.text_variants import text_variants
from saltext.results.score_table import RunScores
from saltext.runs import build, build_training
from saltext.training import EvaluatorModule, ScoredModule
from saltext.training.out_of_memory import out_of_memory_in_words


def evaluator(cfg: DictConfig, module: ScoredModule | None, data: SaliencyDataModule) -> Evaluator:
    """The evaluator of the test pairs, with model, text variants and baselines in the order of the tables."""
    truth = GroundTruth(data.pairs, data.cache, data.sigma)
    tested, trained = data.indices("test"), data.indices("train")
    standard_protocol, *papers = build.protocols(cfg)
    built = Evaluator(Reference(truth))
    if module is not None:
        own = ModelPredictor(module.predict_saliency)
        for protocol in (standard_protocol, *papers):
            built.add(cfg.label, own, protocol)
        if cfg.evaluation.text_ablation and module.reads_text:
            for variant in text_variants(data.pairs, tested, module.reads_condition):
                built.add(cfg.label, ModelPredictor(module.predict_saliency, variant), standard_protocol, variant.name)
    for name in build.baselines(cfg):
        baseline = BASELINES[name](truth, trained)
        for protocol in (standard_protocol, *papers):
            built.add(baseline.title, baseline, protocol)
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
    scored = EvaluatorModule(evaluator(cfg, module, data), data.pairs, module)
    with out_of_memory_in_words(tester):
        tester.test(scored, datamodule=data, verbose=False)
    scores = scored.scores.assign(split="test", seed=cfg.seed)
    own = scores["variant"] == OWN
    return RunScores(_labels_first(scores[own].drop(columns="variant")), _labels_first(scores[~own]))


def _labels_first(scores: pd.DataFrame) -> pd.DataFrame:
    """The columns that identify a row first, then the metrics."""
    first = ["image_id", "task", "text", "split", "model", "seed", "protocol", "variant"]
    labels = [column for column in first if column in scores]
    return scores[[*labels, *(column for column in scores if column not in labels)]].reset_index(drop=True)
