"""Score a run again, from its saved configuration and checkpoint alone.

    python -m saltext.evaluate run=outputs/run/FOLDER
    python -m saltext.evaluate run=outputs/run/FOLDER data.root=/elsewhere/sjtu-tis data.eval_batch_size=8
    python -m saltext.evaluate run=outputs/run/FOLDER weights=last
    python -m saltext.evaluate run=outputs/run/FOLDER trainer.devices=2 trainer.strategy=ddp

Arguments:
    run=DIR          folder of the run
    weights=NAME     chosen (default: what the run itself tested) or last
    --trust          the folder is yours or of somebody you trust: build classes that it names and conf/ does not, and
                     follow its paths even where it was copied
    any other key=value changes the run's configuration, for example where the data lies now

Writes scores and tables to DIR/evaluation, prints the tables, and says how far the scores are from the run's own.
"""

import logging
import sys
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import lightning as L
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from saltext import build, preflight
from saltext.console import ending_in_words, is_first, logged_to, not_essential, quiet_libraries, set_up_streams
from saltext.data import Split
from saltext.data.loading import lost_workers_said
from saltext.errors import ConfigError, SaltextError
from saltext.launch import launch, processes
from saltext.models.checkpoints import load_weights
from saltext.reporting import run_report
from saltext.reporting.scores import metric_names, read_scores
from saltext.run_folder import RunFolder
from saltext.runs.process_state import restored
from saltext.scoring import RunScores, combined, score_test, write_run_scores
from saltext.stages import stages, weights_of
from saltext.trust import TRUST, Configuration, literal, read, refuse_links
from saltext.watched import is_launched

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


def configuration(folder: RunFolder, changes: DictConfig, trust: bool = False) -> Configuration:
    """The run's own configuration and split, with some values changed.

    Args:
        folder: The run's.
        changes: Of the one who runs the command.
        trust: Whether the folder is trusted, see :mod:`saltext.trust`.

    Raises:
        ConfigError: See :func:`saltext.trust.read`.
    """
    found = read(folder, changes, trust=trust)
    # The split file says what was tested; what training started from is not needed again.
    own: dict[str, Any] = {"data": {"split": literal(str(folder.split)), "test_on": "test"}, "checkpoint": None}
    # One machine is enough to score what several trained.
    here = {"trainer": {"num_nodes": OmegaConf.select(changes, "trainer.num_nodes", default=1)}}
    cfg: DictConfig = OmegaConf.merge(found.cfg, here, own)  # type: ignore[assignment]
    return replace(found, cfg=cfg)


def evaluate(cfg: DictConfig, folder: RunFolder, weights: str = "chosen", own: Collection[str] = ()) -> RunScores:
    """Rebuild a run and score its test pairs.

    Args:
        cfg: See :func:`configuration`.
        folder: The run.
        weights: Which checkpoint to load, see :func:`saltext.stages.weights_of`.
        own: What may be built besides what ``conf/`` names, see :mod:`saltext.trust`.

    Returns:
        See :func:`saltext.scoring.score_test`.
    """
    build.check_evaluation(cfg)
    parts = []
    for stage in (stage for stage in stages(cfg, folder) if stage.tests):
        L.seed_everything(cfg.seed, verbose=False)
        module = build.module(stage.cfg, own)
        if module is not None:
            load_weights(module.network, weights_of(stage, weights))
        data = build.datamodule(stage.cfg, own)
        data.prepare_data()
        data.setup("test")
        parts.append(score_test(stage.cfg, module, data))
    return combined(parts)


def _arguments(arguments: list[str]) -> tuple[RunFolder, str, Configuration]:
    trusts = TRUST in arguments
    given = OmegaConf.from_cli([word for word in arguments if word != TRUST])
    if "run" not in given:
        raise ConfigError("Expected run=DIR, the folder of a finished run. See python -m saltext.evaluate --help.")
    folder = RunFolder.existing(str(given.pop("run")))
    name = given.pop("weights", "chosen")
    if name not in ("chosen", "last"):
        raise ConfigError(f"Expected weights=chosen or weights=last, but weights={name} came.")
    found = configuration(folder, given, trusts)
    preflight.check_changes(found.cfg, given)
    return folder, name, found


def _write(folder: RunFolder, scores: RunScores, cfg: DictConfig, published: str | None) -> None:
    target = RunFolder(folder.root / "evaluation")
    target.root.mkdir(exist_ok=True)
    write_run_scores(target, scores)
    with not_essential("the tables"):
        how = run_report.circumstances(Split.load(folder.split), cfg.data.choose_on)
        run_report.write_tables(target, scores, how, published)
    if not folder.scores.is_file():
        return
    try:
        difference = largest_difference(read_scores(folder.scores), scores.pairs)
        _log.info("largest difference from the run's own scores: %.2g", difference)
    except (
        SaltextError
    ) as error:  # a damaged table, or other baselines, tasks or metrics were asked for than the run had
        _log.info("not compared with the run's own scores: %s", error)


def main() -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    with ending_in_words("interrupted; nothing was written"):
        folder, weights, found = _arguments(arguments)
        cfg = found.cfg
        ranks = processes(cfg)
        if ranks > 1 and not is_launched():
            sys.exit(launch("saltext.evaluate", arguments, ranks))
        refuse_links(folder)
        with restored(), logged_to(folder.root / "evaluation.log"), lost_workers_said():
            quiet_libraries()
            if found.remark():
                _log.info("%s", found.remark())
            scores = evaluate(cfg, folder, weights, found.own)
            if is_first():
                _write(folder, scores, cfg, build.datamodule(cfg, found.own).published)


if __name__ == "__main__":
    main()
