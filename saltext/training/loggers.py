"""The loggers of a training stage: Weights & Biases, TensorBoard and MLflow.

The loggers log the same values under the same names; a failure of one does not fail the training.
"""

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import pandas as pd
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from saltext.errors import ConfigError
from saltext.metrics import METRICS
from saltext.metrics.scores import Metric
from saltext.models.transalnet.fix_rates import freeze_table
from saltext.models.transalnet.network import TranSalNet
from saltext.system.extras import install_command

if TYPE_CHECKING:
    from wandb import Run

_log = logging.getLogger(__name__)

_STEP = "trainer/global_step"  # Lightning's name for it

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _give_up_on_error(method: _Method) -> _Method:
    """Decorate a method of a logger: the first error is logged as a warning, and the logger gets no more values."""

    @wraps(method)
    def guarded(logger: Any, *arguments: Any, **named: Any) -> None:
        if logger.given_up:
            return
        try:
            method(logger, *arguments, **named)
        except Exception as error:  # its own process may be gone, the disk full ...
            logger.given_up = True
            _log.warning("%s accepts no more values; the run continues without it: %s", logger.service, error)

    return cast(_Method, guarded)


def epoch_name(key: str) -> str:
    """The name of an epoch's value in these loggers: ``chosen_on_test/`` where test pairs select the checkpoint.

    ``test/`` is the final test of a run.
    """
    return f"chosen_on_{key}" if key.startswith("test/") else key


def define_metrics(run: "Run", stage: str = "") -> None:
    """Tell W&B the direction of every metric of a stage's epochs, and the x-axis of its curves.

    Args:
        run: An open run.
        stage: Prefix of the names of the stage's values, such as ``"warmup/"``.
    """
    # No pattern for everything: of several patterns that fit a name, W&B takes any.
    for name in ("train/*", "lr*", "best/*", "epoch"):
        run.define_metric(f"{stage}{name}", step_metric=_STEP)
    for part in ("val/", "chosen_on_test/"):
        for name, metric in METRICS.items():
            run.define_metric(f"{stage}{part}{name}*", step_metric=_STEP, summary=direction(metric))


def direction(metric: Metric) -> str:
    """W&B's word for which way a metric is better."""
    return "max" if metric.higher_is_better else "min"


class _GuardedLogger(Logger):
    """What the loggers of a stage share; it precedes Lightning's logger among the bases of each.

    Attributes:
        service: Name of the service in messages.
        given_up: Whether the service failed; then it gets no more values.
    """

    service: ClassVar[str]
    given_up = False

    @rank_zero_only
    @_give_up_on_error
    def log_hyperparams(self, params: Any, *arguments: Any, **named: Any) -> None:
        """Log the hyperparameters that Lightning collects from the module."""
        super().log_hyperparams(params, *arguments, **named)  # type: ignore[safe-super]  # of the service's logger

    @rank_zero_only
    @_give_up_on_error
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log values; see the class for their names."""
        named = {epoch_name(key): value for key, value in metrics.items()}
        super().log_metrics(named, step)  # type: ignore[safe-super]  # of the service's logger

    @rank_zero_only
    @_give_up_on_error
    def finalize(self, status: str) -> None:
        """Finish the logging of a stage, as Lightning does."""
        super().finalize(status)


class StageLogger(_GuardedLogger, WandbLogger):
    """The W&B logger of one stage: it logs into the job's run, which ``saltext.runs.tracking.tracked`` has opened.

    With several stages, the stage's name precedes all of its values: ``warmup/val/cc``. Besides what the module logs,
    ``best/MONITORED`` is the score of the best epoch so far, and the table ``tables/freeze`` has the trainable
    parameters. For ``chosen_on_test/`` see :func:`epoch_name`. A failure of W&B does not fail the training.

    Attributes:
        given_up: Whether W&B failed.

    Args:
        save_dir: Folder of the stage.
        log_model: Whether the job uploads the tested weights when it ends.
        settings: Of the run, see ``conf/logger/wandb.yaml``; used here only where none is open.
    """

    LOGGER_JOIN_CHAR = "/"
    service = "W&B"

    def __init__(self, save_dir: str, log_model: bool = False, **settings: Any) -> None:
        import wandb

        run = wandb.run
        in_stage = run is not None and Path(save_dir).resolve() != Path(run.settings.root_dir).resolve()
        prefix = Path(save_dir).name if in_stage else ""
        super().__init__(save_dir=save_dir, experiment=run, prefix=prefix, **settings)
        if run is not None:
            self._define_stage_metrics(run, f"{prefix}/" if prefix else "")

    @_give_up_on_error
    def _define_stage_metrics(self, run: Any, prefix: str) -> None:
        define_metrics(run, prefix)

    @rank_zero_only
    @_give_up_on_error
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Log the table of trainable parameters."""
        import wandb

        if isinstance(model.network, TranSalNet):
            self.log_metrics({"tables/freeze": wandb.Table(dataframe=pd.DataFrame(freeze_table(model.network)))})

    @_give_up_on_error
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Log the score of the best epoch so far."""
        super().after_save_checkpoint(checkpoint_callback)
        monitor, score = checkpoint_callback.monitor, checkpoint_callback.best_model_score
        if monitor and score is not None:
            self.log_metrics({f"best/{epoch_name(monitor)}": float(score)})


class TensorBoardStageLogger(_GuardedLogger, TensorBoardLogger):
    """The TensorBoard logger of one stage: it writes to ``tensorboard/`` of the stage's folder.

    A resumed run adds a file there, which TensorBoard shows as one run. For ``chosen_on_test/`` see
    :func:`epoch_name`. A failure, such as a full disk, does not fail the training.

    Attributes:
        given_up: Whether a file could not be written.

    Args:
        save_dir: Folder of the stage.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    service = "TensorBoard"

    def __init__(self, save_dir: str) -> None:
        try:
            super().__init__(save_dir, name="tensorboard", version="", default_hp_metric=False)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"logger=tensorboard needs the package tensorboard: {install_command('tensorboard')} ({error})"
            ) from error

    @rank_zero_only
    @_give_up_on_error
    def save(self) -> None:
        """Write what was logged; hyperparameters are in the run's ``config.yaml``."""
        self.experiment.flush()


class MLflowStageLogger(_GuardedLogger, MLFlowLogger):
    """The MLflow logger of one stage: it logs into the job's run, which ``saltext.runs.mlflow_run`` has opened.

    With several stages, the stage's name precedes all of its values: ``warmup/val/cc``. For ``chosen_on_test/`` see
    :func:`epoch_name`. A failure of MLflow does not fail the training.

    Attributes:
        given_up: Whether MLflow failed.

    Args:
        save_dir: Folder of the stage.
        experiment_name: Experiment that the run belongs to.
        tracking_uri: Server, database or folder of MLflow.
        tags: Of the run.
        log_model: Whether the job uploads the tested weights when it ends.
        run_id: The job's run.
        root: Folder of the job; where it is another folder than ``save_dir``, that is of a stage.

    Raises:
        ConfigError: MLflow is not installed.
    """

    LOGGER_JOIN_CHAR = "/"
    service = "MLflow"

    def __init__(
        self,
        save_dir: str,
        experiment_name: str = "saltext",
        tracking_uri: str | None = None,
        tags: dict[str, str] | None = None,
        log_model: bool = False,
        run_id: str | None = None,
        root: str | None = None,
    ) -> None:
        in_stage = root is not None and Path(save_dir).resolve() != Path(root).resolve()
        try:
            super().__init__(
                experiment_name,
                tracking_uri=tracking_uri,
                tags=tags,
                save_dir=save_dir,
                prefix=Path(save_dir).name if in_stage else "",
                run_id=run_id,
            )
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"logger=mlflow needs the package mlflow: {install_command('mlflow')} ({error})"
            ) from error

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Nothing: the run goes on with the next stage and the test, and the job ends it."""
