"""Score a run again, from its saved configuration and checkpoint alone. The command line is ``saltext evaluate``."""

import logging
from collections.abc import Collection

import lightning as L
import pandas as pd
from omegaconf import DictConfig

from saltext.console import is_first, logged_to, not_essential, quiet_libraries
from saltext.data.loading import explain_lost_workers
from saltext.data.splits import Split
from saltext.errors import ConfigError, SaltextError
from saltext.models.checkpoints import load_weights
from saltext.reporting import run_files
from saltext.results.run_record import evaluation_setting
from saltext.results.score_table import RunScores, combined, metric_names, read_scores, write_run_scores
from saltext.runs import build, build_training
from saltext.runs.process_state import restored
from saltext.runs.scoring import score_test
from saltext.runs.stages import stages, weights_of
from saltext.runs.trust import Configuration, check_links
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)


def largest_difference(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Maximum absolute difference over all pairs and all metrics that both tables have.

    Raises:
        ConfigError: The tables do not have the same pairs and models.
    """
    keys = ["image_id", "task", "model", "protocol"]
    names = [name for name in metric_names(one) if name in other]
    merged = one.merge(other, on=keys, suffixes=("", "_other"))
    if len(merged) != len(one) or len(merged) != len(other):
        raise ConfigError(f"the tables have different pairs: {len(one)} and {len(other)} rows, {len(merged)} in both")
    return float(max((merged[n] - merged[f"{n}_other"]).abs().max() for n in names))


def evaluate(cfg: DictConfig, folder: RunFolder, weights: str = "chosen", own: Collection[str] = ()) -> RunScores:
    """Rebuild a run and score its test pairs.

    Args:
        cfg: See :func:`saltext.runs.saved.configuration`.
        folder: The run.
        weights: Which checkpoint to load, see :func:`saltext.runs.stages.weights_of`.
        own: Names that may be built besides those in ``conf/``, see :mod:`saltext.runs.trust`.

    Returns:
        See :func:`saltext.runs.scoring.score_test`.
    """
    build.check_evaluation(cfg, own)
    parts = []
    for stage in (stage for stage in stages(cfg, folder) if stage.tests):
        L.seed_everything(cfg.seed, verbose=False)
        module = build_training.module(stage.cfg, own)
        if module is not None:
            load_weights(module.network, weights_of(stage, weights))
        data = build_training.datamodule(stage.cfg, own)
        data.prepare_data()
        data.setup("test")
        parts.append(score_test(stage.cfg, module, data))
    return combined(parts)


def evaluate_and_write(folder: RunFolder, weights: str, configured: Configuration) -> None:
    """Score a run again, write scores and tables to ``evaluation/`` in its folder, and log the maximum difference.

    Args:
        folder: The run's.
        weights: See :func:`evaluate`.
        configured: Its configuration, see :func:`saltext.runs.saved.configuration`.
    """
    cfg, own = configured.cfg, configured.own
    check_links(folder)
    with restored(), logged_to(folder.root / "evaluation.log"), explain_lost_workers():
        quiet_libraries()
        if configured.remark():
            _log.info("%s", configured.remark())
        scores = evaluate(cfg, folder, weights, own)
        if not is_first():
            return
        target = RunFolder(folder.root / "evaluation")
        target.root.mkdir(exist_ok=True)
        write_run_scores(target, scores)
        with not_essential("the tables"):
            setting = evaluation_setting(Split.load(folder.split), cfg.data.selection_split)
            published = build_training.datamodule(cfg, own).published
            run_files.show(run_files.write_tables(target, scores, setting, published)[0])
        if folder.scores.is_file():
            try:
                difference = largest_difference(read_scores(folder.scores), scores.pairs)
                _log.info("maximum difference from the original scores: %.2g", difference)
            except SaltextError as error:  # a damaged table, or other baselines, tasks or metrics than the run's
                _log.info("not compared with the original scores: %s", error)
