"""Every experiment runs from composing to its tables, at smoke size.

One job of each, in this process: what starts jobs is tested elsewhere, and starting a process costs more than a job.
"""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from saltext import worker
from saltext.console import quiet_libraries
from saltext.run import config_folder
from saltext.run_folder import RunFolder
from tests.data.made_up_layouts import write_salicon
from tests.test_config import choices

pytestmark = pytest.mark.slow

SMALL = (
    "preset=smoke", "data.batch_size=4", "data.image_size=[64,96]", "data.map_size=[16,24]",
    "trainer.max_epochs=1", "evaluation.baselines=[uniform]", "evaluation.text_effect=false", "evaluation.pictures=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


def small_data(experiment: str, outputs: Path) -> list[str]:
    if experiment != "pretrain_salicon":
        return [f"data.root={outputs / 'synthetic'}", "data.images=24"]
    write_salicon(outputs / "salicon")
    return [f"data.root={outputs / 'salicon'}"]


def last_job(experiment: str, outputs: Path) -> DictConfig:
    """The configuration of the last job of an experiment's sweep, which differs most from the default one."""
    base = [f"+experiment={experiment}", *SMALL, f"output_dir={outputs}", *small_data(experiment, outputs)]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        params = compose("config", base, return_hydra_config=True).hydra.sweeper.params or {}
        last = [f"{key}={str(values).split(',')[-1]}" for key, values in params.items()]
        return compose("config", [*base, *last], return_hydra_config=True)


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_an_experiment_runs_to_its_tables(experiment: str, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = last_job(experiment, outputs)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", composed)  # labels name the choices of groups
    cfg = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    OmegaConf.resolve(cfg)
    folder = RunFolder(outputs / experiment)
    folder.root.mkdir()
    OmegaConf.save(cfg, folder.config)
    quiet_libraries()
    worker.train_and_test(cfg, folder)
    for written in (folder.result, folder.scores, folder.table):
        assert written.stat().st_size > 0
