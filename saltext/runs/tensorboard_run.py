"""TensorBoard: what a finished job adds to the curves of its training, with ``logger=tensorboard``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite

from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from saltext.console import is_first, not_essential
from saltext.images import read_photo
from saltext.runs.tracking import final_values, flat_configuration, pictures
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)


@contextmanager
def in_tensorboard(cfg: DictConfig, folder: RunFolder) -> Iterator[None]:
    """Around a job: write its scores, configuration and pictures for TensorBoard when it has finished.

    Args:
        cfg: The job's resolved configuration; without ``logger.tensorboard`` nothing is written.
        folder: The job's.
    """
    yield
    if "tensorboard" in cfg.logger and is_first():
        with not_essential("the scores in TensorBoard"):
            _write_results(cfg, folder)


def _write_results(cfg: DictConfig, folder: RunFolder) -> None:
    """Test scores beside the configuration (TensorBoard's page HPARAMS), and the pictures of test pairs."""
    # Lightning's own: its test scores are the run's, not those of test pairs that choose an epoch.
    logger = TensorBoardLogger(str(folder.root), name="tensorboard", version="", default_hp_metric=False)
    values = {name: value for name, value in final_values(cfg, folder).items() if isfinite(value)}
    logger.log_hyperparams(flat_configuration(cfg), values)
    for name, path in pictures(cfg, folder).items():
        logger.experiment.add_image(f"pictures/{name}", read_photo(path).pixels, dataformats="HWC")
    logger.experiment.close()
    _log.info("TensorBoard: `tensorboard --logdir %s` shows it", folder.root)
