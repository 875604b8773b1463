import errno
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saltext.data.keys import ImageSource
from saltext.models import feature_file
from saltext.models.feature_cache import FeatureCache
from saltext.models.freezing import freeze
from tests.models.cached_features import HEAD, RECORD, Two, check, features


@pytest.fixture
def module() -> Two:
    torch.manual_seed(0)
    return freeze(Two())


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.features")
    return path


def change(path: Path, how: Callable[[bytearray], object]) -> None:
    content = bytearray(path.read_bytes())
    how(content)
    path.write_bytes(content)


# What happens to the files


def damaged(content: bytearray) -> None:
    content[HEAD + 100] ^= 1


def damaged_tail(content: bytearray) -> None:
    content[HEAD + 32 + 579] ^= 0x80


def damaged_text(content: bytearray) -> None:
    content[HEAD + 20] ^= 1


def cut(content: bytearray) -> None:
    del content[HEAD + 300 :]


def cut_to_nothing(content: bytearray) -> None:
    content.clear()


def zeroed(content: bytearray) -> None:
    content[HEAD:] = bytes(len(content) - HEAD)


def zeroed_head(content: bytearray) -> None:
    content[:HEAD] = bytes(HEAD)


def nonsense_head(content: bytearray) -> None:
    content[12:HEAD] = b"\xff" * (HEAD - 12)


def swapped(content: bytearray) -> None:
    first, second = content[HEAD : HEAD + RECORD], content[HEAD + 2 * RECORD : HEAD + 3 * RECORD]
    content[HEAD : HEAD + RECORD], content[HEAD + 2 * RECORD : HEAD + 3 * RECORD] = second, first


@pytest.mark.parametrize(
    "damage",
    [damaged, damaged_tail, damaged_text, cut, cut_to_nothing, zeroed, zeroed_head, nonsense_head, swapped],
)
def test_a_damaged_file_is_repaired(module: Two, tmp_path: Path, damage: Callable[[bytearray], None]) -> None:
    features(module, FeatureCache(tmp_path), [0, 1])
    change(the_file(tmp_path), damage)
    check(features(module, FeatureCache(tmp_path), [1, 0]), module, [1, 0])
    mended = len(module.runs)
    assert mended > 2
    check(features(module, FeatureCache(tmp_path), [1, 0]), module, [1, 0])
    assert len(module.runs) == mended


def test_a_file_cut_while_it_is_open_is_computed_again(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    features(module, cache, [0, 1])
    os.truncate(the_file(tmp_path), HEAD + 100)
    check(features(module, cache, [0, 1]), module, [0, 1])
    the_file(tmp_path).unlink()
    check(features(module, cache, [0, 1, 2]), module, [0, 1, 2])


def test_the_file_of_other_data_is_not_taken_under_a_wrong_name(module: Two, tmp_path: Path) -> None:
    features(module, FeatureCache(tmp_path / "one"), [0, 1])
    features(module, FeatureCache(tmp_path / "other"), [0, 1], ImageSource("changed", 8), seed=2)
    the_file(tmp_path / "one").write_bytes(the_file(tmp_path / "other").read_bytes())
    check(features(module, FeatureCache(tmp_path / "one"), [0, 1]), module, [0, 1])


def in_the_way_of_the_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("no folder")


def in_the_way_of_the_file(folder: Path) -> None:
    torch.manual_seed(0)
    features(freeze(Two()), FeatureCache(folder), [0])
    path = the_file(folder)
    path.unlink()
    path.mkdir()


def a_pipe(folder: Path) -> None:
    torch.manual_seed(0)
    features(freeze(Two()), FeatureCache(folder), [0])
    path = the_file(folder)
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("block", [in_the_way_of_the_folder, in_the_way_of_the_file, a_pipe])
def test_a_place_that_cannot_be_written_is_done_without_and_said_once(
    module: Two, tmp_path: Path, block: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "deep" / "features"
    block(folder)
    cache = FeatureCache(folder)
    with caplog.at_level(logging.WARNING, logger="saltext"):
        for _ in range(2):
            check(features(module, cache, [0, 1]), module, [0, 1])
    assert [record.message.split(":")[0] for record in caplog.records] == [f"feature cache in {folder}"]
    assert module.runs == [1, 1]  # kept in memory instead


def refusing(number: int, *, after: int = 0) -> Callable[..., int]:
    """``os.pwrite`` on a disk that is full after some calls."""
    real, calls = os.pwrite, []

    def pwrite(descriptor: int, content: bytes, start: int) -> int:
        calls.append(start)
        if len(calls) > after:
            real(descriptor, content[: len(content) // 2], start)
            raise OSError(number, os.strerror(number))
        return real(descriptor, content, start)

    return pwrite


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_at_any_write_changes_nothing(
    module: Two,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    after: int,
    number: int,
) -> None:
    cache = FeatureCache(tmp_path)
    monkeypatch.setattr(os, "pwrite", refusing(number, after=after))
    with caplog.at_level(logging.WARNING, logger="saltext"):
        for rows in ([0, 1], [2, 0, 1], [1, 2]):
            check(features(module, cache, rows), module, rows)
    assert len(caplog.records) == 1
    assert os.strerror(number) in caplog.text
    assert module.runs == [1, 1, 1]
    monkeypatch.undo()
    check(features(module, FeatureCache(tmp_path), [0, 1, 2]), module, [0, 1, 2])


def test_a_disk_with_too_little_room_is_left_alone(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feature_file, "_DISK_FRACTION", 0.0)
    with caplog.at_level(logging.WARNING, logger="saltext"):
        check(features(module, FeatureCache(tmp_path), [0]), module, [0])
    assert "GB, more than are free" in caplog.text
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


def test_what_a_new_file_takes_at_most_is_said_once(
    module: Two, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="saltext.models.feature_file"):
        for _ in range(2):
            features(module, FeatureCache(tmp_path), [0, 1])
    (said,) = caplog.messages
    assert "takes up to 0 MB, where" in said


def test_a_complete_cache_that_may_only_be_read_is_read(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    features(module, FeatureCache(tmp_path), [0, 1])
    real = os.open

    def read_only(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    cache = FeatureCache(tmp_path)
    with caplog.at_level(logging.WARNING, logger="saltext"):
        check(features(module, cache, [0, 1]), module, [0, 1])
    assert module.runs == [1, 1]
    assert not caplog.records
    for _ in range(2):  # what is missing there is kept in memory
        check(features(module, cache, [2, 0]), module, [2, 0])
    assert module.runs == [1, 1, 1]


def test_a_file_that_cannot_be_read_is_done_without(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    features(module, FeatureCache(tmp_path), [0, 1])

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    cache = FeatureCache(tmp_path)
    features(module, cache, [0])
    monkeypatch.setattr(os, "preadv", broken)
    with caplog.at_level(logging.WARNING, logger="saltext"):
        for _ in range(2):
            check(features(module, cache, [0, 1]), module, [0, 1])
    assert len(caplog.records) == 1
    assert module.runs == [1] * 4


def _fill(folder: Path, rows: list[int], failed: "multiprocessing.Queue[str]") -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = freeze(Two())
    cache = FeatureCache(folder)
    for _ in range(20):
        for row in rows:
            try:
                check(features(module, cache, [row]), module, [row])
            except BaseException as error:
                failed.put(repr(error))
                raise


def test_processes_write_side_by_side(module: Two, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    failed: multiprocessing.Queue[str] = context.Queue()
    orders = [[0, 1, 2, 3, 104], [3, 2, 1, 0, 5], [1, 104, 5, 0]]
    writers = [context.Process(target=_fill, args=(tmp_path, rows, failed)) for rows in orders]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0, failed.get(timeout=1)
    check(features(module, FeatureCache(tmp_path), [0, 1, 2, 3, 104, 5]), module, [0, 1, 2, 3, 104, 5])
    assert module.runs == []


def _killed_inside(folder: Path, write: int, share: float) -> None:
    real, calls = os.pwrite, []

    def pwrite(descriptor: int, content: bytes, start: int) -> int:
        calls.append(start)
        if len(calls) == write:
            real(descriptor, content[: int(len(content) * share)], start)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(descriptor, content, start)

    os.pwrite = pwrite
    torch.set_num_threads(1)
    torch.manual_seed(0)
    features(freeze(Two()), FeatureCache(folder), [0, 1, 2])


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_kill_inside_a_write_leaves_whole_records_only(module: Two, tmp_path: Path, write: int, share: float) -> None:
    process = multiprocessing.get_context("fork").Process(target=_killed_inside, args=(tmp_path, write, share))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    check(features(module, FeatureCache(tmp_path), [0, 1, 2]), module, [0, 1, 2])
    whole = max(0, write - 2) + (share == 1 and write > 1)  # the first write is that of the head
    assert module.runs == [1] * (3 - whole)


def test_a_file_takes_what_its_images_take(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    features(module, cache, [*range(8), *range(100, 108)])
    assert the_file(tmp_path).stat().st_size <= HEAD + 16 * RECORD
    assert cache.disk_bytes <= HEAD + 17 * RECORD + 4096
