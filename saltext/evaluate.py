"""Score a run again, from its saved configuration and checkpoint alone.

    python -m saltext.evaluate run=outputs/run/FOLDER
    python -m saltext.evaluate run=outputs/run/FOLDER data.root=/elsewhere/sjtu-tis data.eval_batch_size=8
    python -m saltext.evaluate run=outputs/run/FOLDER weights=last

Arguments:
    run=DIR          folder of the run
    weights=NAME     chosen (default: what the run itself tested) or last
    any other key=value changes the run's configuration, for example where the data lies now

Writes DIR/evaluation/scores.csv and table.md, prints the table, and says how far the scores are from the run's own.
"""

import logging
import sys
from pathlib import Path

import lightning as L
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from saltext import build
from saltext.console import log_to, quiet_libraries
from saltext.errors import ConfigError, SaltextError
from saltext.models.checkpoints import load_weights
from saltext.reporting import run_report
from saltext.reporting.scores import metric_names, read_scores, write_scores
from saltext.run_folder import RunFolder
from saltext.scoring import score_test
from saltext.worker import published_name

_log = logging.getLogger("saltext.evaluate")  # by name: run as a program, the module is called __main__


def largest_difference(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Largest absolute difference of any score of any pair that both tables hold.

    Raises:
        ConfigError: The tables do not hold the same pairs and models.
    """
    keys = ["image_id", "task", "model"]
    names = [name for name in metric_names(one) if name in other]
    merged = one.merge(other, on=keys, suffixes=("", "_other"))
    if len(merged) != len(one) or len(merged) != len(other):
        raise ConfigError(f"the tables hold different pairs: {len(one)} and {len(other)} rows, {len(merged)} in both")
    return float(max((merged[n] - merged[f"{n}_other"]).abs().max() for n in names))


def evaluate(folder: RunFolder, changes: DictConfig, weights: Path) -> pd.DataFrame:
    """Rebuild a run and score its test pairs.

    Args:
        folder: The run.
        changes: Merged over its configuration.
        weights: Checkpoint to load.

    Returns:
        See :func:`saltext.scoring.score_test`.
    """
    cfg = OmegaConf.merge(OmegaConf.load(folder.config), changes, {"data": {"split": str(folder.split)}})
    cfg.checkpoint = None  # what training started from is not needed again
    L.seed_everything(cfg.seed, verbose=False)
    module = build.module(cfg)  # type: ignore[arg-type]
    load_weights(module.network, weights)
    data = build.datamodule(cfg)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    scores = score_test(cfg, module, data)  # type: ignore[arg-type]
    target = RunFolder(folder.root / "evaluation")
    target.root.mkdir(exist_ok=True)
    write_scores(target.scores, scores)
    run_report.write_table(target, scores, published_name(data))
    return scores


def _arguments(arguments: list[str]) -> tuple[RunFolder, Path, DictConfig]:
    given = OmegaConf.from_cli(arguments)
    if "run" not in given:
        raise ConfigError("Expected run=DIR, the folder of a finished run. See python -m saltext.evaluate --help.")
    folder = RunFolder.existing(given.pop("run"))
    choices = {"chosen": folder.chosen, "last": folder.last}
    name = given.pop("weights", "chosen")
    if name not in choices:
        raise ConfigError(f"Expected weights={' or weights='.join(choices)}, but weights={name} came.")
    return folder, choices[name], given


def main() -> None:
    """Entry point; see the module's help."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    try:
        folder, weights, changes = _arguments(arguments)
        log_to(folder.root / "evaluation.log")
        quiet_libraries()
        scores = evaluate(folder, changes, weights)
        if folder.scores.is_file():
            difference = largest_difference(read_scores(folder.scores), scores)
            _log.info("largest difference from the run's own scores: %.2g", difference)
    except SaltextError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
