"""Score the test pairs of a run: the model, and beside it what needs no model."""

import lightning as L
import pandas as pd
import torch
from omegaconf import DictConfig

from saltext import build
from saltext.data import SaliencyDataModule
from saltext.models.baselines import CENTRE_PRIOR, CentrePrior
from saltext.training import BaselineModule, ScoredModule

_CHUNK = 256  # maps in memory at a time


def centre_prior(data: SaliencyDataModule) -> CentrePrior:
    """Mean map of the training pairs of each task, at ``map_size``."""
    prior = CentrePrior()
    indices = data.indices("train")
    for start in range(0, len(indices), _CHUNK):
        chunk = indices[start : start + _CHUNK]
        maps = torch.from_numpy(data.cache.density[chunk])[:, None]
        prior.update(maps, [data.pairs[i].task for i in chunk])
    return prior


def _test(module: ScoredModule, trainer: L.Trainer, data: SaliencyDataModule, name: str, seed: int) -> pd.DataFrame:
    trainer.test(module, datamodule=data, verbose=False)
    return module.test_scores.assign(split="test", model=name, seed=seed)


def score_test(cfg: DictConfig, module: ScoredModule, data: SaliencyDataModule) -> pd.DataFrame:
    """Scores of every test pair under the model and under the centre prior of the training images.

    Returns:
        One row a pair and model: image_id, task, text, split, model, seed and one column a metric.
    """
    tester = build.tester(cfg)
    prior = centre_prior(data)
    baseline = BaselineModule(lambda batch: prior.predict(batch["task"]), cfg.evaluation.test_metrics)
    return pd.concat(
        [
            _test(module, tester, data, cfg.label, cfg.seed),
            _test(baseline, tester, data, CENTRE_PRIOR, cfg.seed),
        ],
        ignore_index=True,
    )
