"""Loader processes where there is little room for them, and when they are gone."""

import logging
import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from saltext.data import loading
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.loading import (
    PatientLoader,
    _with_described_errors,
    batch_bytes,
    explain_lost_workers,
    free_shared_memory,
    workers_that_fit,
)
from saltext.data.sources.synthetic import Synthetic
from saltext.data.transforms import single_threaded_worker
from saltext.errors import DataError

MIB = 2**20


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how many MiB of shared memory are free."""
    loading._log_once.cache_clear()
    return lambda mib: monkeypatch.setattr(loading, "free_shared_memory", lambda: mib * MIB)


# Two loaders with batches of 10 and 20 MiB: a process has two ahead of each, and two are in work: 30 x (2 n + 2) MiB.
@pytest.mark.parametrize(("mib", "fitting"), [(1000, 4), (334, 4), (333, 3), (134, 1), (133, 0), (64, 0), (0, 0)])
def test_as_many_processes_start_as_all_loaders_together_have_room_for(
    free: Callable[[float], None], mib: float, fitting: int
) -> None:
    free(mib)
    assert workers_that_fit(4, [10 * MIB, 20 * MIB]) == fitting


def test_ranks_of_one_machine_share_its_memory(free: Callable[[float], None]) -> None:
    free(390)
    assert workers_that_fit(2, [10 * MIB, 20 * MIB]) == 2
    assert workers_that_fit(2, [10 * MIB, 20 * MIB], ranks=2) == 1


def test_fewer_processes_than_asked_for_are_said_once(
    free: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    free(64)
    with caplog.at_level(logging.INFO, "saltext"):
        for _ in range(3):
            workers_that_fit(1, [39 * MIB, 50 * MIB])
    assert [record.getMessage() for record in caplog.records] == [
        "data.num_workers=1 needs 356 MiB of shared memory, and 64 MiB are free in /dev/shm: loading with no process "
        "instead (docker run --shm-size=2g gives more)"
    ]


@pytest.mark.parametrize(("longer", "fitting"), [(0, 1), (1, 0)])
def test_processes_whose_sockets_would_have_too_long_a_path_are_not_started(
    free: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    longer: int,
    fitting: int,
) -> None:
    free(1000)
    folder = "/" + (75 + longer - 1) * "t"
    monkeypatch.setattr(tempfile, "tempdir", folder)
    with caplog.at_level("INFO", "saltext"):
        assert workers_that_fit(1, [MIB]) == fitting
    expected = (
        f"data.num_workers=1 needs a folder for temporary files whose path has at most 75 bytes, got {folder}: loading "
        "with no process instead (set TMPDIR to a shorter path)"
    )
    assert [record.getMessage() for record in caplog.records] == [expected] * longer


@pytest.mark.parametrize("length", [75, 76])
def test_the_longest_folder_for_temporary_files_is_where_sockets_begin_to_fail(length: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = Path(short, "t" * (length - len(short) - 1), "pymp-12345678")
        folder.mkdir(parents=True)
        failed = nullcontext() if length == 75 else pytest.raises(OSError, match="AF_UNIX path too long")
        with failed, Listener(str(folder / "listener-12345678"), "AF_UNIX"):
            pass


def test_shared_memory_that_cannot_be_used_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(loading.sys, "platform", "linux")
    monkeypatch.setattr(loading, "_SHARED", loading.Path("/nowhere/shm"))
    assert free_shared_memory() == 0


def test_a_batch_is_as_large_as_its_tensors() -> None:
    sample = {"image": torch.zeros(3, 64, 64), "text": "a lamp", "index": 3}
    assert batch_bytes(sample, 8) >= 8 * 3 * 64 * 64 * 4
    assert batch_bytes(sample, 8) < 1.2 * 8 * 3 * 64 * 64 * 4


def test_the_loaders_of_a_run_without_room_have_no_processes_and_the_same_batches(
    data: SaliencyDataModule, free: Callable[[float], None]
) -> None:
    def loaded(mib: float) -> tuple[int, list[Tensor]]:
        free(mib)
        module = SaliencyDataModule(
            Synthetic(data.root, 20), image_size=(64, 96), map_size=(16, 24), batch_size=8, cache_dir=data.cache_dir,
            num_workers=1,
        )  # fmt: skip
        module.prepare_data()
        loaders = module.train_dataloader(), module.val_dataloader(), module.test_dataloader()
        return loaders[0].num_workers, [batch["image"] for loader in loaders for batch in loader]

    (none, without), (one, with_one) = loaded(1), loaded(1000)
    assert (none, one) == (0, 1)
    assert all(torch.equal(a, b) for a, b in zip(without, with_one, strict=True))


class Failing(Dataset[Tensor]):
    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> Tensor:
        if place == 2:
            self.fail()
        return torch.zeros(2)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stuck() -> None:
    time.sleep(20)


def full() -> None:
    raise RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)")


def reset() -> None:
    raise ConnectionResetError("the data set's own server")


def mistaken() -> None:
    raise RuntimeError("sizes of tensors must match")


def take_all(fail: Callable[[], None], sender: "Connection[Any, Any]") -> None:
    try:
        list(PatientLoader(Failing(fail), num_workers=1, timeout=3))
    except DataError as error:
        sender.send(str(error))
        os._exit(0)


@pytest.mark.parametrize("fail", [killed, stuck, full])
def test_a_loader_process_that_sends_nothing_more_ends_in_words(fail: Callable[[], None]) -> None:
    # In a process of its own, since torch raises a second time, wherever the program is, when the system reports it.
    processes = multiprocessing.get_context("fork")
    here, there = processes.Pipe()
    process = processes.Process(target=take_all, args=(fail, there))
    process.start()
    there.close()
    assert re.search(r"stopped sending.*Set data\.num_workers=0", here.recv())
    process.join()


def test_the_end_of_a_process_that_is_reported_after_its_connection_broke_is_raised_once() -> None:
    def report(*_: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    def broken() -> Iterator[Tensor]:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        raise ConnectionResetError("Connection reset by peer")
        yield

    before = signal.signal(signal.SIGALRM, report)
    try:
        with pytest.raises(DataError, match="pid 7"):
            next(_with_described_errors(broken(), from_processes=True))
    finally:
        signal.signal(signal.SIGALRM, before)


def hand_over(sender: "Connection[Any, Any]") -> None:
    loader = PatientLoader(Stuck(sender), num_workers=1, timeout=60, worker_init_fn=single_threaded_worker)
    next(iter(loader))


class Stuck(Dataset[Tensor]):
    """Says which process serves it, and never does."""

    def __init__(self, sender: "Connection[Any, Any]") -> None:
        self.sender = sender

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> Tensor:
        self.sender.send(os.getpid())
        time.sleep(60)
        raise LookupError


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes under /proc")
def test_a_stuck_loader_process_ends_with_the_training() -> None:
    processes = multiprocessing.get_context("fork")
    here, there = processes.Pipe()
    training = processes.Process(target=hand_over, args=(there,))
    training.start()
    worker = here.recv()
    training.kill()
    training.join()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and runs(worker):
        time.sleep(0.05)
    assert not runs(worker)


def runs(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_other_mistakes_of_a_data_set_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="sizes of tensors must match"):
        list(PatientLoader(Failing(mistaken), num_workers=1, timeout=60))
    for workers in (0, 1):
        with pytest.raises(ConnectionResetError, match="the data set's own server"):
            list(PatientLoader(Failing(reset), num_workers=workers, timeout=60 if workers else 0))


def test_a_connection_that_breaks_while_a_batch_is_handed_over_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Iterator[Tensor]:
        raise ConnectionResetError(104, "Connection reset by peer")
        yield

    monkeypatch.setattr(DataLoader, "__iter__", broken)
    with pytest.raises(DataError, match=r"connection to a loader process broke.*Set data\.num_workers=0"):
        list(PatientLoader(Failing(mistaken), num_workers=1, timeout=60))


def test_a_process_that_ends_while_the_network_works_is_said_as_well() -> None:
    with pytest.raises(DataError, match=r"Set data\.num_workers=0"), explain_lost_workers():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
