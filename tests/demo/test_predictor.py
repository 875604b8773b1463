"""A process that answers, refuses, is late, or breaks down."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from saltext.demo.answer import Question, answer
from saltext.demo.predictor import About, PredictionError, Predictor
from saltext.errors import CheckpointError, ConfigError, DataError
from saltext.prediction.texts import TextQuery
from tests.conftest import ROOT
from tests.demo import stub

TIMEOUT = 5.0


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    with Predictor(stub.load, TIMEOUT) as running:
        yield running


def test_it_says_which_model_it_holds(predictor: Predictor) -> None:
    conditions = ("pure", "whole", "general", "salient", "non_salient")
    assert predictor.about == About("stub", "cpu", reads_text=True, reads_condition=True, conditions=conditions)


def test_questions_are_answered_by_one_other_process(predictor: Predictor) -> None:
    first, second = (predictor.call(stub.process) for _ in range(2))
    assert first == second != os.getpid()


def test_an_answer_arrives_whole_and_its_files_are_there(tmp_path: Path) -> None:
    queries = TextQuery("left"), TextQuery("right")
    question = Question(stub.photo(tmp_path / "street.png"), 10_000, queries, tmp_path)
    with Predictor(stub.load, timeout=300) as running:  # to predict, the process imports torch first
        found = running.call(partial(answer, question=question))
    assert found.maps[0].text == "left"
    assert found.changes[0].tile.pixels.dtype == "uint8"
    assert np.load(found.maps[0].npy).shape == (40, 60)


@pytest.mark.parametrize("error", [DataError("no picture"), CheckpointError("no numbers"), OSError(28, "disk full")])
def test_a_refusal_comes_back_as_it_was_and_the_process_stays(predictor: Predictor, error: Exception) -> None:
    before = predictor.call(stub.process)
    with pytest.raises(type(error), match=str(error.args[-1])):
        predictor.call(partial(stub.refuse, error=error))
    assert predictor.call(stub.process) == before


def test_what_takes_too_long_is_stopped_and_the_next_question_is_answered(predictor: Predictor) -> None:
    before = predictor.call(stub.process)
    started = time.monotonic()
    with pytest.raises(PredictionError, match="longer than 5 s and was stopped"):
        predictor.call(stub.sleep)
    assert time.monotonic() - started < TIMEOUT + 20
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert predictor.call(stub.name) == "stub"


def test_the_process_ends_with_the_pages_own_however_that_ends(tmp_path: Path) -> None:
    line = "import sys; from tests.demo import stub; stub.call_and_sleep(sys.argv[1])"
    page = subprocess.Popen([sys.executable, "-c", line, str(tmp_path / "process")], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (tmp_path / "process").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    predicting = int((tmp_path / "process").read_text())
    page.kill()
    page.wait()
    while Path(f"/proc/{predicting}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(predicting, 0)


def test_a_process_that_breaks_down_is_replaced(predictor: Predictor) -> None:
    with pytest.raises(PredictionError, match=r"crashed \(status 3"):
        predictor.call(stub.crash)
    assert predictor.call(stub.name) == "stub"


def test_a_mistake_of_the_programs_own_ends_the_process_but_not_the_page(predictor: Predictor) -> None:
    with pytest.raises(PredictionError, match=r"crashed \(status 1"):
        predictor.call(partial(stub.refuse, error=RuntimeError("a mistake")))
    assert predictor.call(stub.name) == "stub"


def test_a_process_that_was_killed_between_questions_is_replaced(predictor: Predictor) -> None:
    os.kill(predictor.call(stub.process), signal.SIGKILL)
    with pytest.raises(PredictionError, match="status -9"):
        predictor.call(stub.name)
    assert predictor.call(stub.name) == "stub"


def test_a_model_that_cannot_be_loaded_is_refused_and_no_process_is_left() -> None:
    before = multiprocessing.active_children()
    with Predictor(stub.load_nothing, TIMEOUT) as running, pytest.raises(ConfigError, match="no such run"):
        assert running.about
    assert multiprocessing.active_children() == before


def test_no_process_outlives_the_page() -> None:
    before = multiprocessing.active_children()
    with Predictor(stub.load, TIMEOUT) as running:
        child = running.call(stub.process)
    assert multiprocessing.active_children() == before
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
