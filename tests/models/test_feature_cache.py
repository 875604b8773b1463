import errno
import logging
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey, ImageSource
from saltext.models import feature_cache
from saltext.models.feature_cache import FeatureCache, Features, addressed, get_or_compute, in_chunks
from saltext.models.freezing import freeze

SOURCE = ImageSource("data", 8)
PREPROCESSING = nn.Identity()
HEAD, RECORD = 4096, 640
"""Bytes of a file before its first record, and of a record: 32 and 4 * (4 * 6 * 6 + 1) of what :class:`Two` makes of
an image, rounded up to 64."""


class Two(nn.Module):
    """Two features an image; notes how many images it was run on at once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.runs: list[int] = []

    def forward(self, x: Tensor) -> Features:
        self.runs.append(len(x))
        return self.conv(x), x.mean((1, 2, 3))


@pytest.fixture
def module() -> Two:
    torch.manual_seed(0)
    return freeze(Two())


def images(rows: Sequence[int], seed: int = 1) -> Tensor:
    """Of :data:`SOURCE`; a row from 100 on is the mirror image of that row less 100."""
    all_of_them = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.stack([all_of_them[row - 100].flip(-1) if row >= 100 else all_of_them[row] for row in rows])


def keys(rows: Sequence[int], source: ImageSource = SOURCE) -> list[ImageKey]:
    return [ImageKey(source, row % 100, row >= 100) for row in rows]


def features(
    module: nn.Module, cache: FeatureCache, rows: Sequence[int], source: ImageSource = SOURCE, seed: int = 1
) -> Features:
    given = images(rows, seed)
    with addressed(cache, given, keys(rows, source), PREPROCESSING):
        return get_or_compute([module], given, lambda places: module(given[places]))


def check(found: Features, module: Two, rows: Sequence[int], seed: int = 1) -> None:
    """Features are those that are computed without a cache, to the last bit."""
    before, given = len(module.runs), images(rows, seed)
    expected = in_chunks(lambda places: module(given[places]), range(len(rows)), given.device)
    del module.runs[before:]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.features")
    return path


def change(path: Path, how: Callable[[bytearray], object]) -> None:
    content = bytearray(path.read_bytes())
    how(content)
    path.write_bytes(content)


# What is found


def test_cached_features_equal_computed_ones_to_the_last_bit(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for rows in ([0, 1, 2], [2, 3, 0], [1, 2], [101, 1, 101, 5]):
        check(features(module, cache, rows), module, rows)
    check(features(module, FeatureCache(tmp_path), [5, 101, 3]), module, [5, 101, 3])


def test_each_image_is_computed_once_whatever_the_batches(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for rows in ([0, 1, 2, 3], [5, 0, 3, 5, 4], [4, 4, 1]):
        features(module, cache, rows)
    assert module.runs == [1] * 6
    assert len(cache) == 6


def test_another_run_finds_what_the_first_one_computed(module: Two, tmp_path: Path) -> None:
    features(module, FeatureCache(tmp_path), [0, 1])
    other = freeze(Two())
    other.load_state_dict(module.state_dict())
    check(features(other, FeatureCache(tmp_path), [0, 1]), module, [0, 1])
    assert other.runs == []


def test_a_mirror_image_is_another_image(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for rows in ([0], [100], [0, 100]):
        check(features(module, cache, rows), module, rows)
    assert module.runs == [1, 1]


def test_images_that_do_not_come_back_are_computed_beside_those_that_do(module: Two, tmp_path: Path) -> None:
    cache, given = FeatureCache(tmp_path), images([0, 1, 1])
    features(module, cache, [0])
    for _ in range(2):
        with addressed(cache, given, [*keys([0]), None, None], PREPROCESSING):
            check(get_or_compute([module], given, lambda places: module(given[places])), module, [0, 1, 1])
    assert module.runs == [1] * 5
    assert len(cache) == 1


def test_only_the_very_images_that_were_addressed_are_found(module: Two, tmp_path: Path) -> None:
    cache, given = FeatureCache(tmp_path), images([0, 1])
    features(module, cache, [0, 1])
    with addressed(cache, given, keys([0, 1]), PREPROCESSING):
        other = given.flip(0)  # what a network makes of its images has no key
        check(get_or_compute([module], other, lambda places: module(other[places])), module, [1, 0])


def test_a_key_an_image_is_expected(module: Two, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="expected one key an image, got 1 keys for 2 images"),
        addressed(FeatureCache(tmp_path), images([0, 1]), keys([0]), PREPROCESSING),
    ):
        pass


def test_features_carry_no_gradient_but_that_of_the_images(module: Two, tmp_path: Path) -> None:
    assert not any(t.requires_grad for t in features(module, FeatureCache(tmp_path), [0, 1]))
    given = images([0, 1]).requires_grad_()
    with addressed(FeatureCache(tmp_path), given, keys([0, 1]), PREPROCESSING):
        convolved, _ = get_or_compute([module], given, lambda places: module(given[places]))
    convolved.sum().backward()
    assert given.grad is not None
    assert given.grad.abs().sum() > 0


def test_features_depend_on_the_text_where_they_are_said_to(module: Two, tmp_path: Path) -> None:
    cache, asked = FeatureCache(tmp_path), []

    def lengths(texts: list[str]) -> list[float]:
        given = images([0] * len(texts))

        def compute(places: list[int]) -> Features:
            asked.extend(texts[place] for place in places)
            return (torch.tensor([[float(len(texts[place]))] for place in places]),)

        with addressed(cache, given, keys([0] * len(texts)), PREPROCESSING):
            return get_or_compute([module], given, compute, texts)[0].flatten().tolist()

    assert lengths(["a", "abc", "", "a"]) == [1, 3, 0, 1]
    assert sorted(asked) == ["", "a", "abc"]
    cache = FeatureCache(tmp_path)
    assert lengths(["abc", "a", ""]) == [3, 1, 0]
    assert len(asked) == 3
    assert lengths(["x" * n for n in range(20)]) == list(range(20))  # more than there is room for
    assert lengths(["x" * n for n in range(20)]) == list(range(20))


# What it is valid for


def reweighted(module: Two) -> None:
    module.load_state_dict({key: value + 1 for key, value in module.state_dict().items()})


def moved_by_hand(module: Two) -> None:
    module.conv.weight.data = module.conv.weight.data + 1


@pytest.mark.parametrize("change_weights", [reweighted, moved_by_hand])
def test_other_weights_have_other_features(module: Two, tmp_path: Path, change_weights: Callable[[Two], None]) -> None:
    cache = FeatureCache(tmp_path)
    features(module, cache, [0, 1])
    change_weights(module)
    check(features(module, cache, [0, 1]), module, [0, 1])
    assert module.runs == [1] * 4


def test_another_data_set_has_other_features(module: Two, tmp_path: Path) -> None:
    features(module, FeatureCache(tmp_path), [0, 1])
    other = ImageSource("changed", 8)
    check(features(module, FeatureCache(tmp_path), [0, 1], other, seed=2), module, [0, 1], seed=2)


class Scaled(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by


def test_size_normalisation_precision_settings_and_threads_are_told_apart(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)

    def computed(given: Tensor, part: nn.Module = module, preprocessing: nn.Module = PREPROCESSING) -> bool:
        before = len(module.runs)
        with addressed(cache, given, keys([0]), preprocessing):
            get_or_compute([part, module], given, lambda places: module(given[places]))
        return len(module.runs) > before

    assert computed(images([0]))
    assert not computed(images([0]))
    assert computed(images([0])[:, :, :7])
    assert computed(images([0]), preprocessing=Scaled(2.0))
    assert computed(images([0]), part=Scaled(2.0))
    assert computed(images([0]), part=Scaled(3.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert computed(images([0]))
        assert not computed(images([0]))
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert computed(images([0]))
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert computed(images([0]))
    finally:
        torch.set_num_threads(threads)
    assert not computed(images([0]))


def test_weights_that_nobody_sees_change_are_not_relied_on(tmp_path: Path) -> None:
    with torch.inference_mode():
        module = freeze(Two())
    cache = FeatureCache(tmp_path)
    for _ in range(2):
        features(module, cache, [0])
    assert module.runs == [1, 1]


def test_what_is_made_in_inference_serves_training(module: Two, tmp_path: Path) -> None:
    for resident in (None, True):
        cache = FeatureCache(tmp_path / str(resident), resident)
        with torch.inference_mode():
            features(module, cache, [0])
        convolved, _ = features(module, cache, [0, 1])
        (convolved * torch.ones(1, requires_grad=True)).sum().backward()  # an inference tensor refuses


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
def test_a_damaged_file_is_noticed_and_mended(module: Two, tmp_path: Path, damage: Callable[[bytearray], None]) -> None:
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
    monkeypatch.setattr(feature_cache, "_DISK_FRACTION", 0.0)
    with caplog.at_level(logging.WARNING, logger="saltext"):
        check(features(module, FeatureCache(tmp_path), [0]), module, [0])
    assert "GiB are needed at most" in caplog.text
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


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


# Copies, the device, photos


def test_a_copy_is_the_cache_itself_and_travels_to_another_process_as_its_folder(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    assert deepcopy(cache) is cache
    features(module, cache, [0])
    travelled = pickle.loads(pickle.dumps(cache))
    check(features(module, travelled, [0]), module, [0])
    assert module.runs == [1]


def test_features_stay_on_the_device_and_are_not_read_again(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features(module, FeatureCache(tmp_path), [0])
    cache = FeatureCache(tmp_path, resident=True)
    for rows in ([0, 1], [101, 0], [2, 3, 2]):
        check(features(module, cache, rows), module, rows)

    def unwanted(*_: object) -> int:
        raise AssertionError("nothing is read from or written to the file")

    for name in ("pread", "preadv", "pwrite"):
        monkeypatch.setattr(os, name, unwanted)
    for rows in ([3, 101, 1], [0, 0, 2]):
        check(features(module, cache, rows), module, rows)
    assert module.runs == [1] * 5


def test_what_does_not_fit_on_the_device_is_read_from_the_file(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "free_memory", lambda device: 4 * 2 * 600)  # a quarter is for two images
    cache = FeatureCache(tmp_path, resident=True)
    for rows in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 2, 5]):
        check(features(module, cache, rows), module, rows)
    assert module.runs == [1] * 5
    monkeypatch.setattr(feature_cache, "free_memory", lambda device: 0)
    check(features(module, FeatureCache(tmp_path, resident=True), [3, 2]), module, [3, 2])


def test_features_of_photos_are_kept_in_memory_and_found_by_their_keys(module: Two) -> None:
    cache = FeatureCache()
    one, other = ImageSource("photo 1", 1), ImageSource("photo 2", 1)
    given = images([0, 1])
    for _ in range(2):
        with addressed(cache, given, [ImageKey(one, 0), ImageKey(other, 0)], PREPROCESSING):
            check(get_or_compute([module], given, lambda places: module(given[places])), module, [0, 1])
    check(features(module, cache, [0], one), module, [0])
    assert module.runs == [1, 1]


def test_what_was_not_asked_for_the_longest_goes_first(module: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_PHOTOS", 2 * 580)
    cache = FeatureCache()
    for rows, runs in (([0, 1], 2), ([0], 2), ([2], 3), ([0, 2], 3), ([1], 4), ([3, 4, 5], 7)):
        check(features(module, cache, rows), module, rows)
        assert len(module.runs) == runs
    assert len(cache) == 2


def test_a_container_has_no_more_memory_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_CONTAINER", tmp_path)
    cpu = torch.device("cpu")
    assert feature_cache.free_memory(cpu) > 1000
    for limit, free in (("5000", 1000), ("3000", 0)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("4000\n")
        assert feature_cache.free_memory(cpu) == free
    (tmp_path / "memory.max").write_text("max\n")
    assert feature_cache.free_memory(cpu) > 1000


# Other devices


def test_away_from_the_cpu_images_are_always_run_by_the_same_number(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "_AT_ONCE", {})
    cache = FeatureCache(tmp_path)
    for rows in ([0], [1, 2, 0], [*range(8), 100, 101]):
        check(features(module, cache, rows), module, rows)
    assert set(module.runs) == {8}
