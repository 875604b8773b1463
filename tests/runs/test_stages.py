from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from saltext import storage
from saltext.errors import CheckpointError, ConfigError
from saltext.runs.composition import config_folder
from saltext.runs.stages import stages, weights_of
from saltext.system.run_folder import RunFolder
from tests.small_runs import composed

FOLDER = RunFolder(Path("run"))


def configuration(**given: Any) -> DictConfig:
    return OmegaConf.create(
        {
            "data": {"tasks": ["pure", "salient"]},
            "trainer": {"max_epochs": 3},
            "optimizer": {"lr": 0.1},
            "stages": {"sequence": given},
        }
    )


def test_without_stages_the_run_is_its_only_stage() -> None:
    (only,) = stages(configuration(), FOLDER)
    assert only.folder == FOLDER
    assert only.tests
    assert only.start is None
    assert only.cfg.data.tasks == ["pure", "salient"]


def test_a_stage_has_its_own_tasks_epochs_and_rate_and_the_rest_of_the_run() -> None:
    first, second = stages(
        configuration(
            warmup={"epochs": 5, "test": False},
            salient={"tasks": ["salient"], "lr": 0.01, "start": "warmup"},
        ),
        FOLDER,
    )
    assert (first.cfg.trainer.max_epochs, first.cfg.optimizer.lr, first.tests) == (5, 0.1, False)
    assert list(first.cfg.data.tasks) == ["pure", "salient"]
    assert (second.cfg.trainer.max_epochs, second.cfg.optimizer.lr, second.tests) == (3, 0.01, True)
    assert list(second.cfg.data.tasks) == ["salient"]
    assert second.start == first.folder
    assert first.folder.root == Path("run/stages/warmup")


def test_everything_wrong_with_stages_is_said_at_once() -> None:
    cfg = configuration(**{
        "a/b": {},
        "late": {"start": "later", "epochs": 0},
        "later": {"tasks": ["salientt"], "lr": -1, "epoch": 3},
    })  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        stages(cfg, FOLDER, ["pure", "salient"])
    for said in (
        "a/b: expected a name", "late: expected epochs of at least 1, got 0",
        "late: expected start to be an earlier stage (a/b), got later",
        "salientt", "later: expected lr above 0, got -1", "'epoch'",
    ):  # fmt: skip
        assert said in str(caught.value)


def test_tasks_of_data_that_are_not_at_hand_are_taken_as_they_are() -> None:
    (only,) = stages(configuration(one={"tasks": ["described"]}), FOLDER)
    assert list(only.cfg.data.tasks) == ["described"]


def test_stages_that_test_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected at least one tested stage"):
        stages(configuration(warmup={"test": False}), FOLDER)


def test_a_stage_is_tested_with_its_best_or_its_last_epoch(tmp_path: Path) -> None:
    (stage,) = stages(configuration(), RunFolder(tmp_path))
    stage.folder.checkpoints.mkdir()
    stage.folder.last.touch()
    assert weights_of(stage) == stage.folder.last
    stage.folder.best.touch()
    assert weights_of(stage) == stage.folder.best
    assert weights_of(stage, "last") == stage.folder.last


@pytest.mark.parametrize("choice", [p.stem for p in (config_folder() / "stages").glob("*.yaml")])
def test_the_stages_test_every_task_once_and_train_on_no_task_twice_in_a_stage(choice: str) -> None:
    found = stages(composed(f"stages={choice}"), FOLDER)
    tested = [task for stage in found if stage.tests for task in stage.cfg.data.tasks]
    assert sorted(tested) == sorted(["pure", "whole", "general", "salient", "non_salient"])


def test_the_paper_s_warm_up_leaves_out_the_whole_task_and_starts_every_fine_tuning() -> None:
    cfg = composed("stages=warmup_finetune", "stages.finetune_lr=1e-6", "stages.warmup_epochs=2")
    warmup, *tuned = stages(cfg, FOLDER)
    assert set(warmup.cfg.data.tasks) == {"pure", "general", "salient", "non_salient"}
    assert warmup.cfg.trainer.max_epochs == 2
    assert [stage.start for stage in tuned] == [warmup.folder] * 5
    assert {stage.cfg.optimizer.lr for stage in tuned} == {1e-6}


@pytest.mark.parametrize(("asked", "batches"), [(True, 1), (3, 3)])
@pytest.mark.parametrize("sequence", [{}, {"warmup": {"epochs": 5}}])
def test_a_fast_run_trains_a_few_batches_of_an_epoch_and_keeps_its_weights(
    asked: object, batches: int, sequence: dict[str, Any]
) -> None:
    cfg = OmegaConf.merge(configuration(**sequence), {"trainer": {"fast_dev_run": asked}})
    (stage,) = stages(cfg, FOLDER)  # type: ignore[arg-type]
    few = {"max_epochs": 1, "fast_dev_run": False, "limit_train_batches": batches, "limit_val_batches": batches}
    assert stage.cfg.trainer == few
    assert isinstance(stage.cfg.trainer.limit_train_batches, int)


def test_weights_that_are_gone_are_named_with_what_can_be_done(tmp_path: Path) -> None:
    (stage,) = stages(configuration(), RunFolder(tmp_path))
    with pytest.raises(CheckpointError, match=rf"has not finished an epoch.*resume={tmp_path}"):
        weights_of(stage)
    storage.write_json(stage.folder.finished_stage, {"tasks": ["pure"], "weights": "best.ckpt"})
    with pytest.raises(CheckpointError, match=r"no weight file .*best\.ckpt.*rerun=true") as caught:
        weights_of(stage)
    assert "--weights last" not in str(caught.value)
    stage.folder.checkpoints.mkdir()
    stage.folder.last.touch()
    with pytest.raises(CheckpointError, match=rf"best\.ckpt.*saltext evaluate {tmp_path} --weights last"):
        weights_of(stage)
    assert weights_of(stage, "last") == stage.folder.last
