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
import re
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from saltext.console import bar
from saltext.data import checksums
from saltext.data.density import grey_map, in_8_bits
from saltext.data.files import points_inside, read_fixations
from saltext.data.fitting import fit
from saltext.data.geometry import Resize, Size
from saltext.data.pairs import FilePair, FixationPoints, Pair
from saltext.data.recorded import density_map, image_size, issue
from saltext.data.report import DataIssue, DataReport
from saltext.errors import ConfigError, DataError, InvalidFileError
from saltext.images import check_file, read_head, read_photo
from saltext.storage import write_json
from saltext.system.home import own_folder

_log = logging.getLogger(__name__)

_FORMAT = 2  # of the arrays
_LEVEL = 1  # of zlib, for maps at native resolution: a sixth of their size, read in half a millisecond
_READING_RULES = 2  # version of the rules for transparent or rotated images and coloured masks
_ARRAYS = ("images", "image_rows", "density", "sizes", "native_density", "native_starts", "points", "point_starts")
_DIGEST = re.compile(r"[0-9a-f]{32}")
_REPLACE = "Replace these files with good ones and run again."
_OTHER_THAN_PICTURES = (".npy", ".csv", ".mat")

_UInt8 = npt.NDArray[np.uint8]
_Digests = Mapping[Path, str]
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
        picture: _UInt8 = self.images[self.image_rows[pair]]
        return picture

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

    Safe with several processes: each builds in a folder of its own and renames it; the second one drops its copy.

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
        temporary = _temporary_caches()
        _log.info("%s cannot be written to: the decoded cache is in %s", cache_dir, temporary)
        cache_dir, damage = temporary, _cache_damage(temporary / key)
    folder = cache_dir / key
    if damage:
        if folder.is_dir():
            _log.info("the decoded cache %s is damaged (%s): making it again", folder, damage)
        _build_cache(pairs, settings, digests, folder)
    return DecodedCache(folder, settings)


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


def _temporary_caches() -> Path:
    """This user's temporary folder for decoded caches, used where ``cache_dir`` is read-only.

    Raises:
        DataError: It cannot be written to.
    """
    try:
        return own_folder("cache")
    except OSError as error:
        raise DataError(
            "Expected data.cache_dir, or a folder for temporary files, that can be written to, but neither can "
            f"({error}). Point data.cache_dir elsewhere."
        ) from error


def _sources(pair: Pair) -> Iterator[tuple[str, Path | FixationPoints | float]]:
    """Kind and source of the image, the map and the fixations of a pair."""
    yield "image", pair.image
    yield "density", pair.density
    yield "fixations", pair.fixations


def _files(pairs: Iterable[Pair]) -> Iterator[tuple[str, Path]]:
    """Kind and path of every file, pair by pair."""
    return ((kind, source) for pair in pairs for kind, source in _sources(pair) if isinstance(source, Path))


def _check_files(pairs: Sequence[Pair]) -> None:
    """Raise DataError unless all files are regular; called before any is opened, since opening a pipe would block."""
    problems = DataReport()
    for path in dict.fromkeys(path for _, path in _files(pairs)):
        try:
            check_file(path)
        except InvalidFileError as error:
            problems.add(*DataIssue.of(path, error))
    problems.raise_if_any(f"The data set under {pairs[0].image.parent.parent}", _REPLACE)


def _content_lines(pair: Pair, digests: _Digests) -> Iterator[str]:
    """Lines that describe the content a pair's arrays are decoded from, for the cache's key."""
    for kind, source in _sources(pair):
        if isinstance(source, Path):
            yield f"{kind}/{source.name}:{digests[source]}\n"
        else:
            yield f"{kind}:{source.digest if isinstance(source, FixationPoints) else source}\n"
    if pair.drop_outside:
        yield "drop_outside\n"
    if not isinstance(pair, FilePair):  # files of published data sets mean the same in every version
        yield f"reading {_READING_RULES}\n"


def _cache_key(pairs: Sequence[Pair], settings: CacheSettings, digests: _Digests) -> str:
    """Digest of settings and contents; it does not change when the data set moves to another folder."""
    hasher = hashlib.blake2b(json.dumps([_FORMAT, asdict(settings)]).encode(), digest_size=12)
    for pair in pairs:
        hasher.update("".join(_content_lines(pair, digests)).encode())
    return hasher.hexdigest()


def digest_files(files: Iterable[tuple[str, Path]], root: Path, cache_dir: Path) -> dict[Path, str]:
    """Content digest of every file, cached between runs while a file's size and times stay the same.

    Args:
        files: Kind and path of each; files are recognised by kind and name below ``root``.
        root: Folder of the data set.
        cache_dir: Folder of the file with the digests; if it cannot be written, they are computed again next time.

    Returns:
        Path -> digest.
    """
    root_digest = hashlib.blake2b(str(root.resolve()).encode(), digest_size=8).hexdigest()
    digest_file = cache_dir / f"digests-{root_digest}.json"
    known = _known_digests(digest_file)
    inode_of: dict[Path, tuple[int, int, Path | None]] = {}
    digest_of_inode: dict[tuple[int, int, Path | None], str] = {}  # published copies of one image may be hard links
    stamps: dict[str, tuple[Path, list[int]]] = {}
    for kind, path in files:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        name = f"{kind}/{str(path).removeprefix(str(root))}"  # names alone repeat where conditions have folders
        stamps[name] = path, stamp
        inode_of[path] = status.st_dev, status.st_ino, None if status.st_ino else path
        *old_stamp, old_digest = known.get(name, [""])
        if old_stamp == stamp and _DIGEST.fullmatch(old_digest):
            digest_of_inode[inode_of[path]] = old_digest
    missing = {inode: path for path, inode in inode_of.items() if inode not in digest_of_inode}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digest_of_inode.update(zip(missing, pool.map(_digest, missing.values()), strict=True))
    digests = {path: digest_of_inode[inode] for path, inode in inode_of.items()}
    current = {name: [*stamp, digests[path]] for name, (path, stamp) in stamps.items()}
    current = known | current  # scoring reads only some of the files
    if current != known:
        with suppress(OSError):  # a read-only folder, or a full disk
            cache_dir.mkdir(parents=True, exist_ok=True)
            write_json(digest_file, {"crc32": _crc(current), "files": current})
    return digests


def _crc(files: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(files, sort_keys=True).encode())


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _known_digests(path: Path) -> dict[str, list[Any]]:
    """Digests that an earlier run wrote; empty where the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files: dict[str, list[Any]] = content["files"]
        return files if content["crc32"] == _crc(files) else {}
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return {}


def _build_cache(pairs: Sequence[Pair], settings: CacheSettings, digests: _Digests, folder: Path) -> None:
    """Decode all pairs into ``folder``, which exists only once it is complete."""
    started = time.monotonic()
    try:
        with checksums.building(folder) as part:
            _Builder(pairs, settings, digests, part).run()
    except OSError as error:
        raise DataError(
            f"the decoded cache cannot be written to {folder.parent} ({error.strerror or error}). Make room, or point "
            "data.cache_dir elsewhere."
        ) from error
    _log.info("decoded %d image-text pairs into %s in %.1f s", len(pairs), folder, time.monotonic() - started)


class _Builder:
    """One pass over all files that validates them and writes the arrays."""

    def __init__(self, pairs: Sequence[Pair], settings: CacheSettings, digests: _Digests, folder: Path) -> None:
        self.pairs = pairs
        self.settings = settings
        self.folder = folder
        self.root = pairs[0].image.parent.parent
        self.problems = DataReport()
        self.refused: set[Path] = set()
        first: dict[str, int] = {}  # content digest -> the first pair with that picture
        for index, pair in enumerate(pairs):
            first.setdefault(digests[pair.image], index)
        self.distinct = list(first.values())
        row = {digest: number for number, digest in enumerate(first)}
        self.image_rows = np.array([row[digests[pair.image]] for pair in pairs], dtype=np.int64)
        self.points: list[npt.NDArray[np.int32]] = [np.zeros((0, 2), np.int32)] * len(pairs)

    def run(self) -> None:
        """Write every array, or raise one error with all problems."""
        self.sizes = [self._native_size(pair) for pair in self.pairs]
        sizes = np.array(self.sizes, dtype=np.int64).reshape(-1, 2)
        self._allocate_arrays(sizes)
        self.usable: list[bool] = [bool(size.all()) for size in sizes]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for _ in _with_progress(pool.map(self._decode_image, self.distinct), "pictures", len(self.distinct)):
                pass
            maps = pool.map(self._decode_truth, range(len(self.pairs)))
            self.native_starts = self._write_native_density(_with_progress(maps, "maps", len(self.pairs)))
        self.problems.raise_if_any(f"The data set under {self.root}", _REPLACE)
        self._finish(sizes)

    def _native_size(self, pair: Pair) -> Size:
        """Height and width from the headers of the pair's files; (0, 0), with an issue, where they are invalid."""
        limit = self.settings.max_pixels
        pictures = {kind: source for kind, source in _sources(pair) if _is_picture(source) and kind != "image"}
        sizes = {"image": self._usable(pair.image, lambda _: image_size(pair, limit))}
        sizes |= {kind: self._usable(path, lambda path: read_head(path, limit).size) for kind, path in pictures.items()}
        valid: dict[str, Size] = {kind: size for kind, size in sizes.items() if size is not None}
        if len(set(valid.values())) > 1:
            listed = ", ".join(f"{kind} {width}x{height}" for kind, (height, width) in valid.items())
            self.problems.add("pairs whose image, map and fixation files differ in size", f"{pair.name} ({listed})")
            return 0, 0
        return valid["image"] if len(valid) == len(sizes) else (0, 0)

    def _usable(self, path: Path, work: Callable[[Path], _Result]) -> _Result | None:
        """The result of ``work`` on a file; None, with one issue per file, where the file is invalid."""
        if path in self.refused:
            return None
        try:
            return work(path)
        except InvalidFileError as error:
            self.refused.add(path)
            self.problems.add(*issue(path, error, self.settings.max_pixels))
        return None

    def _allocate_arrays(self, sizes: npt.NDArray[np.int64]) -> None:
        """Create the large arrays, after a check that they fit on the disk: a full disk would kill the process."""
        count, (rows, columns) = len(self.pairs), self.settings.image_size
        shapes = {
            "images": (len(self.distinct), rows, columns, 3),
            "density": (count, *self.settings.map_size),
        }
        compressed = int(sizes.prod(axis=1).sum()) // 4  # of SJTU-TIS a sixth
        needed = sum(int(np.prod(shape)) for shape in shapes.values()) + compressed
        free = shutil.disk_usage(self.folder).free
        if needed > 0.95 * free:
            raise DataError(
                f"the decoded cache needs {needed / 1e9:.1f} GB under {self.folder.parent}, where {free / 1e9:.1f} GB "
                "are free. Make room, point data.cache_dir elsewhere, or choose smaller sizes."
            )
        arrays = {
            name: np.lib.format.open_memmap(self.folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)
            for name, shape in shapes.items()
            if 0 not in shape
        }
        for name in arrays if hasattr(os, "posix_fallocate") else ():
            with (self.folder / f"{name}.npy").open("r+b") as stream:  # reserve the space, so that no one else takes it
                os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)
        self.arrays: Mapping[str, _UInt8] = arrays

    def _decode_image(self, index: int) -> None:
        path, size = self.pairs[index].image, self.sizes[index]
        photo = self._usable(path, lambda path: read_photo(path, self.settings.max_pixels))
        if photo is None or not self.usable[index]:
            return
        if photo.size != size:
            self.problems.add("images that EXIF data behind their pixels turn (save them upright)", path.name)
            return
        self.arrays["images"][self.image_rows[index]] = self._fit_to(
            Image.fromarray(photo.pixels), self.settings.image_size
        )

    def _decode_truth(self, index: int) -> bytes:
        """The pair's map at native resolution, compressed; empty, with an issue, where a file is invalid."""
        if not self.usable[index]:
            return b""
        pair, size = self.pairs[index], self.sizes[index]
        points = self._points(pair, size)
        if points is not None:
            self.points[index] = points
        density = self._map_in_8_bits(pair, size, self.points[index])
        if density is None:
            return b""
        self.arrays["density"][index] = self._fit_to(density, self.settings.map_size)
        return zlib.compress(np.asarray(density).tobytes(), _LEVEL)

    def _write_native_density(self, compressed: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Write maps one behind the other, as they come; where each starts, and the last one ends."""
        starts = [0]
        with (self.folder / "native_density.npy").open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (0,)}
            np.lib.format.write_array_header_1_0(stream, header)
            for of_pair in compressed:
                stream.write(of_pair)
                starts.append(starts[-1] + len(of_pair))
            stream.seek(0)  # numpy leaves room in a header for an array that grows
            np.lib.format.write_array_header_1_0(stream, header | {"shape": (starts[-1],)})
        return np.array(starts, dtype=np.int64)

    def _points(self, pair: Pair, size: Size) -> npt.NDArray[np.int32] | None:
        """(y, x) of a pair's fixations; None, with an issue, where the file is invalid."""
        source = pair.fixations
        if isinstance(source, Path):
            return self._usable(source, lambda path: read_fixations(path, size, drop_outside=pair.drop_outside))
        try:
            return points_inside(source.coordinates, size, pair.drop_outside)
        except InvalidFileError as error:
            self.problems.add(*DataIssue.of(pair.image, error, pair.name))
            return None

    def _map_in_8_bits(self, pair: Pair, size: Size, points: npt.NDArray[np.int32]) -> Image.Image | None:
        """A pair's map with 8 bits; None, with an issue, where the file is invalid."""
        source = pair.density
        if not isinstance(source, Path):
            return Image.fromarray(grey_map(points, size, source))
        density = self._usable(source, lambda path: density_map(path, size, self.settings.max_pixels))
        if density is None:
            return None
        return Image.fromarray(density if density.dtype == np.uint8 else in_8_bits(density / density.max()))

    def _fit_to(self, picture: Image.Image, target: Size) -> _UInt8:
        return fit(picture, target, self.settings.resize)[0]

    def _finish(self, sizes: npt.NDArray[np.int64]) -> None:
        for array in self.arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        point_starts = np.concatenate(([0], np.cumsum([len(points) for points in self.points])))
        small: dict[str, npt.NDArray[Any]] = {
            "sizes": sizes,
            "image_rows": self.image_rows,
            "native_starts": self.native_starts,
            "points": np.concatenate(self.points),
            "point_starts": point_starts,
        }
        for name, array in small.items():
            np.save(self.folder / f"{name}.npy", array, allow_pickle=False)


def _is_picture(source: Path | FixationPoints | float) -> TypeGuard[Path]:
    return isinstance(source, Path) and source.suffix.lower() not in _OTHER_THAN_PICTURES


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
