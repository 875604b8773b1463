import os
import subprocess
import sys
import threading
import time

import pytest

from saltext.launch import watch_parent

WORKER = "import time; from saltext.launch import watch_parent; watch_parent(); print('up', flush=True); time.sleep(60)"


def start(watched: bool) -> "subprocess.Popen[str]":
    environment = {**os.environ, "SALTEXT_PARENT_WATCHED": "1" if watched else ""}
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "up\n"
    return worker


def reap(worker: "subprocess.Popen[str]") -> int:
    assert worker.stdout is not None
    with worker.stdout:
        return worker.wait(10)


def hang_up(worker: "subprocess.Popen[str]") -> None:
    assert worker.stdin is not None
    worker.stdin.close()  # what a killed parent's end of the pipe does


def test_a_worker_ends_when_its_parent_is_gone() -> None:
    worker = start(watched=True)
    assert worker.poll() is None
    hang_up(worker)
    assert reap(worker) != 0


def test_a_worker_started_by_hand_does_not_watch_its_input() -> None:
    worker = start(watched=False)
    hang_up(worker)
    time.sleep(0.5)
    still_running = worker.poll() is None
    worker.kill()
    reap(worker)
    assert still_running


def test_watching_without_a_parent_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALTEXT_PARENT_WATCHED", raising=False)
    before = threading.active_count()
    watch_parent()
    assert threading.active_count() == before
