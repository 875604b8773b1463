"""The file of a feature cache: a header with the layout, then one record for each image and text."""

import errno
import json
import logging
import math
import os
import stat
import weakref
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

Features = tuple[Tensor, ...]
"""Tensors of shape ``(batch, ...)``."""

FORMAT = 1
"""Version of the file; also in the digest that names it."""

NO_TEXT = bytes(16)
"""The text's digest of features that do not depend on a text."""

_MAGIC = b"saltextF"
_HEADER_BYTES = 4096  # before the first record
_RECORD_HEADER_BYTES = 32  # magic, checksum, digest of the text
_ALIGNMENT = 64  # bytes
_DISK_FRACTION = 0.9  # of the free disk that a file may fill


class Address(NamedTuple):
    """Where the features of an image (and a text) are in a file."""

    slot: int  # 2 x row of the image, + 1 for the mirrored image
    text: bytes  # digest of the text


@dataclass(frozen=True)
class Layout:
    """Shapes and types of the features of one image."""

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @classmethod
    def of(cls, features: Features) -> "Layout":
        """The layout of a batch of features."""
        return cls(tuple(tuple(t.shape[1:]) for t in features), tuple(t.dtype for t in features))

    @property
    def nbytes(self) -> int:
        """Size of the features of one image in bytes."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True))

    def empty(self, count: int, device: torch.device) -> Features:
        """Features of ``count`` images, not initialised."""
        pairs = zip(self.shapes, self.dtypes, strict=True)
        return tuple(torch.empty((count, *shape), dtype=dtype, device=device) for shape, dtype in pairs)

    def json(self) -> list[Any]:
        """The layout as plain values, for :meth:`from_json`."""
        return [list(map(list, self.shapes)), [str(dtype).removeprefix("torch.") for dtype in self.dtypes]]

    @classmethod
    def from_json(cls, value: Any) -> "Layout":
        """The layout that :meth:`json` describes.

        Raises:
            ValueError, TypeError, AttributeError: ``value`` does not describe a layout.
        """
        shapes, dtypes = value
        found = cls(tuple(tuple(map(int, shape)) for shape in shapes), tuple(getattr(torch, name) for name in dtypes))
        if len(found.shapes) != len(found.dtypes) or not all(isinstance(d, torch.dtype) for d in found.dtypes):
            raise ValueError("expected a shape and a type for each feature")
        return found


class FeatureFile:
    """A file with a record for each slot and way, as in a set-associative cache: a slot has a way for each text.

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
        self.layout: Layout | None = None
        self.known: dict[Address, int] = {}  # address of a valid record that was read or written -> its way
        self._open_existing()

    @property
    def disk_bytes(self) -> int:
        """Disk space of the file in bytes."""
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

    def _parse_header(self, header: bytes) -> Layout | None:
        """The layout in a header; None if the header is damaged or of another table. Written by ``_prepare``."""
        checksum, length = int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:16], "little")
        described = header[16 : 16 + length]
        if header[:8] != _MAGIC or zlib.crc32(described) != checksum:
            return None
        try:
            content = json.loads(described)
            return Layout.from_json(content["layout"]) if content["digest"] == self._digest else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _offset(self, slot: int, way: int, layout: Layout) -> int:
        """Position of a record in the file."""
        size = -(-(_RECORD_HEADER_BYTES + layout.nbytes) // _ALIGNMENT) * _ALIGNMENT
        return _HEADER_BYTES + (slot * self._ways + way) * size

    def _checksum(self, address: Address, content: Sequence[memoryview]) -> int:
        checksum = zlib.crc32(address.slot.to_bytes(8, "little") + address.text, self._seed)
        for part in content:
            checksum = zlib.crc32(part, checksum)
        return checksum

    def read(self, address: Address, into: Features) -> bool:
        """Read an image's features into CPU tensors; False where there is no valid record of them."""
        if self._descriptor is None or self.layout is None or not 0 <= address.slot < self._slots:
            return False
        views = [_bytes_of(tensor) for tensor in into]
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

    def write(self, address: Address, layout: Layout, features: Features) -> bool:
        """Write an image's features, shape ``(1, ...)``; False where that cannot be done."""
        if not self._writes or not 0 <= address.slot < self._slots:
            return False
        try:
            self._prepare(layout)
            way = self._free_way(address, layout)
            if way is None or self._descriptor is None:
                return False
            content = [_bytes_of(tensor[0].cpu().contiguous()) for tensor in features]
            checksum = self._checksum(address, content)
            header = _MAGIC + checksum.to_bytes(4, "little") + bytes(4) + address.text
            _write_all(self._descriptor, b"".join((header, *content)), self._offset(address.slot, way, layout))
            self.known[address] = way
        except OSError as error:
            self._stop_writing(error)
            return False
        return True

    def _prepare(self, layout: Layout) -> None:
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
            raise OSError(errno.ENOSPC, f"it needs up to {needed / 1e9:.1f} GB, more than are free")
        _log.info(
            "feature cache: %s takes up to %.0f MB, where %.1f GB are free",
            self._path, needed / 1e6, free.f_bavail * free.f_frsize / 1e9,
        )  # fmt: skip
        described = json.dumps({"digest": self._digest, "layout": layout.json(), "format": FORMAT}).encode()
        content = zlib.crc32(described).to_bytes(4, "little") + len(described).to_bytes(4, "little") + described
        _write_all(self._descriptor, (_MAGIC + content).ljust(_HEADER_BYTES, b"\0"), 0)
        self.layout = layout

    def _free_way(self, address: Address, layout: Layout) -> int | None:
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


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor."""
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
