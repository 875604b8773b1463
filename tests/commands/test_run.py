"""The command line from outside: what a user types, what lies in the folder afterwards."""

import json
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from saltext.data.sources.synthetic import Synthetic
from saltext.data.splits import Split
from saltext.results.score_table import pooled, read_scores
from saltext.system.run_folder import RunFolder, finished_runs
from tests.command_line import command, start

pytestmark = pytest.mark.slow


def smoke(outputs: Path, name: str, *more: str) -> list[str]:
    return ["preset=smoke", f"output_dir={outputs}", f"hydra.run.dir={outputs / name}", *more]


@pytest.fixture(scope="module")
def finished(outputs: Path) -> RunFolder:
    """A run of four epochs that nothing interrupted."""
    done = command(*smoke(outputs, "finished", "trainer.max_epochs=4"))
    assert done.returncode == 0, done.stdout + done.stderr
    return RunFolder(outputs / "finished")


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def test_a_run_folder_holds_its_whole_record(finished: RunFolder) -> None:
    for path in (finished.config, finished.provenance, finished.split, finished.best, finished.last, finished.scores,
                 finished.text_ablation_scores, finished.text_ablation_table, finished.table, finished.picture,
                 finished.log, finished.result):  # fmt: skip
        assert path.stat().st_size > 0, path
    (start,) = json.loads(finished.provenance.read_text())
    assert {"packages", "commit", "cpu", "time"} <= set(start)


def test_the_score_table_has_one_row_a_test_pair_and_model(finished: RunFolder) -> None:
    scores = pd.read_csv(finished.scores, dtype={"image_id": str}, keep_default_na=False)
    tested = set(Split.load(finished.split).parts["test"])
    assert set(scores["image_id"]) == tested
    assert not scores.duplicated(["image_id", "task", "model", "protocol"]).any()
    assert set(scores["split"]) == {"test"}
    assert set(scores["model"]) > {"uniform map", "centre prior", "split-half fixations"}
    standard = scores[scores["protocol"] == "standard"]
    metrics = ["cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig", "top20_auc"]
    assert standard[metrics].astype(float).notna().all().all()


def test_checkpoints_load_without_unpickling_code(finished: RunFolder) -> None:
    for path in (finished.best, finished.last):
        assert all(isinstance(v, torch.Tensor) for v in weights(path).values())


def test_evaluate_gives_the_same_numbers(finished: RunFolder) -> None:
    done = command("evaluate", str(finished.root), module="saltext")
    assert done.returncode == 0, done.stdout + done.stderr
    own = pd.read_csv(finished.scores, dtype={"image_id": str})
    again = pd.read_csv(finished.root / "evaluation" / "scores.csv", dtype={"image_id": str})
    pd.testing.assert_frame_equal(own, again, rtol=0, atol=1e-9)


def test_two_processes_score_seven_pairs_like_one(outputs: Path) -> None:
    seven = ["data.images=70", "data.tasks=[whole]", f"data.root={outputs / 'seventy'}", "trainer.max_epochs=1"]
    done = command(*smoke(outputs, "seven", *seven))
    assert done.returncode == 0, done.stdout + done.stderr
    folder = RunFolder(outputs / "seven")
    done = command("evaluate", str(folder.root), "trainer.devices=2", "trainer.strategy=ddp", module="saltext")
    assert done.returncode == 0, done.stdout + done.stderr
    own, again = (read_scores(path) for path in (folder.scores, folder.root / "evaluation" / "scores.csv"))
    assert len(own[(own["model"] == "uniform map") & (own["protocol"] == "standard")]) == 7
    pd.testing.assert_frame_equal(own, again, rtol=0, atol=1e-6)


def test_a_cross_validation_is_one_command_that_ends_with_one_table(outputs: Path) -> None:
    folder = outputs / "folds"
    done = command(
        "preset=smoke", "+experiment=folds", f"output_dir={outputs}", f"hydra.sweep.dir={folder}", "data.folds=2",
        "data.fold=0,1", "data.batch_size=4", "trainer.max_epochs=1", "data.tasks=[salient]", "evaluation.paper=null",
        "evaluation.baselines=[uniform]", "evaluation.text_ablation=false", "-m",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    scores = pooled(finished_runs(folder))
    ours = scores[scores["model"] != "uniform map"]
    assert ours["run"].nunique() == 2
    assert not ours.duplicated("image_id").any()
    assert len(ours) == 12  # every image of the set is tested once
    assert "mean of their means" in done.stdout


def test_the_papers_sizes_run_a_step_of_training_and_of_testing(outputs: Path) -> None:
    pairs = Synthetic(outputs / "synthetic-smoke", images=24).read().pairs
    ids = sorted({pair.image_id for pair in pairs if pair.task == "non_salient"})
    parts = {"train": tuple(ids[:2]), "val": (), "test": tuple(ids[2:4])}
    Split("by hand", 0, "image", parts).save(outputs / "few.json")
    done = command(
        "preset=paper", "data=synthetic_smoke", f"output_dir={outputs}", f"hydra.run.dir={outputs / 'paper'}",
        "data/split=file", f"data.split.path={outputs / 'few.json'}", "data.tasks=[non_salient]", "data.batch_size=2",
        "data.num_workers=0", "trainer.max_epochs=1", "evaluation.baselines=[]", "evaluation.text_ablation=false",
        "evaluation.pictures=0", "+callbacks.last.save_weights_only=true",  # Adam's moments are 1 GB
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    table = {cells[0]: cells[1:] for line in done.stdout.splitlines() if (cells := line.replace("│", " ").split())}
    assert table["text"][:2] == ["12", "10"]  # BLIP's fix rate of .9
    assert table["vision"][:2] == ["24", "21"]
    assert table["encoder"][:2] == ["7", "0"]
    assert len(read_scores(outputs / "paper" / "scores.csv")) == 2 * 2  # pairs, protocols


def test_baselines_alone_are_a_run_without_training(outputs: Path) -> None:
    done = command(*smoke(outputs, "baselines", "model=baselines"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch 1/" not in done.stdout
    assert not (outputs / "baselines" / "checkpoints").exists()
    scores = read_scores(outputs / "baselines" / "scores.csv")
    assert scores["model"].nunique() == 6


def test_other_baselines_than_the_run_s_are_scored_and_not_compared(finished: RunFolder) -> None:
    done = command("evaluate", str(finished.root), "evaluation.baselines=[]", module="saltext")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not compared with the original scores" in done.stdout
    assert read_scores(finished.root / "evaluation" / "scores.csv")["model"].nunique() == 1


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 240
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.is_file(), path


# What comes after the training does not change its weights.
SCORED_BRIEFLY = (
    "evaluation.paper=null", "evaluation.baselines=[]", "evaluation.text_ablation=false", "evaluation.pictures=0",
)  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_continues_to_the_same_weights(
    finished: RunFolder, outputs: Path, number: signal.Signals
) -> None:
    folder = RunFolder(outputs / f"interrupted-{number.name}")
    front = start(*smoke(outputs, folder.root.name, "trainer.max_epochs=4", *SCORED_BRIEFLY))
    wait_for(folder.last)
    front.send_signal(number)
    done = front.finish(180)
    assert done.returncode == (143 if number is signal.SIGTERM else -number)
    assert not folder.result.exists(), "the run finished before it was interrupted"

    done = command(f"resume={folder.root}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continuing from" in folder.log.read_text()
    expected, resumed = weights(finished.last), weights(folder.last)
    assert expected.keys() == resumed.keys()
    for key, value in expected.items():
        assert torch.equal(value, resumed[key]), key


STAGES = (
    "stages=warmup_finetune",
    "trainer.max_epochs=2",
    "evaluation.paper=null",
    "evaluation.baselines=[uniform]",
    "evaluation.pictures=0",
)


def test_a_killed_run_of_stages_repeats_nothing_that_was_finished(outputs: Path) -> None:
    folder = RunFolder(outputs / "stages")
    front = start(*smoke(outputs, "stages", *STAGES))
    wait_for(folder.stage("salient").last)  # inside the third stage
    front.send_signal(signal.SIGKILL)
    front.finish(180)
    before = {path: path.stat().st_mtime_ns for path in folder.root.glob("stages/*/checkpoints/best.ckpt")}
    finished = [p.parent.name for p in folder.root.glob("stages/*/stage.json")]
    assert {"warmup", "non_salient"} <= set(finished)

    done = command(f"resume={folder.root}")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("warmup", "non_salient"):
        path = folder.stage(name).best
        assert path.stat().st_mtime_ns == before[path], f"{name} was trained again"
    assert done.stdout.count("epoch 1/") <= 4  # salient, unless its first epoch was done, general, whole, pure
    ours = read_scores(folder.scores).query("model != 'uniform map'")
    assert not ours.duplicated(["image_id", "task"]).any()
    assert ours["task"].nunique() == 5

    # No test image of any task was seen in any stage, by the run's own records.
    tested = set(ours["image_id"])
    for name in ("warmup", "non_salient", "salient", "general", "whole", "pure"):
        trained = json.loads(folder.stage(name).finished_stage.read_text())["trained_on"]
        assert trained
        assert not tested & {pair.partition("_")[0] for pair in trained}, name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data=sjtu_tis", "data.root=nowhere"], ["nowhere", "SALTEXT_DATA", "data=synthetic"]),
        (["data.tasks=[pure,salientt]"], ["salientt", "salient"]),
        (["model/blend=glue"], ["glue", "blending_net"]),
        (["model/backbones=lite0"], ["model/backbones", "model=tranblend", "model/blend", "model=grounded_gaze"]),
        (["model=grounded_gaze", "model/freeze=half"], ["model/backbones", "model=tranblend and model=transalnet"]),
        (["model/glue=none"], ["model/glue", "no such group"]),
        (["preset=huge"], ["huge", "embedded"]),
        (["data.batch_size=0"], ["data.batch_size", "got 0"]),
        (["evaluation.test_metrics=[cc,nsss]"], ["nsss", "nss"]),
        (["stages=warmup_finetune", "stages.warmup_epochs=0"], ["warmup", "epochs=0"]),
        (["evaluation.baselines=[centre]"], ["centre", "centre_prior"]),
        (["resume=nowhere"], ["nowhere", "outputs"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_clear_error_before_training(outputs: Path, arguments: list[str], said: list[str]) -> None:
    resuming = arguments[0].startswith("resume=")
    chosen = [] if any(a.startswith("preset=") for a in arguments) else ["preset=smoke"]
    extra = [] if resuming else [*chosen, f"output_dir={outputs}", f"hydra.run.dir={outputs / 'mistake'}"]
    done = command(*extra, *arguments)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    for word in said:
        assert word in text
    assert "Traceback" not in text
    assert "epoch 1/" not in text


def test_a_checkpoint_of_another_architecture_is_named(finished: RunFolder, outputs: Path) -> None:
    done = command(*smoke(outputs, "other", "model/encoder=resnet50", f"checkpoint={finished.best}"))
    text = done.stdout + done.stderr
    assert done.returncode == 2
    assert str(finished.best) in text
    assert "Traceback" not in text
    assert "epoch 1/" not in text
