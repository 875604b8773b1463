"""On-disk feature cache: features of frozen modules, computed once for each image and read back afterwards.

The caller of a network names its input images with :func:`addressed`; the network runs its frozen modules through
:func:`get_or_compute`. Features are found without reading a pixel: their address is the image's row in the decoded
cache and whether it is mirrored, in a table for one digest of everything else that decides their bits.

Computed or read back, features have the same bits: frozen modules always run on the same number of images at once.

An invalid file of the cache never stops a run: the features are computed, and one warning says why.
"""

import errno
import hashlib
import json
import logging
import math
import os
import platform
import stat
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from saltext.models.freezing import tensor_versions

if TYPE_CHECKING:  # imports the readers of data sets
    from saltext.data.keys import ImageKey, ImageSource

_log = logging.getLogger(__name__)

Features = tuple[Tensor, ...]
"""Tensors of shape ``(batch, ...)``."""

Compute = Callable[[list[int]], Features]
"""Indices of images in the batch -> their features."""

RESIDENT_FRACTION = 0.25
"""Fraction of a device's free memory that features may occupy, measured when the first features arrive there."""

_FORMAT = 1
_MAGIC = b"saltextF"
_HEADER_BYTES = 4096  # before the first record
_RECORD_HEADER_BYTES = 32  # magic, checksum, digest of the text
_ALIGNMENT = 64  # bytes
_NO_TEXT = bytes(16)
_TEXTS_PER_IMAGE = 8
_DISK_FRACTION = 0.9  # of the free disk that a table may fill
_CONTAINER = Path("/sys/fs/cgroup")
_PHOTOS = 256 * 2**20  # bytes of features of the last photos: those of a few dozen

_AT_ONCE = {"cpu": 1}  # images per call; the bits of a result may depend on the number of images
_AT_ONCE_ELSEWHERE = 8


class _UntrackedError(Exception):
    """Weights were created in inference mode, so that torch does not record when they change."""


class _Address(NamedTuple):
    """Where the features of an image (and a text) are in a table."""

    slot: int  # 2 x row of the image, + 1 for the mirrored image
    text: bytes  # digest of the text


class FeatureCache:
    """Features of frozen modules by image, on disk for all runs, or in memory for the last photos.

    Several processes may use the same folder at once. ``copy.deepcopy`` returns the cache itself.

    Args:
        folder: Folder of the files, one for each frozen module and setting; created on first use. A file takes at most
            twice the number of images times the size of an image's features. None: nothing is written, and the
            features of the last images are kept in memory, up to 256 MiB.
        resident: Whether features stay in the memory of the device that needs them, up to :data:`RESIDENT_FRACTION` of
            the free memory there. None: on all devices but the CPU, where the system caches the files in memory anyway.
    """

    def __init__(self, folder: Path | str | None = None, resident: bool | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.resident = resident
        self._tables: dict[tuple[str, ImageSource, int], _Table] = {}
        self._settings: dict[str, str] = {}
        self._recent = _RecentFeatures(_PHOTOS)
        self._module_digests: dict[object, tuple[str, object]] = {}
        self._text_digests: dict[str, bytes] = {"": _digest16(b"")}
        self._budgets: dict[torch.device, int] = {}
        self._warned = False

    def __deepcopy__(self, memo: object) -> "FeatureCache":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureCache, (self.folder, self.resident)

    @property
    def disk_bytes(self) -> int:
        """Disk space of the files in use, in bytes."""
        return sum(table.disk_bytes for table in self._tables.values())

    def __len__(self) -> int:
        """Number of entries that this process computed or read."""
        return len(self._recent) + sum(len(table) for table in self._tables.values())

    def get_or_compute(
        self,
        modules: Sequence[nn.Module],
        samples: "Samples",
        compute: Compute,
        texts: Sequence[str] | None = None,
    ) -> Features:
        """See :func:`get_or_compute`; the images are those of ``samples``."""
        device = samples.images.device
        sources = {key.source for key in samples.keys if key is not None}
        if not sources or (len(sources) > 1 and self.folder is not None):  # a batch of several data sets
            return in_chunks(compute, range(len(samples.keys)), device)
        text_digests = [_NO_TEXT] * len(samples.keys) if texts is None else [self._text_digest(text) for text in texts]
        try:
            setting = self._setting_digest(modules, samples, texts is not None)
        except _UntrackedError:
            return in_chunks(compute, range(len(samples.keys)), device)
        keys = list(zip(samples.keys, text_digests, strict=True))
        if self.folder is None:
            store: _Store = self._recent
            addresses: list[Any] = [None if key is None else (setting, key, text) for key, text in keys]
        else:
            (source,) = sources
            store = self._open_table(setting, source, 1 if texts is None else _TEXTS_PER_IMAGE)
            addresses = [None if key is None else _Address(2 * key.row + key.mirrored, text) for key, text in keys]
        features, missing = store.get(addresses, device)
        if not missing:
            return features
        # Compute each address once; an image without a key counts as different from all others.
        missing_addresses = [addresses[index] or index for index in missing]
        first_index = dict(zip(reversed(missing_addresses), reversed(missing), strict=True))
        to_compute = sorted(first_index.values())
        computed = in_chunks(compute, to_compute, device)
        store.put([addresses[index] for index in to_compute], computed)
        if len(to_compute) == len(addresses):
            return computed
        row_of_index = {index: row for row, index in enumerate(to_compute)}
        rows = [row_of_index[first_index[address]] for address in missing_addresses]
        if not features:
            return tuple(tensor[rows] for tensor in computed)  # nothing was cached
        for whole, part in zip(features, computed, strict=True):
            whole[missing] = part[rows]
        return features

    def _text_digest(self, text: str) -> bytes:
        if text not in self._text_digests:
            self._text_digests[text] = _digest16(text.encode("utf-8", "surrogatepass"))
        return self._text_digests[text]

    def _setting_digest(self, modules: Sequence[nn.Module], samples: "Samples", reads_text: bool) -> str:
        """Digest of everything that decides the bits of the features, besides image and text."""
        images = samples.images
        described = {
            "format": _FORMAT,
            "modules": [self._module_digest(module, samples) for module in modules],
            "input": [list(images.shape[1:]), str(images.dtype), list(images.stride()[1:])],
            "preprocessing": self._module_digest(samples.preprocessing, samples),
            "reads_text": reads_text,
            "kernels": _numerical_environment(images.device),
        }
        text = json.dumps(described, sort_keys=True)
        if text not in self._settings:
            self._settings[text] = _digest16(text.encode()).hex()
        return self._settings[text]

    def _module_digest(self, module: nn.Module, samples: "Samples") -> str:
        """Digest of a module's weights and configuration, computed again when one of its tensors was written to."""
        if id(module) in samples.digests:  # checked once per forward pass
            return samples.digests[id(module)]
        tensors = [*module.parameters(), *module.buffers()]
        if any(tensor.is_inference() for tensor in tensors):
            raise _UntrackedError
        state = (id(module), getattr(module, "inference", ""), *tensor_versions(module))
        if state not in self._module_digests:
            # The entry keeps module and tensors alive, so that no others get their ids.
            self._module_digests[state] = _digest_module(module), (module, tensors)
        samples.digests[id(module)] = self._module_digests[state][0]
        return samples.digests[id(module)]

    def _open_table(self, setting: str, source: "ImageSource", ways: int) -> "_Table":
        """The table for a digest of settings and a source of images, with ``ways`` texts per image."""
        key = setting, source, ways
        if key not in self._tables:
            digest = _digest16(f"{setting} {source.digest} {source.images} {ways}".encode()).hex()
            if self.folder is None:
                raise RuntimeError("expected a folder for a table of features, got none")
            path = self.folder / f"{digest}.features"
            file = _RecordFile(path, digest, 2 * source.images, ways, self._warn_once)
            self._tables[key] = _Table(file, 2 * source.images * ways, self.resident, self._grant)
        return self._tables[key]

    def _grant(self, device: torch.device, wanted: int, unit: int) -> int:
        """How many of some features a table may keep on a device, each of ``unit`` bytes."""
        if device not in self._budgets:
            self._budgets[device] = int(RESIDENT_FRACTION * free_memory(device))
        granted = min(wanted, self._budgets[device] // max(1, unit))
        self._budgets[device] -= granted * unit
        return granted

    def _warn_once(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("feature cache in %s: %s; the run continues without it", self.folder, problem)


@dataclass(frozen=True)
class Samples:
    """The input images of the current forward pass.

    Attributes:
        cache: The cache of their features.
        images: The tensor that the network gets; features are looked up for this very object only.
        keys: Key of each image; None for an image that does not occur again.
        preprocessing: The module that computed ``images`` from pixels.
        digests: ``id`` of a module -> digest of its weights during the pass.
    """

    cache: FeatureCache
    images: Tensor
    keys: Sequence["ImageKey | None"]
    preprocessing: nn.Module
    digests: dict[int, str] = field(default_factory=dict)


_samples: ContextVar[Samples | None] = ContextVar("samples", default=None)


@contextmanager
def addressed(
    cache: FeatureCache | None, images: Tensor, keys: Sequence["ImageKey | None"] | None, preprocessing: nn.Module
) -> Iterator[None]:
    """Name the images of a forward pass, so that :func:`get_or_compute` inside the block can look up their features.

    Args:
        cache: The cache of their features; None computes all.
        images: Input of the network, shape ``(batch, 3, height, width)``. Features are looked up for this very tensor
            only: a mirrored, cropped or indexed copy has no key.
        keys: Key of each image; None, for one or all images, where they do not occur again.
        preprocessing: The module that computed ``images`` from the pixels that the keys identify.

    Raises:
        ValueError: The numbers of keys and images differ.
    """
    if keys is not None and len(keys) != len(images):
        raise ValueError(f"expected one key an image, got {len(keys)} keys for {len(images)} images")
    token = _samples.set(None if cache is None or keys is None else Samples(cache, images, keys, preprocessing))
    try:
        yield
    finally:
        _samples.reset(token)


def get_or_compute(
    modules: Sequence[nn.Module], images: Tensor, compute: Compute, texts: Sequence[str] | None = None
) -> Features:
    """Features of frozen modules for a batch; only those that are not cached are computed.

    Without :func:`addressed`, or for other images than it names, all are computed, with the same bits.

    Args:
        modules: Frozen modules in evaluation mode: all whose weights or configuration decide the features.
        images: The images, the same tensor that the network was given.
        compute: Indices in the batch -> features of these images, tensors of shape ``(indices, ...)``. The features of
            an image must not depend on the other images.
        texts: One per image, where features also depend on a text. Up to 8 texts per image are cached.

    Returns:
        The result of ``compute`` for all indices, contiguous, on the device of ``images``; without gradient unless
        ``images`` has one.
    """
    if torch.is_grad_enabled() and images.requires_grad:
        return in_chunks(compute, range(len(images)), images.device)
    # Tensors created in inference mode could not be changed or trained on afterwards.
    with torch.inference_mode(False), torch.no_grad():
        samples = _samples.get()
        if samples is None or samples.images is not images:
            return in_chunks(compute, range(len(images)), images.device)
        return samples.cache.get_or_compute(modules, samples, compute, texts)


def in_chunks(compute: Compute, indices: Sequence[int], device: torch.device) -> Features:
    """``compute`` of all indices in chunks of one size, padded if need be: the bits may depend on the size."""
    size = _AT_ONCE.get(device.type, _AT_ONCE_ELSEWHERE)
    chunks = []
    for start in range(0, len(indices), size):
        chunk = list(indices[start : start + size])
        features = compute(chunk + chunk[-1:] * (size - len(chunk)))
        chunks.append(tuple(tensor[: len(chunk)] for tensor in features))
    # The memory layout decides which kernels follow, so it is the same as for features that are read back.
    return tuple(torch.cat(column).contiguous() for column in zip(*chunks, strict=True))


def _digest16(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _digest_module(module: nn.Module) -> str:
    hasher = hashlib.blake2b(repr(module).encode(), digest_size=16)
    for name, child in module.named_modules():
        # repr does not show everything that decides the result, such as the number of attention heads.
        settings = {key: value for key, value in vars(child).items() if _is_setting(value)}
        hasher.update(f"{name} {type(child).__qualname__} {sorted(settings.items())}".encode())
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()]):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}".encode())
        hasher.update(_bytes(tensor.detach()))
    return hasher.hexdigest()


def _is_setting(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_setting(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


def _bytes(tensor: Tensor) -> bytes:
    content: bytes = tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return content


def _numerical_environment(device: torch.device) -> list[str]:
    """What decides the bits of a computation besides its inputs: hardware, libraries, precision and threads."""
    kind = device.type
    environment = [torch.__version__, kind, torch.get_float32_matmul_precision()]
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    environment.append(str(torch.get_autocast_dtype(kind)) if autocast else "no autocast")
    environment.append(f"deterministic {torch.are_deterministic_algorithms_enabled()}")
    if kind == "cpu":
        threads = f"{torch.get_num_threads()} threads"
        environment += [platform.machine(), torch.backends.cpu.get_cpu_capability(), threads]
        environment.append(f"mkldnn {torch.backends.mkldnn.enabled}")
    elif kind == "cuda":
        cudnn = torch.backends.cudnn
        environment += [torch.cuda.get_device_name(device), str(cudnn.version())]  # type: ignore[no-untyped-call]
        environment.append(f"cudnn {cudnn.enabled} {cudnn.benchmark} {cudnn.deterministic} {cudnn.allow_tf32}")
    return environment


class _Store(Protocol):
    """Holds the features of single images."""

    def get(self, addresses: Sequence[Any], device: torch.device) -> tuple[Features, list[int]]:
        """Cached features, and the indices of those that are not cached, whose rows are undefined.

        The features are empty where none is cached.
        """

    def put(self, addresses: Sequence[Any], features: Features) -> None:
        """Cache the features of some images; those with the address None are not cached."""

    def __len__(self) -> int:
        """Number of entries that were read or written."""


class _RecentFeatures:
    """The most recently used features, in memory.

    Args:
        most_bytes: Maximum size of all of them together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[object, Features] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, addresses: Sequence[Any], device: torch.device) -> tuple[Features, list[int]]:
        found = [None if address is None else self._kept.get(address) for address in addresses]
        for address, features in zip(addresses, found, strict=True):
            if features is not None:
                self._kept.move_to_end(address)
        missing = [index for index, features in enumerate(found) if features is None]
        known = next((features for features in found if features is not None), None)
        if known is None:
            return (), missing
        rows = [known if features is None else features for features in found]
        return tuple(torch.stack(column).to(device) for column in zip(*rows, strict=True)), missing

    def put(self, addresses: Sequence[Any], features: Features) -> None:
        for index, address in enumerate(addresses):
            if address is not None and address not in self._kept:
                # A copy: a row of a batch would keep the whole batch alive.
                self._kept[address] = tuple(tensor[index].clone() for tensor in features)
                self._bytes += _size(self._kept[address])
        while self._bytes > self._most_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(features: Features) -> int:
    return sum(tensor.nbytes for tensor in features)


@dataclass(frozen=True)
class _Layout:
    """Shapes and types of the features of one image."""

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @classmethod
    def of(cls, features: Features) -> "_Layout":
        return cls(tuple(tuple(t.shape[1:]) for t in features), tuple(t.dtype for t in features))

    @property
    def nbytes(self) -> int:
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True))

    def empty(self, count: int, device: torch.device) -> Features:
        pairs = zip(self.shapes, self.dtypes, strict=True)
        return tuple(torch.empty((count, *shape), dtype=dtype, device=device) for shape, dtype in pairs)

    def json(self) -> list[Any]:
        return [list(map(list, self.shapes)), [str(dtype).removeprefix("torch.") for dtype in self.dtypes]]

    @classmethod
    def from_json(cls, value: Any) -> "_Layout":
        shapes, dtypes = value
        found = cls(tuple(tuple(map(int, shape)) for shape in shapes), tuple(getattr(torch, name) for name in dtypes))
        if len(found.shapes) != len(found.dtypes) or not all(isinstance(d, torch.dtype) for d in found.dtypes):
            raise ValueError("expected a shape and a type for each feature")
        return found


class _Table:
    """Features of one setting: a file with a record for each image and mirror image, and a copy on the device.

    Args:
        file: The file.
        most: Maximum number of its records.
        resident: See :class:`FeatureCache`.
        grant: ``(device, number of features, bytes of each) -> how many of them may be kept on the device``.
    """

    def __init__(
        self,
        file: "_RecordFile",
        most: int,
        resident: bool | None,
        grant: Callable[[torch.device, int, int], int],
    ) -> None:
        self._file = file
        self._most = most
        self._wants_resident = resident
        self._grant = grant
        self._layout = self._file.layout
        self._resident: _ResidentFeatures | None = None

    @property
    def disk_bytes(self) -> int:
        return self._file.disk_bytes

    def __len__(self) -> int:
        return max(len(self._file.known), 0 if self._resident is None else len(self._resident.index))

    def get(self, addresses: Sequence[_Address | None], device: torch.device) -> tuple[Features, list[int]]:
        """See :class:`_Store`."""
        if self._layout is None:
            return (), list(range(len(addresses)))
        if self._wants_resident or (self._wants_resident is None and device.type != "cpu"):
            return self._get_from_device(addresses, self._resident_features(device, self._layout))
        features = self._layout.empty(len(addresses), torch.device("cpu"))
        missing = []
        for index, address in enumerate(addresses):
            if address is None:
                missing.append(index)
                continue
            row = tuple(tensor[index] for tensor in features)
            # Features that could not be written are in memory alone.
            in_memory = self._resident is not None and self._resident.copy(address, row)
            if not in_memory and not self._file.read(address, row):
                missing.append(index)
        return tuple(tensor.to(device) for tensor in features), missing

    def _get_from_device(
        self, addresses: Sequence[_Address | None], resident: "_ResidentFeatures"
    ) -> tuple[Features, list[int]]:
        """As :meth:`get`, from the device, after features that are only in the file were copied there."""
        without_room: dict[int, Features] = {}
        missing = []
        for index, address in enumerate(addresses):
            if address is None:
                missing.append(index)
            elif address not in resident.index:
                features_of_image = resident.layout.empty(1, torch.device("cpu"))
                if not self._file.read(address, tuple(tensor[0] for tensor in features_of_image)):
                    missing.append(index)
                elif not resident.put(address, features_of_image):
                    without_room[index] = features_of_image
        if len(missing) == len(addresses):
            return (), missing
        features = resident.select([0 if address is None else resident.index.get(address, 0) for address in addresses])
        for index, features_of_image in without_room.items():
            for whole, part in zip(features, features_of_image, strict=True):
                whole[index] = part[0].to(resident.device)
        return features, missing

    def put(self, addresses: Sequence[_Address | None], features: Features) -> None:
        """See :class:`_Store`."""
        self._layout, device = _Layout.of(features), features[0].device
        for index, address in enumerate(addresses):
            if address is None:
                continue
            features_of_image = tuple(tensor[index : index + 1] for tensor in features)
            written = self._file.write(address, self._layout, features_of_image)
            if self._wants_resident or (self._wants_resident is None and (device.type != "cpu" or not written)):
                self._resident_features(device, self._layout).put(address, features_of_image)

    def _resident_features(self, device: torch.device, layout: _Layout) -> "_ResidentFeatures":
        """The features on a device, allocated on first use."""
        if self._resident is None or self._resident.device != device or self._resident.layout != layout:
            self._resident = _ResidentFeatures(layout, self._grant(device, self._most, layout.nbytes), device)
        return self._resident


class _ResidentFeatures:
    """Features in the memory of a device, as many as fit.

    Args:
        layout: Shapes and types of an image's features.
        capacity: Maximum number of images.
        device: The device.
    """

    def __init__(self, layout: _Layout, capacity: int, device: torch.device) -> None:
        self.layout = layout
        self.device = device
        self.index: dict[_Address, int] = {}
        self._capacity = capacity
        try:
            self._tensors = layout.empty(max(1, self._capacity), device)
        except RuntimeError:  # out of memory
            self._capacity = 0
            self._tensors = layout.empty(1, device)

    def put(self, address: _Address, features: Features) -> bool:
        """Store the features of an image, shape ``(1, ...)``; whether there was room."""
        if address in self.index:
            return True
        number = len(self.index)
        if number >= self._capacity:
            return False
        for whole, one in zip(self._tensors, features, strict=True):
            whole[number].copy_(one[0])
        self.index[address] = number
        return True

    def copy(self, address: _Address, into: Features) -> bool:
        """Copy the features of an image; whether they are stored here."""
        number = self.index.get(address)
        if number is not None:
            for whole, one in zip(self._tensors, into, strict=True):
                one.copy_(whole[number])
        return number is not None

    def select(self, numbers: Sequence[int]) -> Features:
        """Features of some images, by their numbers; without waiting for the device."""
        index = torch.tensor(numbers)
        if self.device.type == "cuda":
            index = index.pin_memory()
        index = index.to(self.device, non_blocking=True)
        return tuple(tensor.index_select(0, index) for tensor in self._tensors)


def free_memory(device: torch.device) -> int:
    """Free memory of a device in bytes; 0 where it is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0
    with suppress(OSError, ValueError):  # a container may have a lower limit than its machine, or none ("max")
        most, used = (int((_CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(0, most - used))
    return free


class _RecordFile:
    """One file: a header with the layout, then a record for each slot and way, each with a checksum.

    A record is written by one call and has a checksum, so a kill, or another process that writes the same record,
    leaves a whole record or an invalid one. Records are read by ``preadv``, not memory-mapped: an unreadable part of a
    mapped file would kill the process; here it is an error, and the features are computed again.

    Args:
        path: The file; created when the first record is written.
        digest: Digest of the table's settings; the records of a file with another digest are ignored.
        slots: Number of slots: images and mirror images.
        ways: Records per slot, one for each text.
        warn: Called with a description of an error of the file.
    """

    def __init__(self, path: Path, digest: str, slots: int, ways: int, warn: Callable[[str], None]) -> None:
        self._path = path
        self._seed = zlib.crc32(digest.encode())
        self._digest = digest
        self._slots = slots
        self._ways = ways
        self._warn = warn
        self._descriptor: int | None = None
        self._writes = True
        self.layout: _Layout | None = None
        self.known: dict[_Address, int] = {}  # address of a valid record that was read or written -> its way
        self._open_existing()

    @property
    def disk_bytes(self) -> int:
        if self._descriptor is None:
            return 0
        with suppress(OSError):
            return os.fstat(self._descriptor).st_blocks * 512
        return 0

    def _open_existing(self) -> None:
        """Open the file if it exists, and read the layout; the file is created only when a record is written."""
        try:
            self._descriptor = self._open_descriptor(os.O_RDWR)
        except FileNotFoundError:
            return
        except OSError:
            self._writes = False
            try:
                self._descriptor = self._open_descriptor(os.O_RDONLY)
            except OSError as error:
                self._warn(f"{self._path.name} cannot be read ({_reason(error)})")
                return
        try:
            header = os.pread(self._descriptor, _HEADER_BYTES, 0)
        except OSError as error:
            self._stop_writing(error)
            return
        self.layout = self._parse_header(header)

    def _open_descriptor(self, flags: int) -> int:
        # O_NONBLOCK: opening a pipe would wait for its other end.
        descriptor = os.open(self._path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        weakref.finalize(self, os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "expected a regular file")
        return descriptor

    def _parse_header(self, header: bytes) -> _Layout | None:
        """The layout in a header; None if the header is damaged or of another table. Written by ``_prepare``."""
        checksum, length = int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:16], "little")
        described = header[16 : 16 + length]
        if header[:8] != _MAGIC or zlib.crc32(described) != checksum:
            return None
        try:
            content = json.loads(described)
            return _Layout.from_json(content["layout"]) if content["digest"] == self._digest else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _offset(self, slot: int, way: int, layout: _Layout) -> int:
        """Position of a record in the file."""
        size = -(-(_RECORD_HEADER_BYTES + layout.nbytes) // _ALIGNMENT) * _ALIGNMENT
        return _HEADER_BYTES + (slot * self._ways + way) * size

    def _checksum(self, address: _Address, content: Sequence[memoryview]) -> int:
        checksum = zlib.crc32(address.slot.to_bytes(8, "little") + address.text, self._seed)
        for part in content:
            checksum = zlib.crc32(part, checksum)
        return checksum

    def read(self, address: _Address, into: Features) -> bool:
        """Read an image's features into CPU tensors; False where there is no valid record of them."""
        if self._descriptor is None or self.layout is None or not 0 <= address.slot < self._slots:
            return False
        views = [_view(tensor) for tensor in into]
        known = self.known.get(address)
        for way in range(self._ways) if known is None else [known]:
            header = bytearray(_RECORD_HEADER_BYTES)
            try:
                start = self._offset(address.slot, way, self.layout)
                if self._ways > 1:  # records of several texts: check the text first
                    first_bytes = os.pread(self._descriptor, _RECORD_HEADER_BYTES, start)
                    if first_bytes[:8] != _MAGIC or first_bytes[16:32] != address.text:
                        continue
                read = _read_all(self._descriptor, [memoryview(header), *views], start)
            except OSError as error:
                self._stop_writing(error)
                return False
            expected = _RECORD_HEADER_BYTES + self.layout.nbytes
            valid = read == expected and header[:8] == _MAGIC and header[16:32] == address.text
            # The checksum is compared once in each process: afterwards the record comes from the system's memory.
            if valid and known is None:
                valid = int.from_bytes(header[8:12], "little") == self._checksum(address, views)
            if valid:
                self.known[address] = way
                return True
            self.known.pop(address, None)
            return False
        return False

    def write(self, address: _Address, layout: _Layout, features: Features) -> bool:
        """Write an image's features, shape ``(1, ...)``; False where that cannot be done."""
        if not self._writes or not 0 <= address.slot < self._slots:
            return False
        try:
            self._prepare(layout)
            way = self._free_way(address, layout)
            if way is None or self._descriptor is None:
                return False
            content = [_view(tensor[0].cpu().contiguous()) for tensor in features]
            checksum = self._checksum(address, content)
            header = _MAGIC + checksum.to_bytes(4, "little") + bytes(4) + address.text
            _write_all(self._descriptor, b"".join((header, *content)), self._offset(address.slot, way, layout))
            self.known[address] = way
        except OSError as error:
            self._stop_writing(error)
            return False
        return True

    def _prepare(self, layout: _Layout) -> None:
        """Create the file, or write a new header if its layout is another one or damaged."""
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._open_descriptor(os.O_RDWR | os.O_CREAT)
        if self.layout == layout:
            return
        self.known.clear()
        needed = self._offset(self._slots, 0, layout)
        free = os.statvfs(self._path.parent)
        if needed - self.disk_bytes > _DISK_FRACTION * free.f_bavail * free.f_frsize:
            raise OSError(errno.ENOSPC, f"{needed / 2**30:.1f} GiB are needed at most, fewer are free")
        described = json.dumps({"digest": self._digest, "layout": layout.json(), "format": _FORMAT}).encode()
        content = zlib.crc32(described).to_bytes(4, "little") + len(described).to_bytes(4, "little") + described
        _write_all(self._descriptor, (_MAGIC + content).ljust(_HEADER_BYTES, b"\0"), 0)
        self.layout = layout

    def _free_way(self, address: _Address, layout: _Layout) -> int | None:
        """The way of the record of the same text, or else the first free one; None if all are occupied."""
        if self._ways == 1 or self._descriptor is None:
            return 0
        for way in range(self._ways):
            header = os.pread(self._descriptor, _RECORD_HEADER_BYTES, self._offset(address.slot, way, layout))
            if header[:8] != _MAGIC or header[16:32] == address.text:
                return way
        return None

    def _stop_writing(self, error: OSError) -> None:
        """Continue without writing after an error of the file."""
        self._writes = False
        self._warn(f"{self._path.name}: {_reason(error)}")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _view(tensor: Tensor) -> memoryview:
    view: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return view


def _read_all(descriptor: int, into: list[memoryview], start: int) -> int:
    """Fill buffers from an offset of a file; the number of bytes read, fewer than they hold where the file ends."""
    read = os.preadv(descriptor, into, start)
    if read in (sum(len(part) for part in into), 0):
        return read
    done = 0  # a call may read less than the file has: read again, piece by piece
    for part in into:
        content = b""
        while len(content) < len(part):
            piece = os.pread(descriptor, len(part) - len(content), start + done + len(content))
            if not piece:
                return done + len(content)
            content += piece
        part[:] = content
        done += len(part)
    return done


def _write_all(descriptor: int, content: bytes, start: int) -> None:
    """Write at an offset of a file.

    Raises:
        OSError: Not all of it could be written.
    """
    done = 0
    while done < len(content):
        done += os.pwrite(descriptor, content[done:], start + done)
