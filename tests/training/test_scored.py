import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.sources.synthetic import Synthetic
from saltext.evaluation.evaluator import Evaluator
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.protocols import PAPERS, standard
from saltext.metrics import CC
from saltext.training import EvaluatorModule, ScoredModule
from saltext.training.callbacks import EpochScores
from tests import standin
from tests.command_line import command
from tests.conftest import ROOT
from tests.training.quick_trainer import trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


class Brightness(ScoredModule):
    """The image's brightness; notes where the fields of the batches lie that it is given."""

    def __init__(self) -> None:
        super().__init__(["cc", "nss"])
        self.layer = nn.Conv2d(3, 1, 4, stride=4)
        self.seen: dict[str, set[str]] = {}

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        for name, value in batch.items():
            values = value if isinstance(value, list) else [value]
            self.seen.setdefault(name, set()).update(v.device.type for v in values if isinstance(v, Tensor))
        return batch["image"].float().mean(1, keepdim=True) / 255

    def training_step(self, batch: Mapping[str, Any], batch_index: int) -> Tensor:
        self.saliency(batch)
        return self.layer(batch["image"] / 255).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def validated(data: SaliencyDataModule, folder: Path, **device: Any) -> tuple[Brightness, dict[str, float]]:
    model, used = Brightness(), trainer(folder, limit_train_batches=1, **device)
    used.fit(model, datamodule=data)
    return model, {name: float(value) for name, value in used.callback_metrics.items()}


def scores_of(data: SaliencyDataModule, folder: Path, **device: Any) -> Any:
    model = Brightness()
    evaluator = Evaluator()
    for protocol in (standard(["cc", "nss"]), PAPERS["tranblend"], PAPERS["clip_salgan"]):
        evaluator.add("brightness", ModelPredictor(model.predict_saliency), protocol)
    scored = EvaluatorModule(evaluator, data.pairs, model)
    trainer(folder, **device).test(scored, datamodule=data, verbose=False)
    return scored.scores


def test_what_a_network_reads_is_moved_and_truth_stays_where_it_was_made(
    data: SaliencyDataModule, tmp_path: Path
) -> None:
    with standin.device("cuda"):
        model, _ = validated(data, tmp_path, **standin.TRAINER)
    assert all(model.seen[name] == {"cuda"} for name in ("image", "density", "fixations"))
    assert all(model.seen[name] == {"cpu"} for name in ("index", "box", "size", "native_density", "native_points"))


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_s_validation_and_test_scores_are_the_cpu_s(
    data: SaliencyDataModule, tmp_path: Path, kind: str
) -> None:
    expected, scores = validated(data, tmp_path)[1], scores_of(data, tmp_path)
    with standin.device(kind):
        assert validated(data, tmp_path, **standin.TRAINER)[1] == pytest.approx(expected, abs=1e-6)
        found = scores_of(data, tmp_path, **standin.TRAINER)
    columns = list(scores.select_dtypes("number"))
    assert len(columns) >= 6
    for name in columns:
        assert found[name].to_numpy() == pytest.approx(scores[name].to_numpy(), abs=1e-6, nan_ok=True)


def few(folder: Path, **more: Any) -> SaliencyDataModule:
    source = Synthetic(folder / "data", images=20)
    sizes: dict[str, Any] = {"image_size": (32, 48), "map_size": (16, 24), "batch_size": 4}
    return SaliencyDataModule(source, **sizes, cache_dir=folder / "cache", **more)


def test_of_two_splits_scored_after_an_epoch_each_is_logged_and_their_pairs_are_kept(tmp_path: Path) -> None:
    alone = validated(few(tmp_path), tmp_path)[1]
    model, logged = validated(few(tmp_path, epoch_splits=["val", "test"]), tmp_path)
    assert {name: logged[name] for name in alone} == pytest.approx(alone, abs=1e-6)
    scores = model.epoch_scores
    for part in ("val", "test"):
        of_part = scores[scores["split"] == part]
        assert len(of_part) == len(few(tmp_path).indices(part))
        assert logged[f"{part}/cc"] == pytest.approx(of_part.groupby("task")["cc"].mean().mean())


def test_the_scores_of_single_pairs_are_kept_epoch_by_epoch_and_a_resumed_epoch_replaces_its_own(
    tmp_path: Path,
) -> None:
    def epochs(count: int) -> pd.DataFrame:
        model = Brightness()
        used = trainer(tmp_path, limit_train_batches=1, max_epochs=count, callbacks=[EpochScores()])
        used.fit(model, datamodule=few(tmp_path, epoch_splits=["val", "test"]))
        return pd.read_csv(tmp_path / "epoch_scores.csv", dtype={"image_id": str})

    pairs = len(few(tmp_path).indices("val")) + len(few(tmp_path).indices("test"))
    table = epochs(2)
    assert list(table) == ["epoch", "split", "task", "image_id", "cc", "nss"]
    assert table.groupby("epoch").size().to_dict() == {0: pairs, 1: pairs}
    assert not table.duplicated(["epoch", "task", "image_id"]).any()
    assert set(epochs(1)["epoch"]) == {0}  # a training from the start leaves nothing of an earlier one


def train_and_score_as_one_of_two(rank: int, folder: Path) -> None:
    with standin.one_of_two(rank, folder / "meeting"):
        model, logged = validated(few(folder), folder, **standin.TRAINER)
        scores = scores_of(few(folder), folder, **standin.TRAINER)
        weights = {name: value.cpu() for name, value in model.state_dict().items()}
    scores.to_pickle(folder / f"{rank}.pkl")
    torch.save({"logged": logged, "weights": weights}, folder / f"{rank}.pt")


@pytest.mark.slow
def test_all_that_two_processes_gather_lies_on_their_devices_and_gives_the_scores_of_one(tmp_path: Path) -> None:
    logged, scores = validated(few(tmp_path), tmp_path)[1], scores_of(few(tmp_path), tmp_path)
    done = command(str(tmp_path), module="tests.training.test_scored", cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert ranks[0]["logged"] == pytest.approx(logged, abs=1e-6)
    torch.testing.assert_close(ranks[0]["weights"], ranks[1]["weights"], rtol=0, atol=0)
    for rank in range(2):
        pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / f"{rank}.pkl"), scores, atol=1e-6)


def test_scores_stay_float64_on_every_device() -> None:
    maps = torch.rand(2, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    for kind, place in (("cuda", "cuda"), ("mps", "cpu")):
        with standin.device(kind) as device:
            metric = CC().to(device)
            metric.update(pred=maps.to(device), density=maps.flip(0).to(device), ids=torch.arange(2))
            metric.reset()
            metric.update(pred=maps.to(device), density=maps.to(device), ids=torch.arange(2))
            assert metric.device.type == metric.compute().device.type == place
            assert metric.compute().dtype == torch.float64
            assert float(metric.compute()) == pytest.approx(1)


if __name__ == "__main__":  # in a process of its own, which has no thread yet and may be forked
    torch.multiprocessing.start_processes(
        train_and_score_as_one_of_two, (Path(sys.argv[1]),), nprocs=2, start_method="fork"
    )
