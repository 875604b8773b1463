"""The command line from outside: what a user types, what lies in the folder afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from saltext.data import Split
from saltext.run_folder import RunFolder

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
pytestmark = pytest.mark.slow


def command(*arguments: str, module: str = "saltext.run") -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def saltext(*arguments: str, module: str = "saltext.run") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments, module=module), capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


def smoke(outputs: Path, name: str, *more: str) -> list[str]:
    return ["preset=smoke", f"output_dir={outputs}", f"hydra.run.dir={outputs / name}", *more]


@pytest.fixture(scope="module")
def finished(outputs: Path) -> RunFolder:
    """A run of four epochs that nothing interrupted."""
    done = saltext(*smoke(outputs, "finished", "trainer.max_epochs=4"))
    assert done.returncode == 0, done.stdout + done.stderr
    return RunFolder(outputs / "finished")


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def test_a_run_folder_holds_its_whole_record(finished: RunFolder) -> None:
    for path in (finished.config, finished.provenance, finished.split, finished.best, finished.last, finished.scores,
                 finished.table, finished.picture, finished.log, finished.result):  # fmt: skip
        assert path.stat().st_size > 0, path
    (start,) = json.loads(finished.provenance.read_text())
    assert {"packages", "commit", "cpu", "time"} <= set(start)


def test_the_score_table_has_one_row_a_test_pair_and_model(finished: RunFolder) -> None:
    scores = pd.read_csv(finished.scores, dtype={"image_id": str}, keep_default_na=False)
    tested = set(Split.load(finished.split).parts["test"])
    assert set(scores["image_id"]) == tested
    assert not scores.duplicated(["image_id", "task", "model"]).any()
    assert scores.groupby("model").size().nunique() == 1
    assert set(scores["split"]) == {"test"}
    assert scores[["cc", "sim", "kl", "nss", "auc_judd", "top20_auc"]].astype(float).notna().all().all()


def test_checkpoints_load_without_unpickling_code(finished: RunFolder) -> None:
    for path in (finished.best, finished.last):
        assert all(isinstance(v, torch.Tensor) for v in weights(path).values())


def test_evaluate_gives_the_same_numbers(finished: RunFolder) -> None:
    done = saltext(f"run={finished.root}", module="saltext.evaluate")
    assert done.returncode == 0, done.stdout + done.stderr
    own = pd.read_csv(finished.scores, dtype={"image_id": str})
    again = pd.read_csv(finished.root / "evaluation" / "scores.csv", dtype={"image_id": str})
    pd.testing.assert_frame_equal(own, again, rtol=0, atol=1e-9)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_continues_to_the_same_weights(
    finished: RunFolder, outputs: Path, number: signal.Signals
) -> None:
    folder = RunFolder(outputs / f"interrupted-{number.name}")
    front = subprocess.Popen(
        command(*smoke(outputs, folder.root.name, "trainer.max_epochs=4")),
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not folder.last.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    front.send_signal(number)
    front.communicate(timeout=60)  # returns when no process holds the pipe any more: the worker is gone, too
    assert front.returncode != 0
    assert not folder.result.exists(), "the run finished before it was interrupted"

    done = saltext(f"resume={folder.root}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continuing from" in folder.log.read_text()
    expected, resumed = weights(finished.last), weights(folder.last)
    assert expected.keys() == resumed.keys()
    for key, value in expected.items():
        assert torch.equal(value, resumed[key]), key


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data=sjtu_tis", "data.root=nowhere"], ["nowhere", "SALTEXT_DATA", "data=synthetic"]),
        (["data.tasks=[pure,salientt]"], ["salientt", "salient"]),
        (["model/blend=glue"], ["glue", "blending_net"]),
        (["preset=huge"], ["huge", "embedded"]),
        (["data.batch_size=5000"], ["5000", "batch_size"]),
        (["evaluation.test_metrics=[cc,nsss]"], ["nsss", "nss"]),
        (["resume=nowhere"], ["nowhere", "outputs"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_clear_error_before_training(outputs: Path, arguments: list[str], said: list[str]) -> None:
    resuming = arguments[0].startswith("resume=")
    chosen = [] if any(a.startswith("preset=") for a in arguments) else ["preset=smoke"]
    extra = [] if resuming else [*chosen, f"output_dir={outputs}", f"hydra.run.dir={outputs / 'mistake'}"]
    done = saltext(*extra, *arguments)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    for word in said:
        assert word in text
    assert "Traceback" not in text
    assert "epoch 1/" not in text


def test_a_checkpoint_of_another_architecture_is_named(finished: RunFolder, outputs: Path) -> None:
    done = saltext(*smoke(outputs, "other", "model/encoder=resnet50", f"checkpoint={finished.best}"))
    text = done.stdout + done.stderr
    assert done.returncode == 2
    assert str(finished.best) in text
    assert "Traceback" not in text
    assert "epoch 1/" not in text
