"""Runs in Python: as on the command line, to the same bits, in this process, and in nobody's way."""

import logging
import os
import pty
import random
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import saltext
from saltext.errors import ConfigError
from saltext.models.checkpoints import read_weights
from saltext.runs.api import Run
from saltext.system.run_folder import RunFolder
from tests.command_line import ENVIRONMENT, command, forking
from tests.forked import Forked
from tests.small_runs import QUICK

pytestmark = pytest.mark.slow

SALIENT = (*QUICK, "model=tranblend", "data.tasks=[salient]", "evaluation.paper=null")


def same_weights(one: Path, other: Path) -> bool:
    first, second = (read_weights(RunFolder(folder).chosen) for folder in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module", autouse=True)
def _as_many_threads_as_the_fresh_process() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(int(ENVIRONMENT["OMP_NUM_THREADS"]))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(outputs: Path) -> Run:
    return saltext.train(*SALIENT, f"output_dir={outputs}", f"hydra.run.dir={outputs}/one")


def test_a_run_has_its_folder_its_scores_and_a_model_that_predicts(run: Run, outputs: Path) -> None:
    assert run.folder == outputs / "one"
    assert RunFolder(run.folder).is_finished
    assert {"image_id", "task", "text", "model", "cc"} <= set(run.scores)
    own = run.scores[run.scores["model"] == "tranblend-token_cross_attention"]
    assert run.means().loc["salient", "cc"] == pytest.approx(own["cc"].mean())
    density = run.model.predict(np.zeros((30, 40, 3), np.uint8), "a lamp")
    assert density.shape == (30, 40)
    assert density.sum() == pytest.approx(1, abs=1e-4)


def test_a_notebook_shows_its_scores(run: Run) -> None:
    mean = f"{run.means().loc['salient', 'cc']:.3f}"
    assert mean in repr(run)
    assert mean in run._repr_html_()
    assert "<table" in run._repr_html_()


def test_a_second_run_in_a_row_and_a_fresh_process_have_the_same_bits(run: Run, outputs: Path) -> None:
    again = saltext.train(*SALIENT, f"output_dir={outputs}", f"hydra.run.dir={outputs}/two")
    assert same_weights(run.folder, again.folder)
    pd.testing.assert_frame_equal(run.scores, again.scores)
    done = command(*SALIENT, f"output_dir={outputs}", "name=fresh", "-m")  # its worker
    assert done.returncode == 0, done.stdout + done.stderr
    (fresh,) = (outputs / "fresh").glob("*/config.yaml")
    assert same_weights(run.folder, fresh.parent)


def test_what_a_run_changes_in_its_process_is_put_back(outputs: Path) -> None:
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    expected = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    filters, environment = list(warnings.filters), dict(os.environ)
    handlers = list(logging.getLogger("saltext").handlers)
    saltext.train(*SALIENT, "data.images=24", f"output_dir={outputs}", f"hydra.run.dir={outputs}/three")
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected
    assert warnings.filters == filters
    assert dict(os.environ) == environment
    assert logging.getLogger("saltext").handlers == handlers


def test_a_run_is_scored_again_to_the_same_scores(run: Run) -> None:
    again = saltext.evaluate(run)
    assert again.scored == run.folder / "evaluation"
    columns = ["cc", "kl", "nss"]
    np.testing.assert_allclose(again.scores[columns], run.scores[columns], atol=1e-6)
    with pytest.raises(ConfigError, match="mirorr"):
        saltext.evaluate(run, "evaluation.mirorr=true")


def test_mistakes_are_errors_and_leave_nothing(tmp_path: Path) -> None:
    for overrides, said in (
        (["sede=3"], "did you mean 'seed'"),
        (["seed=0,1"], "needs -m"),
        (["+experiment=fixrate_ablation"], "use the command for a sweep"),
    ):
        with pytest.raises(ConfigError, match=said):
            saltext.train("preset=smoke", f"output_dir={tmp_path}/outputs", *overrides)
    assert not list(tmp_path.iterdir())


STEPPED = """
import sys
import saltext
from saltext.training.supervised import SupervisedModule

inner = SupervisedModule.training_step

def stopped(self, batch, number):
    breakpoint()
    return inner(self, batch, number)

SupervisedModule.training_step = stopped
saltext.train(*sys.argv[1:])
"""


def test_training_step_can_be_stepped_through_with_pdb_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "stepped.py").write_text(STEPPED)
    terminal, inside = pty.openpty()
    words = ["stepped", *SALIENT, f"output_dir={tmp_path}"]
    process = Forked(forking(), words, str(tmp_path), {**os.environ, **ENVIRONMENT, "TERM": "dumb"}, [inside] * 3)
    os.close(inside)
    said = ""

    def reply(answer: str) -> None:
        nonlocal said
        before, until = said.count("(Pdb) "), time.monotonic() + 120
        while said.count("(Pdb) ") == before:
            assert time.monotonic() < until, said
            said += os.read(terminal, 4096).decode(errors="replace")
        os.write(terminal, f"{answer}\n".encode())

    reply("p 'number is', number")
    reply("step")
    reply("next")
    reply("p type(self).__name__")
    reply("quit")
    assert process.wait(60) != 0
    os.close(terminal)
    assert re.search(r"'number is', 0", said)
    assert "SupervisedModule" in said
