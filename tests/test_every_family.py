"""Every family trains, validates, tests, evaluates and predicts on a device that refuses what a GPU refuses."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

import saltext
from saltext.results.score_table import read_scores
from saltext.runs.evaluate import evaluate, largest_difference
from saltext.runs.saved import configuration
from saltext.system.run_folder import RunFolder
from tests import standin
from tests.small_runs import SMALL, ran

TINY = (
    *SMALL, "data.images=10", "data.val_fraction=0.3", "data.eval_batch_size=3",
    "data.tasks=[pure,salient,non_salient]", "trainer.accelerator=standin", "trainer.strategy=standin",
    "evaluation.test_metrics=[cc,nss,auc_shuffled,ig]",
    "evaluation.baselines=[centre_prior,human_pure]",
)  # fmt: skip
FAMILIES = ("transalnet", "tranblend", "clip_salgan", "grounded_gaze", "baselines")


def trained(folder: Path, data: Path, *overrides: str) -> RunFolder:
    return ran(RunFolder(folder / "run"), *TINY, f"data.root={data}/data", f"data.cache_dir={data}/cache", *overrides)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them find the generated data."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.filterwarnings("ignore:.*module\\(s\\) in eval mode.*")  # frozen on purpose
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")  # two batches
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_is_scored_and_predicts_on_a_gpu(family: str, tmp_path: Path, shared: Path) -> None:
    with standin.device("cuda"):
        folder = trained(tmp_path, shared, f"model={family}")
        again = evaluate(configuration(folder, OmegaConf.create({})).cfg, folder)
        assert largest_difference(read_scores(folder.scores), again.pairs) < 1e-6
        if family != "baselines":
            model = saltext.load(folder.root, device="cuda")
            density = model.predict(np.full((20, 30, 3), 128, np.uint8), "the white lamp")
            assert density.shape == (20, 30)
            assert density.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*module\\(s\\) in eval mode.*")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
def test_nothing_asks_for_float64_where_there_is_none(tmp_path: Path, shared: Path) -> None:
    with standin.device("mps"):
        folder = trained(tmp_path, shared, "model=clip_salgan", "training.patience=null", "loss.terms.kl=1.0")
        density = saltext.load(folder.root, device="mps").predict(np.full((20, 30, 3), 128, np.uint8), "the lamp")
        assert density.sum() == pytest.approx(1, abs=1e-5)
