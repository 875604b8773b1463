"""Score a run again, from its saved configuration and checkpoint alone.

    python -m saltext.evaluate run=outputs/run/FOLDER
    python -m saltext.evaluate run=outputs/run/FOLDER data.root=/elsewhere/sjtu-tis data.eval_batch_size=8
    python -m saltext.evaluate run=outputs/run/FOLDER weights=last
    python -m saltext.evaluate run=outputs/run/FOLDER trainer.devices=2 trainer.strategy=ddp

Arguments:
    run=DIR          folder of the run
    weights=NAME     chosen (default: what the run itself tested) or last
    any other key=value changes the run's configuration, for example where the data lies now

Writes scores and tables to DIR/evaluation, prints the tables, and says how far the scores are from the run's own.
"""

import logging
import sys

import lightning as L
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from saltext import build
from saltext.console import log_to, quiet_libraries
from saltext.data import Split
from saltext.errors import ConfigError, SaltextError
from saltext.launch import is_first, is_launched, launch, processes, watch_parent
from saltext.models.checkpoints import load_weights
from saltext.reporting import run_report
from saltext.reporting.scores import metric_names, read_scores
from saltext.run_folder import RunFolder, reached
from saltext.scoring import RunScores, combined, score_test
from saltext.stages import stages, weights_of

_log = logging.getLogger("saltext.evaluate")  # by name: run as a program, the module is called __main__


def largest_difference(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Largest absolute difference of any score of any pair that both tables hold.

    Raises:
        ConfigError: The tables do not hold the same pairs and models.
    """
    keys = ["image_id", "task", "model", "protocol"]
    names = [name for name in metric_names(one) if name in other]
    merged = one.merge(other, on=keys, suffixes=("", "_other"))
    if len(merged) != len(one) or len(merged) != len(other):
        raise ConfigError(f"the tables hold different pairs: {len(one)} and {len(other)} rows, {len(merged)} in both")
    return float(max((merged[n] - merged[f"{n}_other"]).abs().max() for n in names))


def configuration(folder: RunFolder, changes: DictConfig) -> DictConfig:
    """The run's own configuration and split, its paths as they are reached from here, with some values changed."""
    # The split file says what was tested; what training started from is not needed again.
    own = {"data": {"split": str(folder.split), "test_on": "test"}, "checkpoint": None}
    here = {"trainer": {"num_nodes": 1}}  # one machine is enough to score what several trained
    saved = reached(folder, OmegaConf.load(folder.config))  # type: ignore[arg-type]
    cfg: DictConfig = OmegaConf.merge(saved, here, changes, own)  # type: ignore[assignment]
    return cfg


def evaluate(cfg: DictConfig, folder: RunFolder, weights: str = "chosen") -> RunScores:
    """Rebuild a run and score its test pairs.

    Args:
        cfg: See :func:`configuration`.
        folder: The run.
        weights: Which checkpoint to load, see :func:`saltext.stages.weights_of`.

    Returns:
        See :func:`saltext.scoring.score_test`.
    """
    build.check_evaluation(cfg)
    parts = []
    for stage in (stage for stage in stages(cfg, folder) if stage.tests):
        L.seed_everything(cfg.seed, verbose=False)
        module = build.module(stage.cfg)
        if module is not None:
            load_weights(module.network, weights_of(stage, weights))
        data = build.datamodule(stage.cfg)
        data.prepare_data()
        data.setup("test")
        parts.append(score_test(stage.cfg, module, data))
    return combined(parts)


def _arguments(arguments: list[str]) -> tuple[RunFolder, str, DictConfig]:
    given = OmegaConf.from_cli(arguments)
    if "run" not in given:
        raise ConfigError("Expected run=DIR, the folder of a finished run. See python -m saltext.evaluate --help.")
    folder = RunFolder.existing(given.pop("run"))
    name = given.pop("weights", "chosen")
    if name not in ("chosen", "last"):
        raise ConfigError(f"Expected weights=chosen or weights=last, but weights={name} came.")
    return folder, name, configuration(folder, given)


def _write(folder: RunFolder, scores: RunScores, cfg: DictConfig) -> None:
    target = RunFolder(folder.root / "evaluation")
    target.root.mkdir(exist_ok=True)
    how = run_report.circumstances(Split.load(folder.split), cfg.data.choose_on)
    run_report.write_tables(target, scores, how, build.datamodule(cfg).published)
    if not folder.scores.is_file():
        return
    try:
        difference = largest_difference(read_scores(folder.scores), scores.pairs)
        _log.info("largest difference from the run's own scores: %.2g", difference)
    except ConfigError as error:  # other baselines, tasks or metrics were asked for than the run had
        _log.info("not compared with the run's own scores: %s", error)


def main() -> None:
    """Entry point; see the module's help."""
    watch_parent()
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    try:
        folder, weights, cfg = _arguments(arguments)
        ranks = processes(cfg)
        if ranks > 1 and not is_launched():
            sys.exit(launch("saltext.evaluate", arguments, ranks))
        log_to(folder.root / "evaluation.log")
        quiet_libraries()
        scores = evaluate(cfg, folder, weights)
        if is_first():
            _write(folder, scores, cfg)
    except SaltextError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
