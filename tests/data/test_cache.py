import ctypes
import errno
import hashlib
import json
import logging
import multiprocessing
import os
import pickle
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import Timeout
from PIL import Image
from torchvision.transforms.v2.functional import resize as torchvision_resize

from saltext.data import cache as cache_module
from saltext.data import digests
from saltext.data.cache import CacheSettings, DecodedCache, open_cache
from saltext.data.density import density_from_points
from saltext.data.pairs import FixationPoints, Pair
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.errors import DataError
from saltext.images import read_photo

SETTINGS = CacheSettings((72, 96), (36, 48))


def _read(path: Path, mode: str = "L") -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert(mode))


def _picture(path: Path, mode: str) -> Image.Image:
    return Image.fromarray(_read(path, mode))


def _blank(like: Path, mode: str) -> Image.Image:
    return Image.new(mode, _read(like).shape[::-1])


def _folders(cache_dir: Path) -> list[str]:
    return sorted(path.name for path in cache_dir.iterdir() if path.is_dir())


def test_decoded_arrays_equal_torchvisions_resize(small_pairs: list[Pair], cache_dir: Path) -> None:
    cache = open_cache(small_pairs, SETTINGS, cache_dir)
    for index in (0, 17, 59):
        pair = small_pairs[index]
        image = torchvision_resize(_picture(pair.image, "RGB"), [72, 96])
        density = torchvision_resize(_picture(pair.density, "L"), [36, 48])
        np.testing.assert_array_equal(cache.image(index), np.asarray(image))
        np.testing.assert_array_equal(cache.density[index], np.asarray(density))


def test_native_ground_truth_is_as_published(small_pairs: list[Pair], cache_dir: Path) -> None:
    cache = open_cache(small_pairs, SETTINGS, cache_dir)
    for index, pair in enumerate(small_pairs):
        density = _read(pair.density)
        fixated = _read(pair.fixations, "RGB")[..., 0] > 0
        np.testing.assert_array_equal(cache.native_density(index), density)
        np.testing.assert_array_equal(cache.points(index), np.stack(np.nonzero(fixated), axis=1))
        assert cache.native_size(index) == density.shape


def test_each_distinct_picture_is_stored_once(small_pairs: list[Pair], cache_dir: Path) -> None:
    assert open_cache(small_pairs, SETTINGS, cache_dir).images.shape == (20, 72, 96, 3)


def test_letterbox_centres_image_and_map_alike(small_pairs: list[Pair], cache_dir: Path) -> None:
    cache = open_cache(small_pairs, CacheSettings((72, 96), (36, 48), "letterbox"), cache_dir)
    portrait = next(i for i in range(60) if cache.native_size(i)[0] > cache.native_size(i)[1])
    columns = np.flatnonzero(cache.image(portrait).any(axis=(0, 2)))
    assert 0 < columns[0] == 95 - columns[-1] or columns[0] + 1 == 95 - columns[-1]
    margin = columns[0] // 2 - 1
    assert not cache.density[portrait][:, :margin].any()
    assert cache.density[portrait].any()


def test_a_second_opening_decodes_nothing(
    small_pairs: list[Pair], cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_cache(small_pairs, SETTINGS, cache_dir)
    monkeypatch.setattr(Image, "open", _refuse)
    monkeypatch.setattr(digests, "_digest_file", _refuse)
    assert open_cache(small_pairs, SETTINGS, cache_dir).folder == first.folder


def _refuse(*_: object) -> None:
    raise AssertionError("a file was read again")


def test_changed_content_leads_to_new_arrays(copied_root: Path, tmp_path: Path) -> None:
    pairs = SjtuTis(copied_root).read().pairs
    before = open_cache(pairs, SETTINGS, tmp_path / "cache")
    density = _read(pairs[5].density)
    Image.fromarray(density[::-1].copy()).save(pairs[5].density)
    after = open_cache(pairs, SETTINGS, tmp_path / "cache")
    assert after.folder != before.folder
    np.testing.assert_array_equal(after.native_density(5), density[::-1])


def test_other_settings_lead_to_other_arrays(small_pairs: list[Pair], cache_dir: Path) -> None:
    settings = [
        SETTINGS,
        CacheSettings((72, 96), (18, 24)),
        CacheSettings((36, 48), (36, 48)),
        CacheSettings((72, 96), (36, 48), "letterbox"),
    ]
    assert len({open_cache(small_pairs, some, cache_dir).folder for some in settings}) == 4


def test_a_data_set_that_moved_is_not_decoded_again(
    copied_root: Path, small_pairs: list[Pair], cache_dir: Path
) -> None:
    there = open_cache(small_pairs, SETTINGS, cache_dir)
    assert open_cache(SjtuTis(copied_root).read().pairs, SETTINGS, cache_dir).folder == there.folder


def test_a_cache_pickles_as_its_path(small_pairs: list[Pair], cache_dir: Path) -> None:
    cache = open_cache(small_pairs, SETTINGS, cache_dir)
    _ = cache.images
    packed = pickle.dumps(cache)
    assert len(packed) < 1000
    np.testing.assert_array_equal(pickle.loads(packed).images, cache.images)


def _open_in_process(arguments: tuple[list[Pair], Path]) -> str:
    cache = open_cache(arguments[0], SETTINGS, arguments[1])
    return f"{cache.folder.name} {hashlib.sha256(cache.images.tobytes() + cache.density.tobytes()).hexdigest()}"


def test_of_processes_that_decode_at_once_one_decodes_and_the_others_wait(
    small_pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = cache_module._build_cache

    def slow_build(*arguments: Any) -> None:
        (tmp_path / f"built-by-{os.getpid()}").touch()
        time.sleep(0.5)
        build(*arguments)

    monkeypatch.setattr(cache_module, "_build_cache", slow_build)
    caches = tmp_path / "caches"
    with multiprocessing.get_context("fork").Pool(3) as pool:
        opened = pool.map(_open_in_process, [(small_pairs, caches)] * 3, chunksize=1)
    assert len(set(opened)) == 1
    assert len(_folders(caches)) == 1
    assert len(list(tmp_path.glob("built-by-*"))) == 1
    assert not list(caches.glob("*.lock"))


@pytest.mark.parametrize("why", ["another process never ends", "no lock can be made"])
def test_without_a_lock_it_decodes_all_the_same(
    why: str, small_pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, timeout: float) -> Any:
        raise Timeout(str(path)) if why.startswith("another") else OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("saltext.system.locks.locked", refuse)
    assert len(open_cache(small_pairs, SETTINGS, tmp_path).images) > 0


def test_who_comes_second_drops_its_copy(
    small_pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_remaining = cache_module._CacheBuilder._write_remaining_arrays

    def other_is_first(builder: cache_module._CacheBuilder, native_starts: np.ndarray) -> None:
        write_remaining(builder, native_starts)
        key = builder.folder.name.split("-")[1]
        if not (tmp_path / key).exists():
            shutil.copytree(builder.folder, tmp_path / key)

    monkeypatch.setattr(cache_module._CacheBuilder, "_write_remaining_arrays", other_is_first)
    cache = open_cache(small_pairs, SETTINGS, tmp_path)
    assert _folders(tmp_path) == [cache.folder.name]
    assert len(cache) == 60


def test_what_a_killed_build_left_is_removed_when_old(small_pairs: list[Pair], tmp_path: Path) -> None:
    old, new = tmp_path / ".building-x-1", tmp_path / ".building-x-2"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    open_cache(small_pairs, SETTINGS, tmp_path)
    assert not old.exists()
    assert new.exists()


def test_all_broken_files_come_in_one_error_with_counts(copied_root: Path, tmp_path: Path) -> None:
    pairs = SjtuTis(copied_root).read().pairs
    truncated, resized, dark, blind, huge, garbage = (pairs[place] for place in (3, 10, 20, 30, 40, 50))
    truncated.image.write_bytes(truncated.image.read_bytes()[:5000])
    _picture(resized.density, "L").resize((50, 40)).save(resized.density)
    _blank(dark.density, "L").save(dark.density)
    _blank(blind.fixations, "RGB").save(blind.fixations)
    Image.new("L", (400, 300)).save(huge.image)
    garbage.density.write_bytes(b"no picture")
    Image.fromarray(np.zeros(_read(garbage.fixations).shape, np.uint16)).save(garbage.fixations)
    with pytest.raises(DataError) as caught:
        open_cache(pairs, CacheSettings((72, 96), (36, 48), max_pixels=100_000), tmp_path / "cache")
    message = str(caught.value)
    assert f"images that are cut short or damaged (1): image_1800/{truncated.name}.png (image file is trunc" in message
    assert f"files that are not images (1): map_1800/{garbage.name}.png" in message
    assert f"pairs whose image, map and fixation files differ in size (1): {resized.name} (image" in message
    assert "density 50x40" in message
    assert f"maps with one value everywhere (1): map_1800/{dark.name}.png (0)" in message
    assert f"fixation lists without a fixation (1): fixation_1800/{blind.name}.png" in message
    assert f"images with more than data.max_pixels=100000 pixels (1): image_1800/{huge.name}.png" in message
    assert "Replace these files with good ones" in message
    assert _folders(tmp_path / "cache") == []


def _saved(array: np.ndarray, path: Path, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(path, exif=exif)
    return path


def _own(folder: Path, image: Path, density: Path | float = 3.0) -> Pair:
    return Pair("a", "pure", "", image, density, FixationPoints(np.array([[1, 1]], np.int32)), "a")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "16 bits", "turned"])
def test_training_sees_the_pixels_that_prediction_sees(tmp_path: Path, mode: str) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "a.png"
    density: Path | float = 3.0
    if mode == "16 bits":
        _saved(rng.integers(0, 2**16, (30, 40), dtype=np.uint16), path)
    elif mode == "turned":
        _saved(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8), path, orientation=6)
        density = _saved(rng.integers(0, 256, (30, 40), dtype=np.uint8), tmp_path / "map.png")
    elif mode == "CMYK":
        path = tmp_path / "a.jpg"
        Image.fromarray(rng.integers(0, 256, (30, 40, 4), dtype=np.uint8), "CMYK").save(path)
    else:
        picture = Image.fromarray(rng.integers(0, 256, (30, 40, 4), dtype=np.uint8)).convert(mode)
        picture.save(path, **({"transparency": 3} if mode == "P" else {}))
    cache = open_cache([_own(tmp_path, path, density)], CacheSettings((30, 40), (30, 40)), tmp_path / "cache")
    np.testing.assert_array_equal(cache.image(0), read_photo(path).pixels)
    assert cache.native_size(0) == (30, 40)


@pytest.mark.parametrize(("orientation", "shape"), [(3, (40, 30)), (6, (30, 30)), (6, (40, 30))])
def test_a_turned_picture_is_refused_where_nothing_shows_what_x_and_y_are(
    tmp_path: Path, orientation: int, shape: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    path = _saved(pixels, tmp_path / "a.png", orientation)
    upright = shape if orientation == 3 else shape[::-1]
    density = _saved(np.arange(upright[0] * upright[1]).reshape(upright).astype(np.uint8), tmp_path / "map.png")
    shown = 3.0 if upright == (30, 40) else density
    with pytest.raises(DataError, match=r"images rotated by EXIF data, which leaves x and y unclear .*\(1\)"):
        open_cache([_own(tmp_path, path, shown)], CacheSettings((30, 40), (30, 40)), tmp_path / "cache")


def test_what_is_no_file_is_named_before_any_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    pairs = [_own(tmp_path, tmp_path / name) for name in ("pipe.png", "gone.png")]
    with pytest.raises(DataError) as caught:
        open_cache(pairs, SETTINGS, tmp_path / "cache")
    assert f"links that lead nowhere (1): {tmp_path.name}/gone.png" in str(caught.value)
    assert f"pipes or devices where a file is expected (1): {tmp_path.name}/pipe.png" in str(caught.value)


def test_names_that_no_table_can_hold_are_said_before_training(copied_root: Path, tmp_path: Path) -> None:
    image = next((copied_root / "image_1800").iterdir())
    pairs = [pair for pair in SjtuTis(copied_root).read().pairs if pair.image == image]
    latin = image.with_name(os.fsdecode(b"caf\xe9.png"))
    image.rename(latin)
    with pytest.raises(DataError, match=r"names are not UTF-8 \(1\): caf\\udce9\.png"):
        open_cache([replace(pair, image=latin) for pair in pairs], SETTINGS, tmp_path / "cache")


def test_a_damaged_cache_says_which_folder_to_delete(copied_root: Path, tmp_path: Path) -> None:
    cache = open_cache(SjtuTis(copied_root).read().pairs, SETTINGS, tmp_path / "cache")
    (cache.folder / "images.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"is damaged.*Delete that folder"):
        _ = DecodedCache(cache.folder, cache.settings).images


def _cut(cache: DecodedCache) -> None:
    path = cache.folder / "images.npy"
    os.truncate(path, path.stat().st_size // 2)


def _flip(cache: DecodedCache) -> None:
    path = cache.folder / "native_density.npy"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    with path.open("r+b") as stream:
        stream.seek(100_000)
        byte = stream.read(1)[0]
        stream.seek(100_000)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=times)


def _half(cache: DecodedCache) -> None:
    for name in ("checksums.json", "points.npy", "density.npy"):
        (cache.folder / name).unlink()


def _lose(cache: DecodedCache) -> None:
    (cache.folder / "sizes.npy").unlink()


def _empty(cache: DecodedCache) -> None:
    shutil.rmtree(cache.folder)
    cache.folder.mkdir()


def _garble(cache: DecodedCache) -> None:
    (cache.folder / "checksums.json").write_text('{"images.npy": 3}')


@pytest.mark.parametrize("damage", [_cut, _flip, _half, _lose, _empty, _garble])
def test_a_damaged_cache_is_made_again_with_one_line(
    damage: Callable[[DecodedCache], None],
    small_pairs: list[Pair],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = open_cache(small_pairs, SETTINGS, tmp_path)
    before = _contents(cache.folder)
    damage(cache)
    with caplog.at_level(logging.INFO, logger="saltext"):
        again = open_cache(small_pairs, SETTINGS, tmp_path)
    assert again.folder == cache.folder
    assert _contents(again.folder) == before
    assert _folders(tmp_path) == [cache.folder.name]
    assert sum("is damaged" in message for message in caplog.messages) == 1


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_who_repairs_second_keeps_what_the_first_made(
    small_pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(small_pairs, SETTINGS, tmp_path)
    kept = tmp_path / "kept"
    shutil.copytree(cache.folder, kept)
    _cut(cache)
    write_remaining = cache_module._CacheBuilder._write_remaining_arrays

    def other_is_first(builder: cache_module._CacheBuilder, native_starts: np.ndarray) -> None:
        write_remaining(builder, native_starts)
        shutil.rmtree(cache.folder)
        kept.rename(cache.folder)
        (cache.folder / "note").touch()

    monkeypatch.setattr(cache_module._CacheBuilder, "_write_remaining_arrays", other_is_first)
    open_cache(small_pairs, SETTINGS, tmp_path)
    assert (cache.folder / "note").exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "[3, 4]", '{"crc32": 0, "files": {"a": 1}}', '{"files": null, "crc32": 1}', "\x00\x80", "[" * 9999],
)
def test_damaged_digests_are_found_again(small_pairs: list[Pair], tmp_path: Path, content: str) -> None:
    cache = open_cache(small_pairs, SETTINGS, tmp_path)
    (memory,) = tmp_path.glob("digests-*.json")
    good = memory.read_text()
    memory.write_text(content)
    assert open_cache(small_pairs, SETTINGS, tmp_path).folder == cache.folder
    assert memory.read_text() == good
    memory.write_text(good.replace('"image//', '"imagE//', 1).replace("a", "b", 40))  # valid JSON of other digests
    assert open_cache(small_pairs, SETTINGS, tmp_path).folder == cache.folder


def _open_read_only(folder: Path, pairs: list[Pair], temporary: Path, sender: Any) -> None:
    """In a process of its own: open a cache in a folder that cannot be written to, not even by root."""
    tempfile.tempdir = str(temporary)
    if os.geteuid():
        folder.chmod(0o555)
    else:
        libc, (own, private, bind, read_only) = ctypes.CDLL(None), (0x20000, 0x44000, 0x1000, 0x1021)
        where = os.fsencode(folder)
        calls = (
            lambda: libc.unshare(own),
            lambda: libc.mount(b"none", b"/", None, private, None),
            lambda: libc.mount(where, where, None, bind, None),
            lambda: libc.mount(where, where, None, read_only, None),
        )
        if any(call() for call in calls):
            sender.send(None)
            return
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("saltext").addHandler(handler)
    logging.getLogger("saltext").setLevel(logging.INFO)
    try:
        cache = open_cache(pairs, SETTINGS, folder)
        sender.send((str(cache.folder), len(cache), logged))
    except DataError as error:
        sender.send((str(error), 0, logged))


@pytest.fixture
def opened_read_only(tmp_path: Path, small_pairs: list[Pair]) -> Callable[[Path], tuple[str, int, list[str]]]:
    """Opens a cache in a read-only folder: where it was found or why not, its length, and what was logged."""

    def opened(folder: Path) -> tuple[str, int, list[str]]:
        (tmp_path / "temporary").mkdir(exist_ok=True)
        processes = multiprocessing.get_context("fork")
        here, there = processes.Pipe()
        child = processes.Process(target=_open_read_only, args=(folder, small_pairs, tmp_path / "temporary", there))
        child.start()
        there.close()
        found: tuple[str, int, list[str]] | None = here.recv()
        child.join()
        folder.chmod(0o755)
        if found is None:
            pytest.skip("root may not mount here, and can write to any other folder")
        return found

    return opened


def test_a_complete_cache_that_cannot_be_written_to_is_used(
    small_pairs: list[Pair], tmp_path: Path, opened_read_only: Callable[[Path], tuple[str, int, list[str]]]
) -> None:
    cache = open_cache(small_pairs, SETTINGS, tmp_path / "cache")
    for memory in (tmp_path / "cache").glob("digests-*.json"):
        memory.unlink()
    assert opened_read_only(tmp_path / "cache") == (str(cache.folder), 60, [])
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("damaged", [False, True])
def test_without_a_place_for_it_a_cache_is_made_among_temporary_files(
    small_pairs: list[Pair],
    tmp_path: Path,
    opened_read_only: Callable[[Path], tuple[str, int, list[str]]],
    damaged: bool,
) -> None:
    (tmp_path / "cache").mkdir()
    if damaged:
        _cut(open_cache(small_pairs, SETTINGS, tmp_path / "cache"))
    own = tmp_path / "temporary" / f"saltext-cache-{os.getuid()}"
    found, count, logged = opened_read_only(tmp_path / "cache")
    assert (Path(found).parent, count) == (own, 60)
    assert sum(f"{tmp_path / 'cache'} cannot be written to" in line for line in logged) == 1
    own.chmod(0o777)  # somebody else may have put arrays there
    said, count, _ = opened_read_only(tmp_path / "cache")
    assert count == 0
    assert "is not a folder that belongs to this user alone). Point data.cache_dir elsewhere" in said


def test_a_disk_that_fills_while_decoding_is_said_and_leaves_nothing(
    small_pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match=r"No space left on device.*Make room, or point data\.cache_dir elsewhere"):
        open_cache(small_pairs, SETTINGS, tmp_path)
    assert _folders(tmp_path) == []


def test_too_little_disk_space_is_reported_before_decoding(
    small_pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"needs .* GB .*Make room, point data\.cache_dir elsewhere"):
        open_cache(small_pairs, SETTINGS, tmp_path)
    assert _folders(tmp_path) == []


def test_what_the_cache_takes_and_what_is_free_is_said_before_decoding(
    small_pairs: list[Pair], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="saltext.data.cache"):
        open_cache(small_pairs, SETTINGS, tmp_path)
    first = caplog.messages[0]
    said = rf"decoding \d+ images and {len(small_pairs)} maps takes \d MB in {tmp_path}, where .* are free"
    assert re.fullmatch(said, first)


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data set is empty"):
        open_cache([], SETTINGS, tmp_path)


def test_points_of_a_table_and_a_blur_take_the_place_of_files(small_pairs: list[Pair], tmp_path: Path) -> None:
    pair = small_pairs[0]
    places = np.array([[3, 4], [50, 60], [3, 4]], np.int32)
    cache = open_cache([replace(pair, density=6.0, fixations=FixationPoints(places))], SETTINGS, tmp_path)
    np.testing.assert_array_equal(cache.points(0), places)
    expected = density_from_points([torch.from_numpy(places).long()], cache.native_size(0), 6.0)[0, 0]
    np.testing.assert_array_equal(cache.native_density(0), (255 * expected).round())


def test_files_of_one_name_in_two_folders_are_distinguished(small_pairs: list[Pair], tmp_path: Path) -> None:
    one = small_pairs[0]
    other = tmp_path / "elsewhere" / one.density.name
    other.parent.mkdir()
    Image.fromarray(_read(one.density)[::-1].copy()).save(other)
    pairs = [one, replace(one, task="other", density=other, name="other")]
    first = open_cache(pairs, SETTINGS, tmp_path / "cache")
    assert open_cache(pairs, SETTINGS, tmp_path / "cache").folder == first.folder
    np.testing.assert_array_equal(first.native_density(0), first.native_density(1)[::-1])


def test_progress_is_a_few_lines_in_a_log(
    small_pairs: list[Pair], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="saltext"):
        open_cache(small_pairs, SETTINGS, tmp_path)
    assert 3 <= len(caplog.messages) <= 10
    assert "decoded 60 image-text pairs" in caplog.messages[-1]


@pytest.fixture(scope="module")
def real_cache(sjtu_root: Path) -> tuple[list[Pair], DecodedCache]:
    """Shared with training runs, since it takes a while and 0.9 GB."""
    pairs = SjtuTis(sjtu_root).read().pairs
    folder = Path(__file__).parents[2] / "data" / "cache"
    return pairs, open_cache(pairs, CacheSettings((288, 384), (288, 384)), folder)


@pytest.mark.real_data
@pytest.mark.golden
def test_real_files_decode_to_the_published_pixels(golden: Path, real_cache: tuple[list[Pair], DecodedCache]) -> None:
    pairs, cache = real_cache
    places = {f"{pair.name}.png": index for index, pair in enumerate(pairs)}
    checks = json.loads((golden / "metrics.json").read_text())["pairs"]
    for entry in checks:
        index, other = places[entry["gt"]], places[entry["prediction"]]
        check = entry["resize_check"]
        assert hashlib.sha256(cache.density[index].tobytes()).hexdigest() == check["gt_map_sha256"]
        assert hashlib.sha256(cache.density[other].tobytes()).hexdigest() == check["pred_map_sha256"]
        assert len(cache.points(index)) == check["fix_pixels_native"]
        image = torch.from_numpy(np.array(cache.image(index))).permute(2, 0, 1).contiguous().numpy()
        # The unpacked pictures passed through a JPEG and so differ a little from the published ones.
        sums = image.reshape(3, -1).sum(axis=1, dtype=np.int64)
        np.testing.assert_allclose(sums, check["image_rgb_u8_sums"], rtol=5e-3)


@pytest.mark.real_data
def test_real_sizes_and_fixations_are_as_described(real_cache: tuple[list[Pair], DecodedCache]) -> None:
    pairs, cache = real_cache
    counts = [len(cache.points(index)) for index in range(len(pairs))]
    assert (min(counts), max(counts)) == (42, 215)
    assert np.median(counts) == 171
    assert len(cache.images) == 600
    sizes = Counter(cache.native_size(index) for index in range(len(pairs)))
    assert len(sizes) == 164
    assert sizes.most_common(1)[0][0] == (480, 640)
    assert all(cache.native_density(index).max() == 255 for index in range(0, len(pairs), 97))
