"""What only a GPU can show; skipped visibly without one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import saltext
from saltext.results.score_table import read_scores
from saltext.runs.evaluate import evaluate, largest_difference
from saltext.runs.saved import configuration
from saltext.system.run_folder import RunFolder
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
    again = evaluate(configuration(folder, OmegaConf.create({})).cfg, folder)
    assert largest_difference(read_scores(folder.scores), again.pairs) < 1e-3
    density = saltext.load(folder.root, device="cuda").predict(np.full((20, 30, 3), 128, np.uint8), "the lamp")
    assert density.sum() == pytest.approx(1, abs=1e-5)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "saltext.run", *arguments]


def started(folder: RunFolder, *overrides: str) -> list[str]:
    """By its command, since processes that communicate by NCCL, or are killed, are not this one."""
    return command(
        *SMALL, "trainer.accelerator=gpu", f"output_dir={folder.root.parent}", f"hydra.run.dir={folder.root}",
        "evaluation.baselines=[uniform]", "evaluation.text_ablation=false", *overrides,
    )  # fmt: skip


def finish(line: list[str], **environment: str) -> str:
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=900, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder.last, weights_only=True, map_location="cpu")["state_dict"]
    return state


def assert_bit_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name, value in ours.items() if not torch.equal(value, theirs[name])] == []


def test_deterministic_runs_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    one, other = (
        weights(trained(tmp_path, name, "model=tranblend", "trainer.deterministic=true")) for name in ("one", "other")
    )
    assert_bit_equal(one, other)


def test_a_killed_deterministic_run_resumes_to_the_last_bit(tmp_path: Path) -> None:
    settings = ("model=tranblend", "trainer.deterministic=true", "trainer.max_epochs=4")
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    finish(started(whole, *settings))
    front = subprocess.Popen(started(killed, *settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while not killed.last.is_file() and front.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    front.kill()
    front.communicate(timeout=180)  # returns when no process holds the pipe any more: the worker is gone, too
    assert killed.last.is_file()
    assert not killed.result.exists(), "the run finished before it was killed"
    finish(command(f"resume={killed.root}"))
    assert "continuing from" in killed.log.read_text()
    assert_bit_equal(weights(whole), weights(killed))


def test_a_process_that_communicates_by_nccl_trains_and_is_scored(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    # Also of one process: what is gathered has to lie where NCCL gathers it.
    said = finish(started(folder, "model=tranblend", "trainer=ddp", "trainer.devices=1"), NCCL_DEBUG="INFO")
    assert "NCCL INFO" in said
    again = evaluate(configuration(folder, OmegaConf.create({})).cfg, folder)
    assert largest_difference(read_scores(folder.scores), again.pairs) < 1e-3
