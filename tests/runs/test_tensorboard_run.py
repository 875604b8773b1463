"""Jobs with ``logger=tensorboard``: what a finished one adds to its curves."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from saltext.runs.composition import compose_run
from saltext.runs.tensorboard_run import in_tensorboard
from saltext.system.run_folder import RunFolder
from tests.made_up_runs import write_run


def test_a_finished_job_has_its_scores_and_picture_in_tensorboard(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra tensorboard is not installed"
    )
    cfg = compose_run(["preset=smoke", "model=tranblend", "logger=tensorboard"])
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    folder = RunFolder(tmp_path)
    with in_tensorboard(cfg, folder):
        OmegaConf.save(cfg, folder.config, resolve=True)
        write_run(folder, cfg, cc=0.5)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder.picture)
    read = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert {name: read.Scalars(name)[0].value for name in ("test/standard/pure/cc", "test/cc", "best/val/cc")} == {
        "test/standard/pure/cc": pytest.approx(0.4), "test/cc": pytest.approx(0.5), "best/val/cc": pytest.approx(0.5)
    }  # fmt: skip
    assert read.Tags()["images"] == ["pictures/pairs"]


def test_a_job_that_fails_or_does_not_ask_for_it_writes_nothing(tmp_path: Path) -> None:
    cfg = compose_run(["preset=smoke", "model=tranblend"])
    with in_tensorboard(cfg, RunFolder(tmp_path)):
        pass
    asked = compose_run(["preset=smoke", "model=tranblend", "logger=tensorboard"])
    with pytest.raises(KeyError), in_tensorboard(asked, RunFolder(tmp_path)):
        raise KeyError
    assert not list(tmp_path.iterdir())
