"""What is wrong with a configuration is said by its key, before anything is imported for it."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from saltext import jobs, schema, signatures
from saltext.composition import compose_run, config_folder
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.tasks import TASK_BY_NAME
from saltext.evaluation.protocols import PAPERS
from saltext.losses.saliency import _TERMS
from saltext.metrics import METRICS
from saltext.models.baselines import BASELINES

CONF = config_folder()
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
PRESETS = sorted(path.stem for path in (CONF / "preset").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))

jobs.register_resolvers()


def composed(*overrides: str) -> DictConfig:
    cfg = compose_run(overrides)
    HydraConfig.instance().set_config(cfg)
    return cfg


@pytest.fixture(autouse=True)
def _without_hydra() -> Iterator[None]:
    yield
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_under_every_preset_is_right(preset: str, model: str) -> None:
    assert schema.problems(composed(f"preset={preset}", f"model={model}")) == {}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_right(experiment: str) -> None:
    assert schema.problems(composed(f"+experiment={experiment}")) == {}


@pytest.mark.parametrize(
    "choices",
    [
        *(f"{group}={path.stem}" for group in ("data", "loss", "optimizer", "scheduler", "schedule",
          "trainer", "callbacks", "logger", "normalize", "protocol", "training") for path in sorted((CONF / group).glob("*.yaml"))),
        *(f"model/{part}={path.stem}" for part in ("blend", "bridge", "decoder", "encoder", "freeze", "text_encoder")
          for path in sorted((CONF / "model" / part).glob("*.yaml"))),
    ],
)  # fmt: skip
def test_every_choice_is_right(choices: str) -> None:
    model = ["model=tranblend"] if choices.startswith("model/") else []
    assert schema.problems(composed(*model, choices)) == {}
