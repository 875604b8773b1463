"""Score the test pairs of a run: the model, the model under other texts, and the baselines beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from omegaconf import DictConfig

from saltext.data import SaliencyDataModule
from saltext.data.truth import Truth
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.reference import Reference
from saltext.evaluation.scoreboard import OWN, BaselinePredictor, Scoreboard
from saltext.evaluation.text_variants import text_variants
from saltext.models.baselines import BASELINES
from saltext.reporting.scores import read_scores, write_scores
from saltext.runs import build
from saltext.runs.folder import RunFolder
from saltext.training import ScoreboardModule, ScoredModule
from saltext.training.out_of_memory import out_of_memory_in_words


@dataclass(frozen=True)
class RunScores:
    """Scores of single pairs, one row a pair, model and protocol (and variant).

    Attributes:
        pairs: The model with every pair's own text, and the baselines.
        text_effect: The model with other texts, standard protocol only; empty where it reads none.
    """

    pairs: pd.DataFrame
    text_effect: pd.DataFrame


def scoreboard(cfg: DictConfig, module: ScoredModule | None, data: SaliencyDataModule) -> Scoreboard:
    """Everything that is scored on the test pairs, in the order of the tables."""
    truth = Truth(data.pairs, data.cache, data.sigma)
    tested, trained = data.indices("test"), data.indices("train")
    standard_protocol, *papers = build.protocols(cfg)
    board = Scoreboard(data.pairs, Reference(truth))
    if module is not None:
        own = ModelPredictor(module.predict_saliency, cfg.label)
        for protocol in (standard_protocol, *papers):
            board.add(own, protocol)
        if cfg.evaluation.text_effect and module.reads_text:
            for variant in text_variants(data.pairs, tested, module.reads_condition):
                board.add(ModelPredictor(module.predict_saliency, cfg.label, variant), standard_protocol)
    for name in build.baselines(cfg):
        predictor = BaselinePredictor(BASELINES[name](truth, trained))
        for protocol in (standard_protocol, *papers):
            board.add(predictor, protocol)
    return board


def score_test(cfg: DictConfig, module: ScoredModule | None, data: SaliencyDataModule) -> RunScores:
    """Scores of every test pair.

    Args:
        cfg: The run's configuration.
        module: The model; None scores the baselines alone.
        data: The run's data.

    Returns:
        See :class:`RunScores`; the same on all processes.
    """
    tester = build.tester(cfg)
    scored = ScoreboardModule(scoreboard(cfg, module, data), module)
    with out_of_memory_in_words(tester):
        tester.test(scored, datamodule=data, verbose=False)
    scores = scored.scores.assign(split="test", seed=cfg.seed)
    own = scores["variant"] == OWN
    return RunScores(_tidy(scores[own].drop(columns="variant")), _tidy(scores[~own]))


def combined(parts: Sequence[RunScores]) -> RunScores:
    """The scores of a run's stages, each of which tests tasks of its own."""
    return RunScores(
        pd.concat([part.pairs for part in parts], ignore_index=True),
        pd.concat([part.text_effect for part in parts], ignore_index=True),
    )


def write_run_scores(folder: RunFolder, scores: RunScores) -> None:
    """Write the scores into a run's or a stage's folder."""
    if not scores.text_effect.empty:
        write_scores(folder.text_effect_scores, scores.text_effect)
    write_scores(folder.scores, scores.pairs)  # last: where it is, the others are


def read_run_scores(folder: RunFolder) -> RunScores:
    """What :func:`write_run_scores` wrote.

    Raises:
        DamagedFileError: A table is missing, empty or cut.
    """
    effect = folder.text_effect_scores
    return RunScores(read_scores(folder.scores), read_scores(effect) if effect.is_file() else pd.DataFrame())


def _tidy(scores: pd.DataFrame) -> pd.DataFrame:
    """Who and what first, then the metrics."""
    first = ["image_id", "task", "text", "split", "model", "seed", "protocol", "variant"]
    named = [column for column in first if column in scores]
    return scores[[*named, *(column for column in scores if column not in named)]].reset_index(drop=True)
