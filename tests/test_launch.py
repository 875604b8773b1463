import os
import subprocess
import sys
import time

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


def hang_up(worker: "subprocess.Popen[str]") -> None:
    assert worker.stdin is not None
    worker.stdin.close()  # what a killed parent's end of the pipe does


def test_a_worker_ends_when_its_parent_is_gone() -> None:
    worker = start(watched=True)
    assert worker.poll() is None
    hang_up(worker)
    assert worker.wait(10) != 0


def test_a_worker_started_by_hand_does_not_watch_its_input() -> None:
    worker = start(watched=False)
    hang_up(worker)
    time.sleep(0.5)
    still_running = worker.poll() is None
    worker.kill()
    worker.wait()
    assert still_running


def test_watching_without_a_parent_starts_no_thread(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("SALTEXT_PARENT_WATCHED", raising=False)
    import threading

    before = threading.active_count()
    watch_parent()
    assert threading.active_count() == before
