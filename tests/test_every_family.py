"""Every family trains, validates, tests, evaluates and predicts on a device that refuses what a GPU refuses."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

import saltext
from saltext.models.packaged_weights import EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, MINILM
from saltext.results.score_table import read_scores
from saltext.runs import build_training
from saltext.runs.evaluate import evaluate, largest_difference
from saltext.runs.saved import configuration
from saltext.system.run_folder import RunFolder
from tests import standin
from tests.small_runs import SMALL, composed, ran
from tests.training.quick_trainer import trainer
from tests.waits import Waits

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


NEEDS_PACKAGES = pytest.mark.skipif(
    any(find_spec(each.module) is None for each in (EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, MINILM)),
    reason="the extra `embedded` is not installed",
)
EMBEDDED = ("preset=embedded", "data=synthetic", "data.image_size=[128,160]", "data.map_size=[16,20]")


@pytest.mark.filterwarnings("ignore:.*module\\(s\\) in eval mode.*")
@pytest.mark.filterwarnings("ignore:.*many workers.*")
@pytest.mark.parametrize(
    "overrides",
    [
        *((*SMALL, f"model={family}") for family in FAMILIES[:4]),
        *(
            pytest.param((*EMBEDDED, f"model={family}"), marks=NEEDS_PACKAGES)
            for family in ("grounded_gaze", "tranblend")
        ),
    ],
    ids=lambda overrides: "-".join(part.rpartition("=")[2] for part in (overrides[0], overrides[-1])),
)
def test_once_features_are_cached_no_training_batch_waits_for_the_device(
    overrides: Sequence[str], tmp_path: Path
) -> None:
    places = (f"data.root={tmp_path}/data", f"data.cache_dir={tmp_path}/cache")
    cfg = composed(*overrides, *places, "data.images=8", "data.val_fraction=0", "data.batch_size=4")
    module, waits = build_training.module(cfg), Waits()
    assert module is not None
    with standin.device("cuda"):
        fitted = trainer(tmp_path, **standin.TRAINER, max_epochs=3, callbacks=[waits], limit_val_batches=0)
        fitted.fit(module, datamodule=build_training.datamodule(cfg))
    late = {place: found for place, found in waits.of_batches.items() if place[0] == 2}
    assert len(late) > 1
    last = max(late)
    assert {place: found for place, found in late.items() if found and place != last} == {}
    assert len(late[last]) <= 2, "after an epoch's last batch losses and weights are looked at, all at once"


@pytest.mark.filterwarnings("ignore:.*module\\(s\\) in eval mode.*")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
def test_nothing_asks_for_float64_where_there_is_none(tmp_path: Path, shared: Path) -> None:
    with standin.device("mps"):
        folder = trained(tmp_path, shared, "model=clip_salgan", "training.patience=null", "loss.terms.kl=1.0")
        density = saltext.load(folder.root, device="mps").predict(np.full((20, 30, 3), 128, np.uint8), "the lamp")
        assert density.sum() == pytest.approx(1, abs=1e-5)
