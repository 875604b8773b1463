import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.fabric.loggers.tensorboard as lightning_tensorboard
import lightning.pytorch.loggers.mlflow as lightning_mlflow
import pytest
import torch
import wandb
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from saltext.errors import ConfigError
from saltext.system.extras import install_command
from saltext.training.loggers import MLflowStageLogger, StageLogger, TensorBoardStageLogger


class OpenRun:
    """Stands for the job's open run, and records what is logged."""

    def __init__(self, root: Path) -> None:
        self.settings = SimpleNamespace(root_dir=str(root))
        self.logged: dict[str, Any] = {}
        self.summaries: dict[str, str | None] = {}

    def log(self, values: dict[str, Any]) -> None:
        self.logged |= values

    def define_metric(self, name: str, step_metric: str | None = None, summary: str | None = None) -> None:
        self.summaries[name] = summary


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenRun:
    opened = OpenRun(tmp_path)
    monkeypatch.setattr(wandb, "run", opened)
    return opened


def logger(folder: Path) -> StageLogger:
    return StageLogger(save_dir=str(folder), project="saltext", mode=None)


def test_the_only_stage_logs_under_the_modules_own_names(run: OpenRun, tmp_path: Path) -> None:
    logger(tmp_path).log_metrics({"val/cc": 0.5, "train/loss": 2.0}, step=3)
    assert run.logged == {"val/cc": 0.5, "train/loss": 2.0, "trainer/global_step": 3}


def test_a_stage_of_a_schedule_has_its_name_before_its_values(run: OpenRun, tmp_path: Path) -> None:
    logger(tmp_path / "stages" / "warmup").log_metrics({"val/cc": 0.5}, step=3)
    assert run.logged == {"warmup/val/cc": 0.5, "trainer/global_step": 3}


def test_scores_of_test_pairs_that_choose_the_epoch_are_not_called_test_scores(run: OpenRun, tmp_path: Path) -> None:
    logger(tmp_path).log_metrics({"test/cc": 0.5, "test/cc_salient": 0.4})
    assert run.logged == {"chosen_on_test/cc": 0.5, "chosen_on_test/cc_salient": 0.4}


@pytest.mark.parametrize(("folder", "prefix"), [("", ""), ("stages/warmup", "warmup/")])
def test_every_metric_has_the_direction_in_which_it_is_better(
    run: OpenRun, tmp_path: Path, folder: str, prefix: str
) -> None:
    logger(tmp_path / folder)
    assert run.summaries[f"{prefix}val/cc*"] == "max"
    assert run.summaries[f"{prefix}val/kl*"] == "min"
    assert run.summaries[f"{prefix}chosen_on_test/kl*"] == "min"
    assert {s for name, s in run.summaries.items() if "train/" in name or "best/" in name} == {None}


def test_no_name_is_under_two_patterns_that_say_different_things(run: OpenRun, tmp_path: Path) -> None:
    logger(tmp_path)
    for one, summary in run.summaries.items():
        inside = [other for other in run.summaries if one.endswith("*") and other.startswith(one[:-1])]
        assert {run.summaries[other] for other in inside} <= {summary}, one


def test_the_best_epochs_score_is_logged_under_the_monitors_name(run: OpenRun, tmp_path: Path) -> None:
    best = ModelCheckpoint(monitor="val/cc", mode="max")
    stage = logger(tmp_path / "stages" / "warmup")
    stage.after_save_checkpoint(best)
    assert run.logged == {}  # no epoch has been scored yet
    best.best_model_score = torch.tensor(0.75)
    stage.after_save_checkpoint(best)
    stage.after_save_checkpoint(ModelCheckpoint(monitor=None))
    assert run.logged == {"warmup/best/val/cc": 0.75}


def test_a_network_without_fix_rates_has_no_table_of_them(run: OpenRun, tmp_path: Path) -> None:
    logger(tmp_path).log_graph(SimpleNamespace(network=nn.Linear(1, 1)))
    assert run.logged == {}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(), wandb.Error("gone")])
def test_a_wandb_that_fails_is_said_once_and_fails_no_training(
    run: OpenRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    stage = logger(tmp_path)
    asked = []

    def fail(*values: Any, **_: Any) -> None:
        asked.append(values)
        raise error

    monkeypatch.setattr(run, "log", fail)
    best = ModelCheckpoint(monitor="val/cc", mode="max")
    best.best_model_score = torch.tensor(0.75)
    for step in range(3):
        stage.log_metrics({"val/cc": 0.5}, step=step)
        stage.after_save_checkpoint(best)
        stage.log_hyperparams({})
    stage.finalize("success")
    assert len(asked) == 1
    assert [message for message in caplog.messages if "W&B" in message] == [
        f"W&B accepts no more values; the run continues without it: {error}"
    ]


OF_MLFLOW = "ignore:The ``noload`` loader strategy"  # mlflow 3.17 with SQLAlchemy 2.1


def scalars(folder: Path) -> dict[str, list[float]]:
    """The values in a folder of TensorBoard, by name."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder))
    read.Reload()
    return {name: [event.value for event in read.Scalars(name)] for name in read.Tags()["scalars"]}


def test_tensorboard_has_the_values_of_every_epoch_also_of_a_resumed_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for epoch, cc in enumerate((0.25, 0.5)):  # a logger for each start
        started = TensorBoardStageLogger(str(tmp_path))
        started.log_metrics({"val/cc": cc, "test/cc": 2 * cc}, step=epoch)
        started.finalize("success")
    assert scalars(tmp_path / "tensorboard") == {"val/cc": [0.25, 0.5], "chosen_on_test/cc": [0.5, 1.0]}
    assert {path.name.split(".")[0] for path in (tmp_path / "tensorboard").iterdir()} == {"events"}


def test_a_tensorboard_that_cannot_be_written_is_said_once_and_fails_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("no folder")
    started = TensorBoardStageLogger(str(tmp_path))
    for step in range(3):
        started.log_metrics({"val/cc": 0.5}, step=step)
    started.save()
    started.finalize("success")
    assert len([message for message in caplog.messages if "TensorBoard accepts no more values" in message]) == 1


@pytest.mark.parametrize(
    ("logger_class", "module", "flag", "extra"),
    [(TensorBoardStageLogger, lightning_tensorboard, "_TENSORBOARD", "tensorboard"),
     (MLflowStageLogger, lightning_mlflow, "_MLFLOW", "mlflow")],
)  # fmt: skip
def test_a_logger_whose_package_is_missing_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger_class: Any, module: Any, flag: str, extra: str
) -> None:
    for name in (f"{flag}_AVAILABLE", f"{flag}X_AVAILABLE"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, False)
    with pytest.raises(ConfigError, match=re.escape(install_command(extra))):
        logger_class(str(tmp_path))


@pytest.mark.filterwarnings(OF_MLFLOW)
def test_mlflow_has_a_stages_name_before_its_values_and_no_epoch_under_the_name_of_a_test(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.create_run(client.create_experiment("study", str(tmp_path / "files"))).info.run_id
    settings: dict[str, Any] = {"tracking_uri": client.tracking_uri, "run_id": run, "root": str(tmp_path)}
    MLflowStageLogger(str(tmp_path), **settings).log_metrics({"test/cc": 0.5}, step=3)
    warmup = MLflowStageLogger(str(tmp_path / "stages" / "warmup"), **settings)
    warmup.log_metrics({"val/cc": 0.25}, step=3)
    warmup.finalize("success")
    assert client.get_run(run).data.metrics == {"chosen_on_test/cc": 0.5, "warmup/val/cc": 0.25}
    assert client.get_run(run).info.status == "RUNNING"  # the job ends it


@pytest.mark.filterwarnings(OF_MLFLOW)
def test_an_mlflow_that_does_not_answer_is_said_once_and_fails_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow")
    gone = MLflowStageLogger(str(tmp_path), tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", run_id="gone")
    for step in range(3):
        gone.log_metrics({"val/cc": 0.5}, step=step)
    assert len([message for message in caplog.messages if "MLflow accepts no more values" in message]) == 1
