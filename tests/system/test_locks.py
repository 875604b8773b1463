"""Locks, also on file systems that know none."""

import errno
import fcntl
import logging
import multiprocessing
import os
from pathlib import Path

import pytest
from filelock import Timeout
from omegaconf import OmegaConf

from saltext.errors import ConfigError
from saltext.runs.jobs import held, status
from saltext.runs.launch import gpus_from_pool
from saltext.system import locks
from saltext.system.locks import locked
from saltext.system.run_folder import RunFolder


@pytest.fixture(params=[None, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with locks, and those that answer one of these errors."""
    locks._say_once.cache_clear()
    number = request.param
    if number is not None:

        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("file_system")
def test_a_lock_is_held_by_one_and_free_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "lock", timeout=0), pytest.raises(Timeout), locked(tmp_path / "lock", timeout=0):
            pass


def _take(path: Path) -> None:
    with locked(path, timeout=0):
        os._exit(0)  # as if killed


@pytest.mark.usefixtures("file_system")
def test_a_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_take, args=(tmp_path / "lock",))
    process.start()
    process.join()
    with locked(tmp_path / "lock", timeout=30):
        pass


@pytest.mark.usefixtures("file_system")
def test_a_run_folder_and_gpus_have_one_user_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    OmegaConf.save({}, folder.config)
    with held(folder, wait=False):
        assert status(folder) == "running"
        with pytest.raises(ConfigError, match="Another process is running"), held(folder, wait=False):
            pass
    assert status(folder) == "interrupted"
    with gpus_from_pool(1, ["0", "1"]) as one, gpus_from_pool(1, ["0", "1"]) as two:
        assert one != two


def test_a_file_system_without_locks_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    locks._say_once.cache_clear()

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with locked(tmp_path / "lock", timeout=0):
                pass
    (said,) = caplog.messages
    assert f"{tmp_path} is on a file system without locks" in said


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(ConfigError, match=r"cannot be written to \(Read-only file system\): choose another folder"),
        held(RunFolder(tmp_path), wait=True),
    ):
        pass
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConfigError, match=r"Jobs cannot share the GPUs.*Set TMPDIR"), gpus_from_pool(1, ["0"]):
        pass
