"""Train and score a run, as a function of its configuration and its folder.

Independent of how the configuration was composed. Calling it again on the same folder resumes the run.
"""

import errno
import logging
import os
import time
from collections.abc import Collection

import lightning as L
import torch
from omegaconf import DictConfig
from torch import nn

from saltext import storage
from saltext.console import is_first, logged_to, not_essential, quiet_libraries
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.loading import explain_lost_workers
from saltext.data.splits import PARTS, Split
from saltext.errors import CheckpointError, DamagedFileError, DataError, FullDiskError
from saltext.models.checkpoints import load_weights
from saltext.models.feature_cache import FeatureCache
from saltext.models.network import SaliencyNetwork
from saltext.models.transalnet.fix_rates import freeze_table
from saltext.models.transalnet.network import TranSalNet
from saltext.reporting import run_files, tables
from saltext.results.findings import conclusion
from saltext.results.run_record import evaluation_setting
from saltext.results.score_table import RunScores, combined, means, of_protocol, read_run_scores, write_run_scores
from saltext.runs import build, build_training, pictures, provenance
from saltext.runs.mlflow_run import in_mlflow
from saltext.runs.process_state import restored
from saltext.runs.scoring import score_test
from saltext.runs.stages import Stage, stages
from saltext.runs.tensorboard_run import in_tensorboard
from saltext.runs.tracking import log_pairs, tracked
from saltext.runs.trust import started
from saltext.system.environment import IN_SWEEP
from saltext.system.run_folder import RunFolder
from saltext.training import SupervisedModule
from saltext.training.checkpoint_io import newest_whole
from saltext.training.out_of_memory import explain_out_of_memory

_log = logging.getLogger(__name__)


def _record_split(folder: RunFolder, data: SaliencyDataModule) -> None:
    """Write the split, or check that a resumed run has the split it was started with."""
    if folder.split.is_file():
        if Split.load(folder.split).digest != data.split.digest:
            raise DataError(
                f"Expected the images in {folder.split}, got another split: the data set or its settings changed since "
                f"{folder.root} was started. Restore the data set, or start a new run."
            )
    elif is_first():
        data.split.save(folder.split)


def _train(stage: Stage, module: SupervisedModule, data: SaliencyDataModule, own: Collection[str]) -> None:
    """Train or resume a stage, and load the weights to test into the module."""
    folder = stage.folder
    if not folder.has_trained:
        start = time.monotonic()
        resume, problem = newest_whole(folder.last)
        if resume:
            _log.info("%scontinuing from %s", f"{problem}; " if problem else "", resume)
        elif stage.start:
            _load_trained(module, stage.start)
        if is_first():
            _log_trainable_parameters_and_cache(module, data)
        trainer = build_training.trainer(stage.cfg, folder, validates=data.validates, own=own)
        with explain_out_of_memory(trainer):
            trainer.fit(module, datamodule=data, ckpt_path=str(resume) if resume else None, weights_only=True)
        if is_first():
            folder.previous.unlink(missing_ok=True)  # last.ckpt is final; deleted before the stage counts as trained
            if trainer.current_epoch < (trainer.max_epochs or 0):
                _log.info("training ended after %d of %d epochs", trainer.current_epoch, trainer.max_epochs)
            _record_stage(stage, data, trainer.current_epoch, time.monotonic() - start)
    _load_trained(module, folder)


def _load_trained(module: SupervisedModule, folder: RunFolder) -> None:
    """Load the selected weights of a finished training."""
    try:
        load_weights(module.network, folder.chosen)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} It has the tested weights of the training in {folder.root}: restore it from a copy, or run the "
            "command that started the run again with rerun=true."
        ) from error


def _log_trainable_parameters_and_cache(module: SupervisedModule, data: SaliencyDataModule) -> None:
    """Print a TranSalNet's trainable parameters, and log where features of frozen modules are cached."""
    network = module.network
    if isinstance(network, TranSalNet):
        run_files.show_grid(tables.trainable(freeze_table(network)))
    cache = _feature_cache(network)
    if cache is None or all(parameter.requires_grad for parameter in network.parameters()):
        return
    repeats = data.augment is None or getattr(data.augment, "images_come_back", False)
    when = "" if repeats else " in evaluation (data.augment=flip or none: in training, too)"
    _log.info("Caching features of frozen modules%s in %s", when, cache.folder)


def _feature_cache(network: nn.Module) -> FeatureCache | None:
    return network.feature_cache if isinstance(network, SaliencyNetwork) else None


def _record_stage(stage: Stage, data: SaliencyDataModule, epochs: int, seconds: float) -> None:
    """Write the record of a finished stage: the weights to test, and the pairs it was trained on."""
    trained = [data.pairs[number].name for number in data.indices("train")]
    weights = stage.folder.chosen.name
    record = {
        "tasks": list(data.tasks),
        "epochs": epochs,
        "seconds": round(seconds),
        "weights": weights,
    }
    storage.write_json(stage.folder.finished_stage, {**record, "trained_on": trained}, durable=True)


def run_stage(stage: Stage, run: RunFolder, own: Collection[str] = ()) -> RunScores | None:
    """Train or resume a stage unless it is trained, and score its test pairs.

    Args:
        stage: The stage.
        run: Folder of the run it belongs to.
        own: Names that may be built besides those in ``conf/``, see :mod:`saltext.runs.trust`.

    Returns:
        Scores, or None for a stage that is not tested.
    """
    cfg = stage.cfg
    trained = stage.folder.has_trained or "_target_" not in cfg.model
    if trained and not stage.tests:
        return None
    if trained and stage.folder.scores.exists():
        try:
            return read_run_scores(stage.folder)
        except DamagedFileError as error:
            _log.info("%s; scoring the test pairs again", error)
    if stage.name:
        _log.info("stage %s: %s", stage.name, ", ".join(cfg.data.tasks or ["all tasks"]))
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    module = build_training.module(cfg, own)
    data = build_training.datamodule(cfg, own)
    data.prepare_data()
    data.setup()
    _record_split(run, data)
    if module is not None:
        _train(stage, module, data, own)
    if not stage.tests:
        return None
    scores = score_test(cfg, module, data)
    if is_first():
        write_run_scores(stage.folder, scores)
    if is_first() and module is not None:
        cache = _feature_cache(module.network)
        if cache is not None and len(cache):
            _log.info("Feature cache: %d entries, %.0f MiB (%s)", len(cache), cache.disk_bytes / 2**20, cache.folder)
        with not_essential("the pictures of the test pairs"):
            records = pictures.write_pairs(cfg, stage.folder, module, data, scores.pairs)
            pictures.write_swaps(stage.folder, module, data, scores)
            log_pairs(cfg, stage.name, records)
    return scores


def train_and_test(cfg: DictConfig, folder: RunFolder, own: Collection[str] = ()) -> None:
    """Train and score all stages of a run, and write the files of its folder.

    Args:
        cfg: Its resolved configuration.
        folder: Its folder.
        own: Names that may be built besides those in ``conf/``, see :mod:`saltext.runs.trust`.

    Raises:
        SaltextError: An error that the user can fix, before training starts.
    """
    start = time.monotonic()
    if is_first():
        provenance.write(folder.provenance)
    build.check_evaluation(cfg, own)
    data = build_training.datamodule(cfg, own)
    build.check_conditions(cfg, data.conditions)
    sequence = stages(cfg, folder, data.conditions)
    if is_first():
        epochs = [str(stage.cfg.trainer.max_epochs) for stage in sequence]
        what = f"{' and '.join(epochs)} epoch{'s' * (epochs != ['1'])}" if "_target_" in cfg.model else "the baselines"
        _log.info("%s: %s on %s (%s), into %s", cfg.label, what, data.root, _counted(data), folder.root)
        if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" and cfg.trainer.precision == "32-true":
            _log.info("trainer=gpu trains in bfloat16 on this machine's GPU, several times as fast")
    scores = combined([part for stage in sequence if (part := run_stage(stage, folder, own)) is not None])
    if not is_first():
        return
    # Results first, then tables and pictures, which may fail because of a terminal, an image or a full disk.
    if sequence[0].name:  # run_stage has written the scores of a run without stages
        write_run_scores(folder, scores)
    seconds = round(time.monotonic() - start)
    tested = {name: means(of_protocol(scores.pairs, name)) for name in scores.pairs["protocol"].unique()}
    result = {"label": cfg.label, "seed": cfg.seed, "seconds": seconds, "test": tested}
    storage.write_json(folder.result, result, durable=True)
    with not_essential("the tables"):
        setting = evaluation_setting(Split.load(folder.split), cfg.data.selection_split)
        by_protocol = run_files.write_tables(folder, scores, setting, data.published, [s.name for s in sequence])
        if IN_SWEEP not in os.environ:  # a sweep prints one table of all its jobs
            run_files.show(by_protocol[0])
    with not_essential("the conclusion"):
        _log.info("%s", conclusion(scores.pairs, scores.text_ablation, cfg.label) or "The baselines are scored.")
    taken = f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"
    _log.info("done in %s: %s", taken, folder.root)
    if IN_SWEEP not in os.environ:
        _log.info("next: saltext report %s", folder.root)


def _counted(data: SaliencyDataModule) -> str:
    """How many pairs train, validate and are tested, in words."""
    counts = {part: len(data.indices(part)) for part in PARTS}
    said = f"{counts['train']} training, {counts['val']} validation, {counts['test']} test pairs"
    return said if data.validates else f"{said}; without validation the last epoch is tested"


_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _explain_full_disk(error: OSError, folder: RunFolder) -> str:
    """A message about a full disk: the file that was not written, the latest checkpoint, and how to resume."""
    checkpoints = sorted(folder.root.glob("**/last*.ckpt"), key=lambda path: path.stat().st_mtime)
    state = f"Saved so far: {checkpoints[-1]} and all finished scores" if checkpoints else "No epoch was saved"
    file = f" ({error.filename})" if error.filename else ""
    return (
        f"the disk is full: {error.strerror}{file}. {state}. Free space on the disk of {folder.root}, then resume with "
        f"python -m saltext.run resume={folder.root}"
    )


def train_folder(folder: RunFolder, started_with: str | None) -> None:
    """Train and score, or resume, the run whose configuration is in a folder, with its output in ``run.log``.

    Restores seeds, warnings, loggers, signals and the environment of this process.

    Args:
        folder: The run's.
        started_with: Digest of its config.yaml, whose own classes may be built and whose paths are followed; None where
            the folder is not trusted.

    Raises:
        SaltextError: An error that the user can fix; like all errors, it is in the log, too.
    """
    with restored(), logged_to(folder.log):
        quiet_libraries()
        configured = started(folder, started_with)
        try:
            cfg = configured.cfg
            with tracked(cfg, folder), in_mlflow(cfg, folder), in_tensorboard(cfg, folder), explain_lost_workers():
                train_and_test(cfg, folder, configured.own)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            raise FullDiskError(_explain_full_disk(error, folder)) from error
