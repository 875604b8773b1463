"""Features of frozen modules, computed once for each image and read back afterwards.

Whoever runs a network says which images it is given (:func:`addressed`); a network has its frozen modules run by
:func:`get_or_compute`. No pixel is looked at to find a feature: it is addressed by the image's row in the decoded cache
and whether it is mirrored, in a table that is valid for one digest of all that decides its bits.

Computed or read back, features have the same bits: frozen modules are always run on the same number of images at once.

The cache only helps: whatever is wrong with its files, features are computed, and one line says why.
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

if TYPE_CHECKING:  # brings what reads data sets
    from saltext.data.keys import ImageKey, ImageSource

_log = logging.getLogger(__name__)

Features = tuple[Tensor, ...]
"""Tensors of shape ``(batch, ...)``."""

Compute = Callable[[list[int]], Features]
"""Features of some images of the batch, given by their indices in it."""

RESIDENT_FRACTION = 0.25
"""Of the memory that is free on a device when the first features come, the share that keeps them there."""

_FORMAT = 1
_MAGIC = b"saltextF"
_HEAD = 4096  # bytes before the first record
_RECORD_HEAD = 32  # bytes: magic, checksum, digest of the text
_ALIGNED = 64  # bytes
_NO_TEXT = bytes(16)
_TEXTS_AN_IMAGE = 8
_DISK_FRACTION = 0.9  # of the free disk that a table may fill
_CONTAINER = Path("/sys/fs/cgroup")
_PHOTOS = 256 * 2**20  # bytes of features of the last photos: those of a few dozen

_AT_ONCE = {"cpu": 1}  # images; the bits of a result may depend on how many there are, and on its neighbours' number
_AT_ONCE_ELSEWHERE = 8


class _UntrackedError(Exception):
    """Weights were made in inference mode, so that nobody sees when they change."""


class _Address(NamedTuple):
    slot: int  # 2 x row, + 1 mirrored
    text: bytes  # digest


class FeatureCache:
    """Features of frozen modules by image, on disk for all runs or in this process for the last photos.

    Several processes may use the same folder at once. Copies (``copy.deepcopy``) are the cache itself.

    Args:
        folder: Of the files, one for each frozen module and setting; made when it is first needed. A file takes no
            more than twice the images times the size of one's features. None: nothing is written; the features of the
            last images are kept in memory, up to 256 MiB.
        resident: Whether features stay in the memory of the device they are needed on, as far as they fit into
            :data:`RESIDENT_FRACTION` of what is free there. None: on all devices but the CPU, whose files the system
            keeps in memory anyway.
    """

    def __init__(self, folder: Path | str | None = None, resident: bool | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.resident = resident
        self._tables: dict[tuple[str, ImageSource, int], _Table] = {}
        self._settings: dict[str, str] = {}
        self._recent = _Recent(_PHOTOS)
        self._digests: dict[object, tuple[str, object]] = {}
        self._tags: dict[str, bytes] = {"": _digest16(b"")}
        self._budgets: dict[torch.device, int] = {}
        self._said = False

    def __deepcopy__(self, memo: object) -> "FeatureCache":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureCache, (self.folder, self.resident)

    @property
    def disk_bytes(self) -> int:
        """What the files in use take on the disk."""
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
        tags = [_NO_TEXT] * len(samples.keys) if texts is None else [self._tag(text) for text in texts]
        try:
            setting = self._setting(modules, samples, texts is not None)
        except _UntrackedError:
            return in_chunks(compute, range(len(samples.keys)), device)
        if self.folder is None:
            store: _Store = self._recent
            addresses: list[Any] = [
                None if key is None else (setting, key, tag) for key, tag in zip(samples.keys, tags, strict=True)
            ]
        else:
            (source,) = sources
            store = self._table(setting, source, 1 if texts is None else _TEXTS_AN_IMAGE)
            addresses = [
                None if key is None else _Address(2 * key.row + key.mirrored, tag)
                for key, tag in zip(samples.keys, tags, strict=True)
            ]
        features, missing = store.get(addresses, device)
        if not missing:
            return features
        wanted = [addresses[index] or index for index in missing]  # what has no key is a thing of its own
        first = dict(zip(reversed(wanted), reversed(missing), strict=True))
        todo = sorted(first.values())
        made = in_chunks(compute, todo, device)
        store.put([addresses[index] for index in todo], made)
        if len(todo) == len(addresses):
            return made
        row = {index: number for number, index in enumerate(todo)}
        rows = [row[first[want]] for want in wanted]
        if not features:
            return tuple(tensor[rows] for tensor in made)  # nothing was known
        for whole, part in zip(features, made, strict=True):
            whole[missing] = part[rows]
        return features

    def _tag(self, text: str) -> bytes:
        if text not in self._tags:
            self._tags[text] = _digest16(text.encode("utf-8", "surrogatepass"))
        return self._tags[text]

    def _setting(self, modules: Sequence[nn.Module], samples: "Samples", reads_text: bool) -> str:
        """Digest of all that decides the bits of the features, besides image and text."""
        images = samples.images
        described = {
            "format": _FORMAT,
            "modules": [self._weights(module, samples) for module in modules],
            "input": [list(images.shape[1:]), str(images.dtype), list(images.stride()[1:])],
            "preprocessing": self._weights(samples.preprocessing, samples),
            "reads_text": reads_text,
            "kernels": _kernels(images.device),
        }
        text = json.dumps(described, sort_keys=True)
        if text not in self._settings:
            self._settings[text] = _digest16(text.encode()).hex()
        return self._settings[text]

    def _weights(self, module: nn.Module, samples: "Samples") -> str:
        """Digest of a module's weights and configuration, made again when one of its tensors was written to."""
        if id(module) not in samples.digests:  # computed once a forward pass
            samples.digests[id(module)] = self._weights_now(module)
        return samples.digests[id(module)]

    def _weights_now(self, module: nn.Module) -> str:
        tensors = [*module.parameters(), *module.buffers()]
        if any(tensor.is_inference() for tensor in tensors):
            raise _UntrackedError
        state = (id(module), *((id(tensor), _pointer(tensor), tensor._version, tensor.stride()) for tensor in tensors))
        if state not in self._digests:
            # Module and tensors stay alive with it, so that no others get their numbers.
            self._digests[state] = _digest_module(module), (module, tensors)
        return self._digests[state][0]

    def _table(self, setting: str, source: "ImageSource", ways: int) -> "_Table":
        key = setting, source, ways
        if key not in self._tables:
            digest = _digest16(f"{setting} {source.digest} {source.images} {ways}".encode()).hex()
            if self.folder is None:
                raise RuntimeError("expected a folder for a table of features, got none")
            path = self.folder / f"{digest}.features"
            file = _RecordFile(path, digest, 2 * source.images, ways, self._say)
            self._tables[key] = _Table(file, 2 * source.images * ways, self.resident, self._grant)
        return self._tables[key]

    def _grant(self, device: torch.device, wanted: int, unit: int) -> int:
        """How many of some features a table may keep on a device, each of ``unit`` bytes."""
        if device not in self._budgets:
            self._budgets[device] = int(RESIDENT_FRACTION * free_memory(device))
        granted = min(wanted, self._budgets[device] // max(1, unit))
        self._budgets[device] -= granted * unit
        return granted

    def _say(self, problem: str) -> None:
        if not self._said:
            self._said = True
            _log.warning("feature cache in %s: %s; the run continues without it", self.folder, problem)


@dataclass(frozen=True)
class Samples:
    """The images a network is being run on.

    Attributes:
        cache: Where features of them are kept; None computes all.
        images: The very tensor the network is given.
        keys: What each image is; None where it is none that comes back.
        preprocessing: Makes ``images`` of pixels.
        digests: Of the weights of modules, by their numbers in this process, as they are during the pass.
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
    """Inside, :func:`get_or_compute` knows what ``images`` are.

    Args:
        cache: Where their features are kept; None computes all.
        images: What the network is run on, shape ``(batch, 3, height, width)``. Features are looked up for this very
            tensor only: whatever is made of it by mirroring, cutting or choosing has no key.
        keys: One an image; None, for one or all of them, where they do not come back.
        preprocessing: What made ``images`` of the pixels that the keys stand for.

    Raises:
        ValueError: Not as many keys as images.
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
    """Features of frozen modules for a batch, of which only those that are not known yet are computed.

    Without :func:`addressed`, or for other images than its own, all are computed; bits are the same.

    Args:
        modules: Frozen modules in evaluation mode: all whose weights or configuration decide the features.
        images: The images that the features are of, as the network was given them.
        compute: Features of some images by their indices in the batch, tensors of shape ``(indices, ...)``; one's
            may not depend on the others.
        texts: One an image, where features depend on them, too. Features of up to 8 texts an image are kept.

    Returns:
        As ``compute`` of all indices, contiguous, on the device of ``images``; without gradient unless ``images`` has
        one.
    """
    if torch.is_grad_enabled() and images.requires_grad:
        return in_chunks(compute, range(len(images)), images.device)
    # What is made in inference mode could not be changed or trained on outside.
    with torch.inference_mode(False), torch.no_grad():
        samples = _samples.get()
        if samples is None or samples.images is not images:
            return in_chunks(compute, range(len(images)), images.device)
        return samples.cache.get_or_compute(modules, samples, compute, texts)


def in_chunks(compute: Compute, indices: Sequence[int], device: torch.device) -> Features:
    """``compute`` of all indices, always of the same number at once: bits may depend on it."""
    size = _AT_ONCE.get(device.type, _AT_ONCE_ELSEWHERE)
    made = []
    for start in range(0, len(indices), size):
        some = list(indices[start : start + size])
        features = compute(some + some[-1:] * (size - len(some)))
        made.append(tuple(tensor[: len(some)] for tensor in features))
    # The layout decides which kernels follow, so it is the same as of what is read back.
    return tuple(torch.cat(column).contiguous() for column in zip(*made, strict=True))


def _digest16(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _pointer(tensor: Tensor) -> int:
    try:
        return tensor.data_ptr()
    except RuntimeError:  # of a tensor without memory of its own
        return 0


def _digest_module(module: nn.Module) -> str:
    hasher = hashlib.blake2b(repr(module).encode(), digest_size=16)
    for name, child in module.named_modules():
        # Not everything that decides the result is shown: numbers of attention heads, which stages are tapped.
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


def _kernels(device: torch.device) -> list[str]:
    """What else decides the bits of a computation: libraries, precision and how work is divided."""
    kind = device.type
    found = [torch.__version__, kind, torch.get_float32_matmul_precision()]
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    found.append(str(torch.get_autocast_dtype(kind)) if autocast else "no autocast")
    found.append(f"deterministic {torch.are_deterministic_algorithms_enabled()}")
    if kind == "cpu":
        threads = f"{torch.get_num_threads()} threads"
        found += [platform.machine(), torch.backends.cpu.get_cpu_capability(), threads]
        found.append(f"mkldnn {torch.backends.mkldnn.enabled}")
    elif kind == "cuda":
        cudnn = torch.backends.cudnn
        found += [torch.cuda.get_device_name(device), str(cudnn.version())]  # type: ignore[no-untyped-call]
        found.append(f"cudnn {cudnn.enabled} {cudnn.benchmark} {cudnn.deterministic} {cudnn.allow_tf32}")
    return found


class _Store(Protocol):
    """Where features of single images are."""

    def get(self, addresses: Sequence[Any], device: torch.device) -> tuple[Features, list[int]]:
        """What is known, and the indices that are not; the features of those are undefined, all if they are empty."""

    def put(self, addresses: Sequence[Any], features: Features) -> None:
        """Keep the features of some images; None is not kept."""

    def __len__(self) -> int:
        """Number of entries seen."""


class _Recent:
    """Features in memory, those that were used last.

    Args:
        most_bytes: Bound of what they take together.
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
                # A copy: rows of a batch would keep all of it alive.
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
    """Features of one setting: a file with a record for each image and mirror image, and what of it is on the device.

    Args:
        file: All of them.
        most: How many records it has.
        resident: See :class:`FeatureCache`.
        grant: Says how many of some features may be kept on a device, given how many there are and their bytes.
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
        self._wanted = resident
        self._grant = grant
        self._layout = self._file.layout
        self._resident: _Resident | None = None

    @property
    def disk_bytes(self) -> int:
        return self._file.disk_bytes

    def __len__(self) -> int:
        return max(len(self._file.known), 0 if self._resident is None else len(self._resident.index))

    def get(self, addresses: Sequence[_Address | None], device: torch.device) -> tuple[Features, list[int]]:
        """See :class:`_Store`."""
        if self._layout is None:
            return (), list(range(len(addresses)))
        if self._wanted or (self._wanted is None and device.type != "cpu"):
            return self._select(addresses, self._on(device, self._layout))
        features = self._layout.empty(len(addresses), torch.device("cpu"))
        missing = []
        for index, address in enumerate(addresses):
            row = tuple(tensor[index] for tensor in features)
            if address is None or not (self._kept(address, row) or self._file.read(address, row)):
                missing.append(index)
        return tuple(tensor.to(device) for tensor in features), missing

    def _kept(self, address: _Address, into: Features) -> bool:
        """Copy what is in memory because it could not be written."""
        return self._resident is not None and self._resident.copy(address, into)

    def _select(self, addresses: Sequence[_Address | None], resident: "_Resident") -> tuple[Features, list[int]]:
        """Features from the device, after those that are only in the file were brought there."""
        beside: dict[int, Features] = {}
        missing = []
        for index, address in enumerate(addresses):
            if address is None:
                missing.append(index)
            elif address not in resident.index:
                one = resident.layout.empty(1, torch.device("cpu"))
                if not self._file.read(address, tuple(tensor[0] for tensor in one)):
                    missing.append(index)
                elif not resident.put(address, one):
                    beside[index] = one
        if len(missing) == len(addresses):
            return (), missing
        features = resident.select([0 if address is None else resident.index.get(address, 0) for address in addresses])
        for index, one in beside.items():
            for whole, part in zip(features, one, strict=True):
                whole[index] = part[0].to(resident.device)
        return features, missing

    def put(self, addresses: Sequence[_Address | None], features: Features) -> None:
        """See :class:`_Store`."""
        self._layout, device = _Layout.of(features), features[0].device
        for index, address in enumerate(addresses):
            if address is None:
                continue
            one = tuple(tensor[index : index + 1] for tensor in features)
            written = self._file.write(address, self._layout, one)
            if self._wanted or (self._wanted is None and (device.type != "cpu" or not written)):
                self._on(device, self._layout).put(address, one)

    def _on(self, device: torch.device, layout: _Layout) -> "_Resident":
        if self._resident is None or self._resident.device != device or self._resident.layout != layout:
            self._resident = _Resident(layout, self._grant(device, self._most, layout.nbytes), device)
        return self._resident


class _Resident:
    """Features in the memory of a device, as many as fit.

    Args:
        layout: Of those of an image.
        capacity: Of how many images.
        device: Where.
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
        """Keep the features of an image, shape ``(1, ...)``; whether there was room."""
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
        """Copy the features of an image; whether they are here."""
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
    """Bytes that are free on a device; 0 where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0
    with suppress(OSError, ValueError):  # a container may have less than its machine; "max": it has not
        most, used = (int((_CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(0, most - used))
    return free


class _RecordFile:
    """One file: a head with the layout, then a record for each slot and way, each with a checksum.

    A record is written by one call and is valid only as a whole, so that neither a kill nor another process that writes
    the same one leaves anything but whole records or none. It is read by ``preadv``, not through a map of the memory:
    a part that cannot be read would end the process there, here it is an error, and computed again.

    Args:
        path: The file; made when the first record is written.
        digest: Of what it holds; records of another file are not taken.
        slots: Of the table.
        ways: Records a slot.
        say: Told once what cannot be used.
    """

    def __init__(self, path: Path, digest: str, slots: int, ways: int, say: Callable[[str], None]) -> None:
        self._path = path
        self._seed = zlib.crc32(digest.encode())
        self._digest = digest
        self._slots = slots
        self._ways = ways
        self._say = say
        self._descriptor: int | None = None
        self._writes = True
        self.layout: _Layout | None = None
        self.known: dict[_Address, int] = {}  # whole records that were read or written, and their ways
        self._open()

    @property
    def disk_bytes(self) -> int:
        if self._descriptor is None:
            return 0
        with suppress(OSError):
            return os.fstat(self._descriptor).st_blocks * 512
        return 0

    def _open(self) -> None:
        """Open what is there; nothing is made before there is something to keep."""
        try:
            self._descriptor = self._opened(os.O_RDWR)
        except FileNotFoundError:
            return
        except OSError:
            self._writes = False
            try:
                self._descriptor = self._opened(os.O_RDONLY)
            except OSError as error:
                self._say(f"{self._path.name} cannot be read ({_reason(error)})")
                return
        try:
            head = os.pread(self._descriptor, _HEAD, 0)
        except OSError as error:
            self._fail(error)
            return
        self.layout = self._parsed(head)

    def _opened(self, flags: int) -> int:
        # Not waiting for the other end of a pipe that lies there.
        descriptor = os.open(self._path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        weakref.finalize(self, os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "expected a regular file")
        return descriptor

    def _head(self, layout: _Layout) -> bytes:
        described = json.dumps({"digest": self._digest, "layout": layout.json(), "format": _FORMAT}).encode()
        content = zlib.crc32(described).to_bytes(4, "little") + len(described).to_bytes(4, "little") + described
        return (_MAGIC + content).ljust(_HEAD, b"\0")

    def _parsed(self, head: bytes) -> _Layout | None:
        """The layout a head tells, or None of one that is damaged or of something else."""
        checksum, length = int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little")
        described = head[16 : 16 + length]
        if head[:8] != _MAGIC or zlib.crc32(described) != checksum:
            return None
        try:
            found = json.loads(described)
            return _Layout.from_json(found["layout"]) if found["digest"] == self._digest else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _offset(self, slot: int, way: int, layout: _Layout) -> int:
        size = -(-(_RECORD_HEAD + layout.nbytes) // _ALIGNED) * _ALIGNED
        return _HEAD + (slot * self._ways + way) * size

    def _checksum(self, address: _Address, content: Sequence[memoryview]) -> int:
        checksum = zlib.crc32(address.slot.to_bytes(8, "little") + address.text, self._seed)
        for part in content:
            checksum = zlib.crc32(part, checksum)
        return checksum

    def read(self, address: _Address, into: Features) -> bool:
        """Read an image's features into CPU tensors; False where there are none, or not whole."""
        if self._descriptor is None or self.layout is None or not 0 <= address.slot < self._slots:
            return False
        views = [_view(tensor) for tensor in into]
        known = self.known.get(address)
        for way in range(self._ways) if known is None else [known]:
            head = bytearray(_RECORD_HEAD)
            try:
                start = self._offset(address.slot, way, self.layout)
                if self._ways > 1:  # several texts: look which one it is
                    peeked = os.pread(self._descriptor, _RECORD_HEAD, start)
                    if peeked[:8] != _MAGIC or peeked[16:32] != address.text:
                        continue
                read = _read_all(self._descriptor, [memoryview(head), *views], start)
            except OSError as error:
                self._fail(error)
                return False
            whole = read == _RECORD_HEAD + self.layout.nbytes and head[:8] == _MAGIC and head[16:32] == address.text
            # Once in each process: afterwards it comes from the system's memory.
            if whole and known is None:
                whole = int.from_bytes(head[8:12], "little") == self._checksum(address, views)
            if whole:
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
            way = self._way(address, layout)
            if way is None or self._descriptor is None:
                return False
            content = [_view(tensor[0].cpu().contiguous()) for tensor in features]
            checksum = self._checksum(address, content)
            head = _MAGIC + checksum.to_bytes(4, "little") + bytes(4) + address.text
            _write_all(self._descriptor, b"".join((head, *content)), self._offset(address.slot, way, layout))
            self.known[address] = way
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _prepare(self, layout: _Layout) -> None:
        """Make the file, or write a head over one that was damaged."""
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._opened(os.O_RDWR | os.O_CREAT)
        if self.layout == layout:
            return
        self.known.clear()
        needed = self._offset(self._slots, 0, layout)
        free = os.statvfs(self._path.parent)
        if needed - self.disk_bytes > _DISK_FRACTION * free.f_bavail * free.f_frsize:
            raise OSError(errno.ENOSPC, f"{needed / 2**30:.1f} GiB are needed at most, fewer are free")
        _write_all(self._descriptor, self._head(layout), 0)
        self.layout = layout

    def _way(self, address: _Address, layout: _Layout) -> int | None:
        """Where a record goes: over one of the same text, or into the first free place; None if all are full."""
        if self._ways == 1 or self._descriptor is None:
            return 0
        for way in range(self._ways):
            head = os.pread(self._descriptor, _RECORD_HEAD, self._offset(address.slot, way, layout))
            if head[:8] != _MAGIC or head[16:32] == address.text:
                return way
        return None

    def _fail(self, error: OSError) -> None:
        """Go on without writing, and without reading where that is what failed."""
        self._writes = False
        self._say(f"{self._path.name}: {_reason(error)}")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _view(tensor: Tensor) -> memoryview:
    view: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return view


def _read_all(descriptor: int, into: list[memoryview], start: int) -> int:
    """Bytes read; fewer than asked for where the file ends."""
    wanted = sum(len(part) for part in into)
    read = os.preadv(descriptor, into, start)
    if read in (wanted, 0):
        return read
    return _read_in_pieces(descriptor, into, start)  # a call may read less than there is


def _read_in_pieces(descriptor: int, into: list[memoryview], start: int) -> int:
    done = 0
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
