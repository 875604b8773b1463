"""Where features are kept: a table with a file and a copy on the device, or memory alone."""

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch

from saltext.models.feature_file import Address, FeatureFile, Features, Layout
from saltext.models.transfer import to_device

_CONTAINER = Path("/sys/fs/cgroup")


class FeatureBackend(Protocol):
    """Holds the features of single images."""

    def get(self, addresses: Sequence[Any], device: torch.device) -> tuple[Features, list[int]]:
        """Cached features, and the indices of those that are not cached, whose rows are undefined.

        The features are empty where none is cached.
        """

    def put(self, addresses: Sequence[Any], features: Features) -> None:
        """Cache the features of some images; those with the address None are not cached."""

    def __len__(self) -> int:
        """Number of entries that were read or written."""


class FeatureTable:
    """Features of one setting: a file with a record for each image and mirror image, and a copy on the device.

    Args:
        file: The file.
        max_records: Maximum number of its records.
        resident: Whether features stay in the memory of the device that needs them; None: on all devices but the CPU.
        grant: ``(device, number of features, bytes of each) -> how many of them may be kept on the device``.
    """

    def __init__(
        self,
        file: FeatureFile,
        max_records: int,
        resident: bool | None,
        grant: Callable[[torch.device, int, int], int],
    ) -> None:
        self._file = file
        self._max_records = max_records
        self._wants_resident = resident
        self._grant = grant
        self._layout = self._file.layout
        self._resident: _ResidentFeatures | None = None

    @property
    def disk_bytes(self) -> int:
        """Disk space of the file in bytes."""
        return self._file.disk_bytes

    def __len__(self) -> int:
        return max(len(self._file.known), 0 if self._resident is None else len(self._resident.index))

    def get(self, addresses: Sequence[Address | None], device: torch.device) -> tuple[Features, list[int]]:
        """See :class:`FeatureBackend`."""
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
        return tuple(to_device(tensor, device) for tensor in features), missing

    def _get_from_device(
        self, addresses: Sequence[Address | None], resident: "_ResidentFeatures"
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
                whole[index].copy_(to_device(part[0], resident.device))
        return features, missing

    def put(self, addresses: Sequence[Address | None], features: Features) -> None:
        """See :class:`FeatureBackend`."""
        self._layout, device = Layout.of(features), features[0].device
        for index, address in enumerate(addresses):
            if address is None:
                continue
            features_of_image = tuple(tensor[index : index + 1] for tensor in features)
            written = self._file.write(address, self._layout, features_of_image)
            if self._wants_resident or (self._wants_resident is None and (device.type != "cpu" or not written)):
                self._resident_features(device, self._layout).put(address, features_of_image)

    def _resident_features(self, device: torch.device, layout: Layout) -> "_ResidentFeatures":
        """The features on a device, allocated on first use."""
        if self._resident is None or self._resident.device != device or self._resident.layout != layout:
            self._resident = _ResidentFeatures(layout, self._grant(device, self._max_records, layout.nbytes), device)
        return self._resident


class _ResidentFeatures:
    """Features in the memory of a device, as many as fit.

    Args:
        layout: Shapes and types of an image's features.
        capacity: Maximum number of images.
        device: The device.
    """

    def __init__(self, layout: Layout, capacity: int, device: torch.device) -> None:
        self.layout = layout
        self.device = device
        self.index: dict[Address, int] = {}
        self._capacity = capacity
        try:
            self._tensors = layout.empty(max(1, self._capacity), device)
        except RuntimeError:  # out of memory
            self._capacity = 0
            self._tensors = layout.empty(1, device)

    def put(self, address: Address, features: Features) -> bool:
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

    def copy(self, address: Address, into: Features) -> bool:
        """Copy the features of an image; whether they are stored here."""
        number = self.index.get(address)
        if number is not None:
            for whole, one in zip(self._tensors, into, strict=True):
                one.copy_(whole[number])
        return number is not None

    def select(self, numbers: Sequence[int]) -> Features:
        """Features of some images, by their numbers; without waiting for the device."""
        index = to_device(torch.tensor(numbers), self.device)
        return tuple(tensor.index_select(0, index) for tensor in self._tensors)


class RecentFeatures:
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
        """See :class:`FeatureBackend`."""
        found = [None if address is None else self._kept.get(address) for address in addresses]
        for address, features in zip(addresses, found, strict=True):
            if features is not None:
                self._kept.move_to_end(address)
        missing = [index for index, features in enumerate(found) if features is None]
        known = next((features for features in found if features is not None), None)
        if known is None:
            return (), missing
        rows = [known if features is None else features for features in found]
        return tuple(to_device(torch.stack(column), device) for column in zip(*rows, strict=True)), missing

    def put(self, addresses: Sequence[Any], features: Features) -> None:
        """See :class:`FeatureBackend`."""
        for index, address in enumerate(addresses):
            if address is not None and address not in self._kept:
                # A copy: a row of a batch would keep the whole batch alive.
                self._kept[address] = tuple(tensor[index].clone() for tensor in features)
                self._bytes += _nbytes(self._kept[address])
        while self._bytes > self._most_bytes:
            self._bytes -= _nbytes(self._kept.popitem(last=False)[1])


def _nbytes(features: Features) -> int:
    return sum(tensor.nbytes for tensor in features)


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
