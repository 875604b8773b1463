"""The decoded cache: all files of a data set, validated and decoded once into memory-mapped arrays.

A cache is keyed by the content of the files and by the settings, so it is never stale: changed files or settings give
another folder. The digest of a file is computed again only if its size or times changed. The arrays are compared with
their checksums when they are opened, and built again where they are damaged.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from saltext.console import bar
from saltext.data import checksums
from saltext.data.density import grey_map, in_8_bits
from saltext.data.digests import digest_files
from saltext.data.files import points_inside, read_fixations
from saltext.data.fitting import fit
from saltext.data.geometry import Resize, Size
from saltext.data.keys import ImageKey, ImageSource
from saltext.data.pairs import FilePair, FixationPoints, Pair
from saltext.data.recorded import density_map, image_size, issue
from saltext.data.report import DataIssue, DataReport
from saltext.errors import ConfigError, DataError, InvalidFileError
from saltext.images import check_file, read_head, read_photo
from saltext.system.home import own_folder

_log = logging.getLogger(__name__)

_FORMAT = 2  # of the arrays
_LEVEL = 1  # of zlib, for maps at native resolution: a sixth of their size, read in half a millisecond
_READING_RULES = 2  # version of the rules for transparent or rotated images and coloured masks
_ARRAYS = ("images", "image_rows", "density", "sizes", "native_density", "native_starts", "points", "point_starts")
_LONGEST_WAIT_S = 600.0  # for another process that decodes
_REPLACE = "Replace these files with good ones and run again."
_ENDINGS_WITHOUT_SIZE = (".npy", ".csv", ".mat")  # files without a header that says how large the image is

_UInt8 = npt.NDArray[np.uint8]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CacheSettings:
    """Settings of the decoded arrays.

    Attributes:
        image_size: Height and width of the network's input.
        map_size: Height and width of the density maps and fixation counts to train on.
        resize: ``"stretch"`` or ``"letterbox"``, see :func:`saltext.data.geometry.content_box`.
        max_pixels: Maximum number of pixels of an image.
    """

    image_size: Size
    map_size: Size
    resize: Resize = "stretch"
    max_pixels: int = 50_000_000

    @classmethod
    def checked(
        cls, image_size: Sequence[int], map_size: Sequence[int] | None, resize: str, max_pixels: int
    ) -> "CacheSettings":
        """Settings from a configuration, checked; without ``map_size``, maps are as large as images.

        Raises:
            ConfigError: A size is no height and width, or ``resize`` is unknown.
        """
        sizes = {"image_size": image_size, "map_size": image_size if map_size is None else map_size}
        for name, size in sizes.items():
            if len(size) != 2 or min(size) < 1:
                raise ConfigError(f"data.{name} must be a height and a width of at least 1, got {list(size)}")
        choices: tuple[Resize, ...] = get_args(Resize)
        if resize not in choices:
            raise ConfigError(f"data.resize must be one of {', '.join(choices)}, got {resize!r}")
        (height, width), (rows, columns) = sizes.values()
        return cls((height, width), (rows, columns), resize, max_pixels)


class DecodedCache:
    """Read-only arrays of all pairs, memory-mapped on first use in each process; pickled as their path.

    Attributes:
        folder: Folder of the arrays.
        settings: Settings they were decoded with.
    """

    def __init__(self, folder: Path, settings: CacheSettings) -> None:
        self.folder = folder
        self.settings = settings

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "settings": self.settings}

    def __len__(self) -> int:
        return len(self.sizes)

    def _open(self, name: str) -> npt.NDArray[Any]:
        try:
            array: npt.NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"the decoded cache {self.folder} is damaged ({error}). Delete that folder and run again."
            ) from error
        return array

    @cached_property
    def images(self) -> _UInt8:
        """Resized RGB images, one for each distinct content. Shape ``(distinct, height, width, 3)``, uint8."""
        return self._open("images")

    @cached_property
    def image_rows(self) -> npt.NDArray[np.int64]:
        """Row of ``images`` for each pair. Shape ``(pairs,)``."""
        return self._open("image_rows")

    @cached_property
    def density(self) -> _UInt8:
        """Density maps at ``map_size``, 0 to 255. Shape ``(pairs, height, width)``."""
        return self._open("density")

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Native height and width. Shape ``(pairs, 2)``."""
        return self._open("sizes")

    @cached_property
    def _native_density(self) -> _UInt8:
        """Maps at native resolution, each compressed by zlib, one behind the other."""
        return self._open("native_density")

    @cached_property
    def _native_starts(self) -> npt.NDArray[np.int64]:
        return self._open("native_starts")

    @cached_property
    def _points(self) -> npt.NDArray[np.int32]:
        return self._open("points")

    @cached_property
    def _point_starts(self) -> npt.NDArray[np.int64]:
        return self._open("point_starts")

    def image(self, pair: int) -> _UInt8:
        """The pair's image, RGB, resized. Shape ``(height, width, 3)``."""
        resized: _UInt8 = self.images[self.image_rows[pair]]
        return resized

    def image_key(self, pair: int) -> ImageKey:
        """Key of the image of a pair in the feature cache."""
        return ImageKey(ImageSource(self.folder.name, len(self.images)), int(self.image_rows[pair]))

    def native_size(self, pair: int) -> Size:
        """Height and width of the pair's files."""
        height, width = self.sizes[pair].tolist()
        return height, width

    def native_density(self, pair: int) -> _UInt8:
        """The pair's published density map, 0 to 255. Shape: its native size."""
        start, end = self._native_starts[pair : pair + 2]
        pixels = zlib.decompress(self._native_density[start:end].tobytes())
        return np.frombuffer(pixels, np.uint8).reshape(self.native_size(pair))

    def points(self, pair: int) -> npt.NDArray[np.int32]:
        """(y, x) of the pair's fixated pixels at native resolution, row by row. Shape ``(fixations, 2)``."""
        start, end = self._point_starts[pair : pair + 2]
        return self._points[start:end]


def open_cache(pairs: Sequence[Pair], settings: CacheSettings, cache_dir: Path | str) -> DecodedCache:
    """The decoded arrays of ``pairs``; if there is no cache of them yet, all files are validated and decoded first.

    Damaged arrays (truncated, missing, or with another checksum) are built again. A complete cache in a read-only
    folder is used as it is; a new one is then built in this user's folder for temporary files.

    Safe with several processes: one decodes, and the others wait for it. Where they cannot (longer than ten minutes, or
    where no lock can be made) each builds in a separate folder and renames it, and the second one drops its copy.

    Args:
        pairs: All pairs of the data set; the rows of the cache are in this order.
        settings: Sizes and limits.
        cache_dir: Folder for caches; each gets a sub-folder named by its key.

    Raises:
        DataError: Files are unreadable, truncated, too large, of unequal size within a pair, or empty (a map that is
            zero everywhere, no fixations). One error names all problems. Also if the disk has too little space, or no
            folder can be written to.
    """
    if not pairs:
        raise DataError("there are no image-text pairs to decode: the data set is empty")
    _check_files(pairs)
    cache_dir = Path(cache_dir)
    digests = digest_files(_files(pairs), pairs[0].image.parent.parent, cache_dir)
    key = _cache_key(pairs, settings, digests)
    damage = _cache_damage(cache_dir / key)
    if damage and not _can_write(cache_dir):
        try:
            temporary = own_folder("cache")
        except OSError as error:
            raise DataError(
                "Expected data.cache_dir, or a folder for temporary files, that can be written to, but neither can "
                f"({error}). Point data.cache_dir elsewhere."
            ) from error
        _log.info("%s cannot be written to: the decoded cache is in %s", cache_dir, temporary)
        cache_dir, damage = temporary, _cache_damage(temporary / key)
    folder = cache_dir / key
    if damage:
        if folder.is_dir():
            _log.info("the decoded cache %s is damaged (%s): making it again", folder, damage)
        with _others_waiting(cache_dir / f".decoding-{key}.lock"):
            if _cache_damage(folder):  # else another process decoded it meanwhile
                _build_cache(pairs, settings, digests, folder)
    return DecodedCache(folder, settings)


@contextmanager
def _others_waiting(lock_file: Path) -> Iterator[None]:
    """Let other processes wait meanwhile; where no lock can be had, or not in time, they do the same work."""
    from filelock import Timeout  # a twentieth of a second, which a complete cache does not need

    from saltext.system.locks import locked

    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock_file, 0))
        except Timeout:
            _log.info("waiting for another process, which decodes the same data set")
            with suppress(OSError):  # Timeout is one
                stack.enter_context(locked(lock_file, _LONGEST_WAIT_S))
        except OSError as error:
            _log.debug("no lock: %s", error)
        try:
            yield
        finally:
            with suppress(OSError):
                lock_file.unlink()


def _cache_damage(folder: Path) -> str:
    return checksums.damage(folder, [f"{name}.npy" for name in _ARRAYS])


def _can_write(folder: Path) -> bool:
    """Whether files can be created in a folder, which is created if need be.

    Raises:
        DataError: Its disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"the disk of {folder} is full. Make room, or point data.cache_dir elsewhere.") from error
        return False


def _sources(pair: Pair) -> Iterator[tuple[str, Path | FixationPoints | float]]:
    """Kind and source of the image, the map and the fixations of a pair."""
    yield "image", pair.image
    yield "density", pair.density
    yield "fixations", pair.fixations


def _files(pairs: Iterable[Pair]) -> Iterator[tuple[str, Path]]:
    """Kind and path of every file, pair by pair."""
    return ((kind, source) for pair in pairs for kind, source in _sources(pair) if isinstance(source, Path))


def _check_files(pairs: Sequence[Pair]) -> None:
    """Raise DataError unless all files are regular, with names that tables and splits can hold.

    Called before any is opened, since opening a pipe would block.
    """
    issues = DataReport()
    for path in dict.fromkeys(path for _, path in _files(pairs)):
        try:
            check_file(path)
            path.name.encode()
        except UnicodeEncodeError:
            issues.add("files whose names are not UTF-8", path.name)
        except InvalidFileError as error:
            issues.add(*DataIssue.of(path, error))
    issues.raise_if_any(f"The data set under {pairs[0].image.parent.parent}", _REPLACE)


def _cache_key(pairs: Sequence[Pair], settings: CacheSettings, digests: Mapping[Path, str]) -> str:
    """Digest of settings and contents; it does not change when the data set moves to another folder."""
    hasher = hashlib.blake2b(json.dumps([_FORMAT, asdict(settings)]).encode(), digest_size=12)
    for pair in pairs:
        for kind, source in _sources(pair):
            if isinstance(source, Path):
                line = f"{kind}/{source.name}:{digests[source]}\n"
            else:
                line = f"{kind}:{source.digest if isinstance(source, FixationPoints) else source}\n"
            hasher.update(line.encode())
        if pair.drop_outside:
            hasher.update(b"drop_outside\n")
        if not isinstance(pair, FilePair):  # files of published data sets mean the same in every version
            hasher.update(f"reading {_READING_RULES}\n".encode())
    return hasher.hexdigest()


def _build_cache(pairs: Sequence[Pair], settings: CacheSettings, digests: Mapping[Path, str], folder: Path) -> None:
    """Decode all pairs into ``folder``, which exists only once it is complete."""
    started = time.monotonic()
    try:
        with checksums.building(folder) as part:
            _CacheBuilder(pairs, settings, digests, part).build()
    except OSError as error:
        raise DataError(
            f"the decoded cache cannot be written to {folder.parent} ({error.strerror or error}). Make room, or point "
            "data.cache_dir elsewhere."
        ) from error
    _log.info("decoded %d image-text pairs into %s in %.1f s", len(pairs), folder, time.monotonic() - started)


class _CacheBuilder:
    """One pass over all files that validates them and writes the arrays.

    Args:
        pairs: All pairs of the data set.
        settings: Sizes and limits.
        digests: Path of an image -> digest of its content; images of equal content are decoded once.
        folder: Empty folder for the arrays.
    """

    def __init__(
        self, pairs: Sequence[Pair], settings: CacheSettings, digests: Mapping[Path, str], folder: Path
    ) -> None:
        self.pairs = pairs
        self.settings = settings
        self.folder = folder
        self.issues = DataReport()
        self.invalid_files: set[Path] = set()
        first_pair: dict[str, int] = {}  # digest of an image -> the first pair with it
        for index, pair in enumerate(pairs):
            first_pair.setdefault(digests[pair.image], index)
        self.pairs_to_decode = list(first_pair.values())  # one for each row of the images
        row = {digest: number for number, digest in enumerate(first_pair)}
        self.image_rows = np.array([row[digests[pair.image]] for pair in pairs], dtype=np.int64)
        self.points: list[npt.NDArray[np.int32]] = [np.zeros((0, 2), np.int32)] * len(pairs)

    def build(self) -> None:
        """Write every array, or raise one error with all issues."""
        self.sizes = [self._native_size(pair) for pair in self.pairs]  # (0, 0): the pair has an issue
        self._allocate_arrays()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            images = pool.map(self._decode_image, self.pairs_to_decode)
            for _ in _with_progress(images, "pictures", len(self.pairs_to_decode)):
                pass
            maps = pool.map(self._decode_ground_truth, range(len(self.pairs)))
            native_starts = self._write_native_density(_with_progress(maps, "maps", len(self.pairs)))
        self.issues.raise_if_any(f"The data set under {self.pairs[0].image.parent.parent}", _REPLACE)
        self._write_remaining_arrays(native_starts)

    def _native_size(self, pair: Pair) -> Size:
        """Height and width from the headers of the pair's files; (0, 0), with an issue, where they are invalid."""
        limit = self.settings.max_pixels
        sizes = {"image": self._read_or_report(pair.image, lambda _: image_size(pair, limit))}
        for kind, source in (("density", pair.density), ("fixations", pair.fixations)):
            if isinstance(source, Path) and source.suffix.lower() not in _ENDINGS_WITHOUT_SIZE:
                sizes[kind] = self._read_or_report(source, lambda path: read_head(path, limit).size)
        valid: dict[str, Size] = {kind: size for kind, size in sizes.items() if size is not None}
        if len(set(valid.values())) > 1:
            listed = ", ".join(f"{kind} {width}x{height}" for kind, (height, width) in valid.items())
            self.issues.add("pairs whose image, map and fixation files differ in size", f"{pair.name} ({listed})")
            return 0, 0
        return valid["image"] if len(valid) == len(sizes) else (0, 0)

    def _read_or_report(self, path: Path, read: Callable[[Path], _Result]) -> _Result | None:
        """The result of ``read`` for a file; None, with one issue per file, where the file is invalid."""
        if path in self.invalid_files:
            return None
        try:
            return read(path)
        except InvalidFileError as error:
            self.invalid_files.add(path)
            self.issues.add(*issue(path, error, self.settings.max_pixels))
        return None

    def _allocate_arrays(self) -> None:
        """Create the large arrays, after a check that they fit on the disk: a full disk would kill the process."""
        shapes = {
            "images": (len(self.pairs_to_decode), *self.settings.image_size, 3),
            "density": (len(self.pairs), *self.settings.map_size),
        }
        compressed = sum(height * width for height, width in self.sizes) // 4  # of SJTU-TIS a sixth
        needed = sum(prod(shape) for shape in shapes.values()) + compressed
        free = shutil.disk_usage(self.folder).free
        _log.info(
            "decoding %d images and %d maps takes %.0f MB in %s, where %.1f GB are free",
            len(self.pairs_to_decode), len(self.pairs), needed / 1e6, self.folder.parent, free / 1e9,
        )  # fmt: skip
        if needed > 0.95 * free:
            raise DataError(
                f"the decoded cache needs {needed / 1e9:.1f} GB under {self.folder.parent}, where {free / 1e9:.1f} GB "
                "are free. Make room, point data.cache_dir elsewhere, or choose smaller sizes."
            )
        self.arrays: dict[str, np.memmap[Any, np.dtype[np.uint8]]] = {}
        for name, shape in shapes.items():
            path = self.folder / f"{name}.npy"
            self.arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            if hasattr(os, "posix_fallocate"):
                with path.open("r+b") as stream:  # reserve the space, so that no one else takes it
                    os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)

    def _decode_image(self, index: int) -> None:
        """Write the image of a pair, resized, to its row."""
        path, size = self.pairs[index].image, self.sizes[index]
        photo = self._read_or_report(path, lambda path: read_photo(path, self.settings.max_pixels))
        if photo is None or not all(size):
            return
        if photo.size != size:
            self.issues.add("images rotated by EXIF data behind their pixels (save them upright)", path.name)
            return
        resized, _ = fit(Image.fromarray(photo.pixels), self.settings.image_size, self.settings.resize)
        self.arrays["images"][self.image_rows[index]] = resized

    def _decode_ground_truth(self, index: int) -> bytes:
        """Keep a pair's fixations and write its density map, resized.

        Returns:
            The map at native resolution, compressed; empty, with an issue, where a file is invalid.
        """
        pair, size = self.pairs[index], self.sizes[index]
        if not all(size):
            return b""
        points = self._read_points(pair, size)
        if points is not None:
            self.points[index] = points
        if isinstance(pair.density, Path):
            limit = self.settings.max_pixels
            density = self._read_or_report(pair.density, lambda path: density_map(path, size, limit))
            if density is None:
                return b""
            if density.dtype != np.uint8:
                density = in_8_bits(density / density.max())
        else:
            density = grey_map(self.points[index], size, pair.density)
        self.arrays["density"][index], _ = fit(Image.fromarray(density), self.settings.map_size, self.settings.resize)
        return zlib.compress(density.tobytes(), _LEVEL)

    def _read_points(self, pair: Pair, size: Size) -> npt.NDArray[np.int32] | None:
        """(y, x) of a pair's fixations; None, with an issue, where they are invalid."""
        source = pair.fixations
        if isinstance(source, Path):
            return self._read_or_report(source, lambda path: read_fixations(path, size, pair.drop_outside))
        try:
            return points_inside(source.coordinates, size, pair.drop_outside)
        except InvalidFileError as error:
            self.issues.add(*DataIssue.of(pair.image, error, pair.name))
            return None

    def _write_native_density(self, compressed_maps: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Write maps one behind the other, as they come; where each starts, and the last one ends."""
        starts = [0]
        with (self.folder / "native_density.npy").open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (0,)}
            np.lib.format.write_array_header_1_0(stream, header)
            for compressed in compressed_maps:
                stream.write(compressed)
                starts.append(starts[-1] + len(compressed))
            stream.seek(0)  # numpy leaves room in a header for an array that grows
            np.lib.format.write_array_header_1_0(stream, header | {"shape": (starts[-1],)})
        return np.array(starts, dtype=np.int64)

    def _write_remaining_arrays(self, native_starts: npt.NDArray[np.int64]) -> None:
        """Flush the large arrays and write the small ones."""
        for large in self.arrays.values():
            large.flush()
        point_counts = [len(points) for points in self.points]
        arrays: dict[str, npt.NDArray[Any]] = {
            "sizes": np.array(self.sizes, dtype=np.int64),
            "image_rows": self.image_rows,
            "native_starts": native_starts,
            "points": np.concatenate(self.points),
            "point_starts": np.concatenate(([0], np.cumsum(point_counts))),
        }
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array, allow_pickle=False)


def _with_progress(results: Iterable[_Result], what: str, count: int) -> Iterator[_Result]:
    """The results, with a bar on a terminal and a few lines in a log file."""
    if sys.stderr.isatty():
        yield from bar(results, f"decoding {what}", count)
        return
    step = max(1, count // 4)
    for done, result in enumerate(results, start=1):
        yield result
        if done % step == 0:
            _log.info("decoding %s: %d of %d", what, done, count)
