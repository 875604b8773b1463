"""Train and score one run from its folder: ``python -m saltext.worker RUN_FOLDER``.

Knows nothing of how the configuration was composed. Starting it again on the same folder continues the run.
"""

import json
import logging
import sys
import time
from pathlib import Path

import lightning as L
from omegaconf import DictConfig, OmegaConf

from saltext import build, provenance
from saltext.console import log_to, quiet_libraries
from saltext.data import SaliencyDataModule, Split, SyntheticDataModule
from saltext.errors import DataError, SaltextError
from saltext.launch import watch_parent
from saltext.models.checkpoints import load_weights
from saltext.reporting import run_report
from saltext.reporting.scores import means, write_scores
from saltext.run_folder import RunFolder
from saltext.scoring import score_test
from saltext.training import SupervisedModule

_log = logging.getLogger("saltext.worker")  # by name: run as a program, the module is called __main__


def published_name(data: SaliencyDataModule) -> str | None:
    """The data set's name among the published values; a generated data set has none."""
    return None if isinstance(data, SyntheticDataModule) else "sjtu_tis"


def _record_split(folder: RunFolder, data: SaliencyDataModule) -> None:
    """Write the split, or make sure that a resumed run still has the one it was started with."""
    if not folder.split.is_file():
        data.split.save(folder.split)
    elif Split.load(folder.split).digest != data.split.digest:
        raise DataError(
            f"The data set or its settings changed since {folder.root} was started: its split file {folder.split} has "
            "other images than the split made now. Restore the data set, or start a new run."
        )


def _fit(cfg: DictConfig, folder: RunFolder, module: SupervisedModule, data: SaliencyDataModule) -> None:
    resume = str(folder.last) if folder.last.is_file() else None
    if resume:
        _log.info("continuing from %s", resume)
    trainer = build.trainer(cfg, folder, validates=bool(data.split.parts["val"]))
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)


def train_and_test(cfg: DictConfig, folder: RunFolder) -> None:
    """Everything a run does, from a resolved configuration to the files in its folder.

    Raises:
        SaltextError: Something a user can mend, before training starts.
    """
    start = time.monotonic()
    provenance.write(folder.provenance)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    module = build.module(cfg)
    data = build.datamodule(cfg)
    data.prepare_data()
    data.setup()
    _record_split(folder, data)
    _fit(cfg, folder, module, data)
    load_weights(module.network, folder.chosen)
    scores = score_test(cfg, module, data)
    write_scores(folder.scores, scores)
    run_report.write_table(folder, scores, published_name(data))
    run_report.write_picture(cfg, folder, module, data, scores)
    seconds = round(time.monotonic() - start)
    result = {"label": cfg.label, "seed": cfg.seed, "seconds": seconds, "test": means(scores)}
    folder.result.write_text(json.dumps(result, indent=1) + "\n")
    _log.info("done in %d min %d s: %s", seconds // 60, seconds % 60, folder.root)


def main() -> None:
    """Entry point; the only argument is a run's folder."""
    watch_parent()
    folder = RunFolder(Path(sys.argv[1]))
    log_to(folder.log)
    quiet_libraries()
    cfg = OmegaConf.load(folder.config)
    try:
        train_and_test(cfg, folder)  # type: ignore[arg-type]
    except SaltextError as error:
        _log.error("error: %s", error)
        sys.exit(2)
    except Exception:
        _log.exception("the run failed")
        sys.exit(1)


if __name__ == "__main__":
    main()
