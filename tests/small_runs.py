"""Runs at smoke size in this process: what starts jobs is tested elsewhere, and takes longer than a job."""

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from saltext.console import quiet_libraries
from saltext.runs import train, trust
from saltext.runs.composition import compose_run
from saltext.system.run_folder import RunFolder

SMALL = (
    "preset=smoke", "data.batch_size=4", "data.image_size=[64,96]", "data.map_size=[16,24]", "trainer.max_epochs=1",
    "evaluation.pictures=1",
)  # fmt: skip
QUICK = (*SMALL, "evaluation.baselines=[uniform]", "evaluation.text_ablation=false", "evaluation.pictures=0")


@contextmanager
def _known_to_labels(composed: DictConfig) -> Iterator[None]:
    """Labels name the choices of groups, which they read from Hydra's own configuration."""
    hydra = HydraConfig.instance()
    before, hydra.cfg = hydra.cfg, composed
    try:
        yield
    finally:
        hydra.cfg = before


def composed(*overrides: str) -> DictConfig:
    """The resolved configuration of one run, without Hydra's part."""
    whole = compose_run(overrides)
    with _known_to_labels(whole):
        cfg = OmegaConf.masked_copy(whole, [key for key in whole if key != "hydra"])
        OmegaConf.resolve(cfg)
    return cfg


def ran(folder: RunFolder, *overrides: str) -> RunFolder:
    """A run from composing to its tables."""
    folder.root.mkdir(parents=True)
    cfg = composed(*overrides)
    trust.write(cfg, folder)
    quiet_libraries()
    train.train_and_test(cfg, folder)
    return folder


def drop_weights(folder: RunFolder) -> None:
    """Of dozens of runs in one folder they are gigabytes."""
    for path in folder.root.rglob("*.ckpt"):
        path.unlink()
