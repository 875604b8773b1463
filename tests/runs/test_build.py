"""What a configuration turns into, without a data set."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from omegaconf import DictConfig

from saltext.errors import ConfigError
from saltext.models.freezing import is_frozen
from saltext.models.transalnet.network import TranSalNet
from saltext.runs import build, build_training
from saltext.system.run_folder import RunFolder
from tests.small_runs import composed


def smoke(*overrides: str) -> DictConfig:
    return composed("preset=smoke", "label=test", *overrides)


def test_the_network_is_the_one_that_was_chosen() -> None:
    assert type(build.network(smoke("model=transalnet"))) is TranSalNet


def test_images_are_normalised_as_the_encoder_s_weights_expect() -> None:
    module = build_training.module(smoke())
    assert module.normalize.mean.flatten().tolist() == pytest.approx(module.network.mean)


def test_a_normalisation_of_one_s_own_wins() -> None:
    module = build_training.module(smoke("normalize=unit"))
    assert module.normalize(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).max() == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.validation_metrics=[cc,nsss]", "evaluation.*nsss.*nss"),
        ("prompt='{task}'", "prompt.*condition"),
        ("+loss.weights.ccc=1", "SaliencyLoss.*ccc"),
        ("model/decoder=small", "channels"),
    ],
)
def test_a_value_that_a_part_refuses_is_a_mistake_of_the_configuration(override: str, said: str) -> None:
    extra = ["model.channels=[1]"] if "decoder" in override else []
    with pytest.raises(ConfigError, match=said):
        build_training.module(smoke(override, *extra))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.test_metrics=[cc,nsss]", "evaluation.test_metrics.*nsss.*nss"),
        ("evaluation.paper=tranblent", "tranblend"),
        ("evaluation.baselines=[uniform,unifrom]", "unifrom.*human_pure"),
    ],
)
def test_what_scoring_would_refuse_is_refused_at_once(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build.check_evaluation(smoke(override))


def test_a_task_that_the_network_has_no_word_for_is_refused_at_once() -> None:
    conditioned = smoke("model=grounded_gaze")
    build.check_conditions(conditioned, ["pure", "salient"])
    with pytest.raises(ConfigError, match=r"\['adverts'\], but grounded_gaze.*model\.conditions=\[pure,adverts\]"):
        build.check_conditions(conditioned, ["pure", "adverts"])
    build.check_conditions(smoke(), ["adverts"])  # a network without conditions


def test_baselines_alone_need_no_network() -> None:
    assert build_training.module(smoke("model=baselines")) is None


def test_the_published_protocol_chooses_the_epoch_on_test_pairs_of_the_papers_split() -> None:
    cfg = smoke("protocol=published")
    assert cfg.data.split == {"_target_": "saltext.data.splits.PublishedTranBlend"}
    assert (cfg.data.selection_split, cfg.evaluation.monitor) == ("test", "test/cc")


def test_without_validation_images_no_epoch_is_chosen(tmp_path: Path) -> None:
    def monitors(validates: bool) -> list[str | None]:
        callbacks = build_training.trainer(smoke(), RunFolder(tmp_path), validates).callbacks  # type: ignore[attr-defined]
        return [c.monitor for c in callbacks if isinstance(c, ModelCheckpoint)]

    assert set(monitors(True)) == {None, "val/cc"}
    assert monitors(False) == [None]


def test_training_stops_early_by_the_score_that_selects_the_checkpoint_and_not_without_validation_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = smoke("callbacks=early_stopping", "evaluation.monitor=val/kl")

    def stopping(validates: bool) -> list[EarlyStopping]:
        callbacks = build_training.trainer(cfg, RunFolder(tmp_path), validates).callbacks  # type: ignore[attr-defined]
        return [callback for callback in callbacks if isinstance(callback, EarlyStopping)]

    (callback,) = stopping(validates=True)
    assert (callback.monitor, callback.mode) == ("val/kl", "min")
    assert not stopping(validates=False)
    assert "does not stop early" in caplog.text


def test_callbacks_are_combined_in_a_list_and_a_profiler_is_added(tmp_path: Path) -> None:
    chosen = "callbacks=[early_stopping,ema,learning_rate_monitor,model_summary]"
    trainer = build_training.trainer(smoke(chosen, "+trainer/profiler=simple"), RunFolder(tmp_path), validates=True)
    names = [type(callback).__name__ for callback in trainer.callbacks]  # type: ignore[attr-defined]
    assert {"EarlyStopping", "EMAWeightAveraging", "LearningRateMonitor", "RichModelSummary"} <= {*names}
    assert names.count("ModelCheckpoint") == 2
    assert type(trainer.profiler).__name__ == "SimpleProfiler"


def test_what_trains_is_compiled_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(build_training, "compile_trained", lambda network: asked.append(network) or ["decoder"])
    plain = build_training.module(smoke())
    compiled = build_training.module(smoke("compile=true"))
    assert plain is not None
    assert compiled is not None
    assert asked == [compiled.network]


def test_checkpoints_stay_in_the_run_folder(tmp_path: Path) -> None:
    trainer = build_training.trainer(smoke(), RunFolder(tmp_path), validates=True)
    for callback in trainer.checkpoint_callbacks:
        assert Path(callback.dirpath) == tmp_path / "checkpoints"  # type: ignore[attr-defined]


def test_features_of_frozen_modules_are_cached_beside_the_decoded_data(tmp_path: Path) -> None:
    where = f"data.cache_dir={tmp_path}"
    assert build_training.module(smoke(where)).network.feature_cache.folder == tmp_path / "features"
    assert build_training.module(smoke(where, "cache_features=false")).network.feature_cache is None


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=transalnet",),
        ("model=tranblend",),
        ("model=clip_salgan",),
        ("model=grounded_gaze",),
        ("model=grounded_gaze", "model/grounders=detections"),
    ],
    ids=lambda overrides: overrides[-1].rpartition("=")[2],
)
def test_frozen_modules_are_in_evaluation_mode_as_built_and_in_training(overrides: tuple[str, ...]) -> None:
    """The key of cached features has the mode: it must be the same in training and in evaluation."""
    pipeline = build.pipeline(composed("preset=smoke", *overrides))
    assert pipeline is not None
    network = pipeline.network
    frozen = [module for module in network.modules() if list(module.parameters()) and is_frozen(module)]
    for _ in range(2):
        assert [name for part in frozen for name, each in part.named_modules() if each.training] == []
        network.train()
