"""preset=aligned from composing to its tables and on, with tiny random models in place of those on the hub.

The hub's names and commits are those of the preset; where they would be fetched, folders of tiny models of the same
classes are given.
"""

import copy
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from transformers import CLIPSegForImageSegmentation, GroundingDinoForObjectDetection, Owlv2ForObjectDetection

import saltext
from saltext.errors import ConfigError
from saltext.models import hub
from saltext.models.grounding import clipseg, grounding_dino, owlv2
from saltext.results.score_table import read_scores
from saltext.runs import build_training, trust
from saltext.runs.evaluate import evaluate, largest_difference
from saltext.runs.export import export
from saltext.runs.saved import configuration
from saltext.runs.train import train_and_test
from saltext.system.run_folder import RunFolder
from tests import standin
from tests.models import tiny_pretrained
from tests.small_runs import composed, ran

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*module\\(s\\) in eval mode.*"),  # frozen on purpose
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),  # two batches
]

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
TRANSFORMERS = {
    "IDEA-Research/grounding-dino-tiny": "grounding_dino",
    "google/owlv2-base-patch16-ensemble": "owlv2",
    "CIDAS/clipseg-rd64-refined": "clipseg",
}
TIMM = ("test_vit.r160_in1k", "test_convnext.r160_in1k")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLIP = str(tiny_pretrained.CLIP).replace("'", "").replace(" ", "")
SMALL = (
    "preset=aligned", "model/grounders=aligned_four", "data=synthetic_smoke", "data.images=8",
    "data.val_fraction=0.3", "data.tasks=[pure,salient]",
    "data.image_size=[64,96]", "data.map_size=[8,12]", "data.batch_size=4", "data.eval_batch_size=2",
    "data.num_workers=0", "trainer.max_epochs=2", "evaluation.pictures=0", "evaluation.text_ablation=false",
    "evaluation.baselines=[uniform]", "evaluation.paper=null", "evaluation.test_metrics=[cc]", "model.width=16",
    "model.layers=1", "model.heads=2", "model.grid=[2,3]",
    f"model.backbones.dinov3.encoder.name={TIMM[0]}", f"model.backbones.dinov3.encoder.revision={COMMIT}",
    f"model.backbones.clip_convnext.encoder.name={TIMM[1]}", f"model.backbones.clip_convnext.encoder.revision={COMMIT}",
    f"model.text_encoder.name={CLIP}", "model.text_encoder.weights=clip.pt", "model.text_encoder.revision=null",
    f"model.grounders.clip_dense.name={CLIP}", "model.grounders.clip_dense.weights=clip.pt",
    "model.grounders.clip_dense.revision=null", "model.grounders.clip_dense.image_size=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with tiny models, by the hub's names."""
    root = tmp_path_factory.mktemp("hub")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = {name: getattr(tiny_pretrained, kind)(root / kind) for name, kind in TRANSFORMERS.items()}
        for name in TIMM:
            found[f"timm/{name}"] = root / name
            (root / name).mkdir()
            save_file(timm.create_model(name.partition(".")[0]).state_dict(), root / name / "model.safetensors")
        tiny_pretrained.clip(root / "clip.pt")
    return found


@pytest.fixture
def fetched(repositories: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """What was asked of the hub, name and commit; the working directory has CLIP's weights."""
    asked: set[tuple[str, str]] = set()

    def snapshot(name: str, revision: str, **given: Any) -> str:
        asked.add((name, revision))
        return str(repositories[name])

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    monkeypatch.chdir(next(iter(repositories.values())).parent)
    return asked


class Interrupt(L.Callback):
    """Ends a run in its second epoch."""

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


def test_a_run_trains_is_evaluated_exported_predicts_and_resumes(
    fetched: set[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = (f"data.root={tmp_path}/data", f"data.cache_dir={tmp_path}/cache")
    folder = ran(RunFolder(tmp_path / "run"), *SMALL, *shared)
    cfg = OmegaConf.load(folder.config)
    pinned = {(node.weights, node.revision) for node in cfg.model.grounders.values() if node.weights in TRANSFORMERS}
    assert len(pinned) == 3
    assert fetched == {*pinned, *((f"timm/{name}", COMMIT) for name in TIMM)}

    weights = torch.load(folder.last, weights_only=True)["state_dict"]
    assert not [key for key in weights if ".grounders." in key or "text_encoder" in key]  # the hub has them
    again = evaluate(configuration(folder, OmegaConf.create({})).cfg, folder)
    assert largest_difference(read_scores(folder.scores), again.pairs) < 1e-6

    wanted = saltext.load(folder.root).predict(PHOTO, "there is a red circle on the table")
    other = saltext.load(folder.root).predict(PHOTO, "the small blue square")
    assert wanted.sum() == pytest.approx(1, abs=1e-5)
    assert not np.array_equal(wanted, other)
    made = export(folder.root, tmp_path / "export", half=False)
    with pytest.raises(ConfigError, match=r"grounding_dino\.weights='IDEA-Research/grounding-dino-tiny' leads to a lo"):
        saltext.load(made.root)
    exported = saltext.load(made.root, trust=True).predict(PHOTO, "there is a red circle on the table")
    assert np.array_equal(exported, wanted)

    interrupted = RunFolder(tmp_path / "interrupted")
    interrupted.root.mkdir()
    same = composed(*SMALL, *shared)
    trust.write(same, interrupted)
    build = build_training.trainer

    def interrupting(*given: Any, **options: Any) -> L.Trainer:
        trainer = build(*given, **options)
        trainer.callbacks.append(Interrupt())
        return trainer

    monkeypatch.setattr(build_training, "trainer", interrupting)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_and_test(same, interrupted)
    monkeypatch.setattr(build_training, "trainer", build)
    assert interrupted.last.is_file()
    assert not interrupted.result.exists()
    train_and_test(same, interrupted)
    resumed = torch.load(interrupted.last, weights_only=True)["state_dict"]
    assert resumed.keys() == weights.keys()
    assert all(torch.equal(value, resumed[key]) for key, value in weights.items())


@pytest.fixture
def read_elsewhere(repositories: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers makes a model on ``meta`` before it reads the weights, which is where the stand-in lies."""
    kinds: dict[Any, Any] = {
        clipseg: CLIPSegForImageSegmentation,
        owlv2: Owlv2ForObjectDetection,
        grounding_dino: GroundingDinoForObjectDetection,
    }
    for module, kind in kinds.items():
        (name,) = (name for name, module_name in TRANSFORMERS.items() if module.__name__.endswith(f".{module_name}"))
        loaded = module.load_pretrained(kind, repositories[name], None)
        monkeypatch.setattr(module, "load_pretrained", lambda *_, loaded=loaded: copy.deepcopy(loaded))


@pytest.mark.usefixtures("fetched", "read_elsewhere")
def test_it_trains_is_scored_and_predicts_on_a_gpu(tmp_path: Path) -> None:
    with standin.device("cuda"):
        folder = ran(
            RunFolder(tmp_path / "run"), *SMALL, "trainer.max_epochs=1", f"data.root={tmp_path}/data",
            f"data.cache_dir={tmp_path}/cache", "trainer.accelerator=standin", "trainer.strategy=standin",
        )  # fmt: skip
        again = evaluate(configuration(folder, OmegaConf.create({})).cfg, folder)
        assert largest_difference(read_scores(folder.scores), again.pairs) < 1e-6
        density = saltext.load(folder.root, device="cuda").predict(PHOTO, "there is a red circle on the table")
        assert density.sum() == pytest.approx(1, abs=1e-5)
