"""What only a GPU can show; skipped visibly without one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import saltext
from saltext.evaluate import configuration, evaluate, largest_difference
from saltext.reporting.scores import read_scores
from saltext.run_folder import RunFolder
from tests.small_runs import SMALL, ran

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:.*module\\(s\\) in eval mode.*"),  # frozen on purpose
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]


def trained(root: Path, name: str, *overrides: str) -> RunFolder:
    return ran(RunFolder(root / name), *SMALL, "trainer.accelerator=gpu", f"output_dir={root}", *overrides)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("family", ["transalnet", "tranblend", "clip_salgan", "grounded_gaze"])
def test_a_family_trains_is_scored_and_predicts(family: str, precision: str, tmp_path: Path) -> None:
    folder = trained(tmp_path, "run", f"model={family}", f"trainer.precision={precision}")
    again = evaluate(configuration(folder, OmegaConf.create({})), folder)
    assert largest_difference(read_scores(folder.scores), again.pairs) < 1e-3
    density = saltext.load(folder.root, device="cuda").predict(np.full((20, 30, 3), 128, np.uint8), "the lamp")
    assert density.sum() == pytest.approx(1, abs=1e-5)


def test_deterministic_runs_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    weights = [
        torch.load(
            trained(tmp_path, name, "model=tranblend", "trainer.deterministic=true").last,
            weights_only=True,
            map_location="cpu",
        )["state_dict"]
        for name in ("one", "other")
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
