"""Jobs with ``logger=mlflow`` and a database in their output folder: what is in it when it is read back."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from saltext.runs.composition import compose_run
from saltext.runs.mlflow_run import in_mlflow
from saltext.system.run_folder import RunFolder
from tests.made_up_runs import write_run

mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # mlflow 3.17 with SQLAlchemy 2.1


@pytest.fixture(scope="module")
def output_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all jobs: MLflow takes seconds to make a database."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture
def job(output_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[DictConfig, RunFolder]:
    """A job that asks for MLflow, and its folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    cfg = compose_run(["preset=smoke", "model=tranblend", "logger=mlflow", f"output_dir={output_dir}", "name=study"])
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    folder = RunFolder(output_dir / "study" / tmp_path.name)
    folder.root.mkdir(parents=True)
    OmegaConf.save(cfg, folder.config, resolve=True)
    return cfg, folder


def finish(cfg: DictConfig, folder: RunFolder) -> None:
    """What a job leaves in its folder."""
    write_run(folder, cfg, cc=0.5)
    folder.checkpoints.mkdir(exist_ok=True)
    folder.best.write_bytes(b"weights")
    folder.split.write_text(json.dumps({}))


def read_back(cfg: DictConfig, folder: RunFolder) -> Any:
    """The job's run, as MLflow has it."""
    client = mlflow.MlflowClient(f"sqlite:///{Path(cfg.output_dir)}/mlflow.db")
    return client.get_run(folder.mlflow_id.read_text().strip())


def files(run: Any) -> set[str]:
    root = Path(run.info.artifact_uri)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_finished_job_is_a_run_of_its_study_with_scores_configuration_and_files(
    job: tuple[DictConfig, RunFolder],
) -> None:
    cfg, folder = job
    cfg.logger.mlflow.tags = {"who": "me"}
    cfg.logger.mlflow.log_model = True
    with in_mlflow(cfg, folder):
        finish(cfg, folder)
    run = read_back(cfg, folder)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/standard/pure/cc"] == pytest.approx(0.4)
    assert run.data.metrics["test/cc"] == run.data.metrics["best/val/cc"] == pytest.approx(0.5)
    assert run.data.params["trainer.max_epochs"] == str(cfg.trainer.max_epochs)
    assert run.data.tags["who"] == "me"
    assert (run.data.tags["study"], run.info.run_name) == ("study", folder.root.name)
    assert files(run) == {
        "scores/scores.csv", "scores/split.json", "model/best.ckpt", "model/config.yaml", "model/split.json"
    }  # fmt: skip
    assert {path.name for path in Path(cfg.output_dir).iterdir()} == {"study", "mlflow.db", "mlflow"}


def test_a_job_continues_its_run_when_it_is_resumed_and_the_next_one_has_another(
    job: tuple[DictConfig, RunFolder],
) -> None:
    cfg, folder = job
    other = RunFolder(folder.root.with_name("other"))
    with pytest.raises(KeyError), in_mlflow(cfg.copy(), folder):
        raise KeyError
    assert read_back(cfg, folder).info.status == "FAILED"
    first = folder.mlflow_id.read_text()
    for each in (folder, other):
        each.root.mkdir(exist_ok=True)
        with in_mlflow(cfg.copy(), each):
            finish(cfg, each)
    assert folder.mlflow_id.read_text() == first != other.mlflow_id.read_text()
    assert read_back(cfg, folder).info.status == "FINISHED"


def test_a_password_of_the_environment_is_not_among_the_parameters(
    job: tuple[DictConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, folder = job
    monkeypatch.setenv("SECRET", "hunter2")
    cfg.checkpoint = "${oc.env:SECRET}"
    with in_mlflow(cfg, folder):
        finish(cfg, folder)
    assert read_back(cfg, folder).data.params["checkpoint"] == "${oc.env:SECRET}"


def test_an_mlflow_that_cannot_be_used_is_done_without(
    job: tuple[DictConfig, RunFolder], caplog: pytest.LogCaptureFixture
) -> None:
    cfg, folder = job
    cfg.logger.mlflow.tracking_uri = "nowhere://at.all"
    caplog.set_level(logging.WARNING)
    with in_mlflow(cfg, folder):
        assert list(cfg.logger) == ["csv"]
    assert "MLflow cannot be used; the run continues without it" in caplog.text
