"""On-disk feature cache: features of frozen modules, computed once for each image and read back afterwards.

The caller of a network names its input images with :func:`addressed`; the network runs its frozen modules through
:func:`get_or_compute`. Features are found without reading a pixel: their address is the image's row in the decoded
cache and whether it is mirrored, in a table for one digest of everything else that decides their bits.

Computed or read back, features have the same bits: frozen modules always run on the same number of images at once.

An invalid file of the cache never stops a run: the features are computed, and one warning says why.
"""

import hashlib
import json
import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saltext.models.feature_file import FORMAT, NO_TEXT, Address, FeatureFile, Features
from saltext.models.feature_table import FeatureBackend, FeatureTable, RecentFeatures, free_memory
from saltext.models.freezing import parameters_and_buffers, tensor_versions
from saltext.models.transfer import select_rows, to_device

if TYPE_CHECKING:  # imports the readers of data sets
    from saltext.data.keys import ImageKey, ImageSource

_log = logging.getLogger(__name__)

Compute = Callable[[list[int]], Features]
"""Indices of images in the batch -> their features."""

ComputeByText = Callable[[list[int], list[str]], Features]
"""Indices of images in the batch, and a text for each -> their features."""

RESIDENT_FRACTION = 0.25
"""Fraction of a device's free memory that features may occupy, measured when the first features arrive there."""

_TEXTS_PER_IMAGE = 8
_RECENT_BYTES = 256 * 2**20  # of features of the last photos: those of a few dozen

_CHUNK_SIZES = {"cpu": 1}  # images per call; the bits of a result may depend on the number of images
_CHUNK_SIZE_ELSEWHERE = 8


class _UntrackedError(Exception):
    """Weights were created in inference mode, so that torch does not record when they change."""


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
        self._tables: dict[tuple[str, ImageSource, int], FeatureTable] = {}
        self._settings: dict[str, str] = {}
        self._recent = RecentFeatures(_RECENT_BYTES)
        self._module_digests: dict[object, tuple[str, object]] = {}
        self._text_digests: dict[str, bytes] = {"": _digest16(b"")}
        self._texts_ahead: Mapping[ImageKey, Sequence[str]] = {}
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

    def expect_texts(self, texts: "Mapping[ImageKey, Sequence[str]]") -> None:
        """Name texts that will be read with images: features of an image are computed for all of them at once."""
        self._texts_ahead = texts

    def get_or_compute(
        self,
        modules: Sequence[nn.Module],
        samples: "Samples",
        compute: ComputeByText,
        texts: Sequence[str] | None = None,
    ) -> Features:
        """See :func:`get_or_compute_by_text`; the images are those of ``samples``. None: features without a text."""
        device = samples.images.device
        count = len(samples.keys)
        first: dict[ImageKey, int] = {}  # an image counts as its first occurrence in the batch
        indices = [index if key is None else first.setdefault(key, index) for index, key in enumerate(samples.keys)]
        pairs = [(index, "" if texts is None else texts[row]) for row, index in enumerate(indices)]

        def compute_pairs(numbers: list[int]) -> Features:
            chosen, read = zip(*[pairs[number] for number in numbers], strict=True)
            return compute(list(chosen), list(read))

        sources = {key.source for key in samples.keys if key is not None}
        if not sources or (len(sources) > 1 and self.folder is not None):  # a batch of several data sets
            return in_chunks(compute_pairs, range(count), device)
        try:
            setting = self._setting_digest(modules, samples, texts is not None)
        except _UntrackedError:
            return in_chunks(compute_pairs, range(count), device)
        if self.folder is None:
            store: FeatureBackend = self._recent
        else:
            (source,) = sources
            store = self._table_for(setting, source, 1 if texts is None else _TEXTS_PER_IMAGE)

        def address(key: "ImageKey | None", text: str) -> Any:
            digest = NO_TEXT if texts is None else self._text_digest(text)
            if key is None:
                return None
            return (setting, key, digest) if self.folder is None else Address(2 * key.row + key.mirrored, digest)

        addresses = [address(samples.keys[index], text) for index, text in pairs]
        features, missing = store.get(addresses, device)
        if not missing:
            return features
        if texts is not None:  # those of further texts that will be read with the images to compute
            further = {
                address(key, text): (index, text)
                for index in dict.fromkeys(indices[row] for row in missing)
                if (key := samples.keys[index]) is not None
                for text in self._texts_ahead.get(key, ())[:_TEXTS_PER_IMAGE]
            }
            unknown = list(further.keys() - set(addresses))
            absent = [unknown[number] for number in store.get(unknown, device)[1]] if unknown else []
            addresses += absent
            pairs += [further[each] for each in absent]
        # Compute each address once; an image without a key counts as different from all others.
        missing_addresses = [addresses[index] or index for index in missing]
        first_index = dict(zip(reversed(missing_addresses), reversed(missing), strict=True))
        to_compute = sorted([*first_index.values(), *range(count, len(pairs))], key=pairs.__getitem__)
        computed = in_chunks(compute_pairs, to_compute, device)
        store.put([addresses[index] for index in to_compute], computed)
        if to_compute == list(range(count)):
            return computed
        row_of_index = {index: row for row, index in enumerate(to_compute)}
        rows = [row_of_index[first_index[address]] for address in missing_addresses]
        if not features:
            return tuple(select_rows(tensor, rows) for tensor in computed)  # nothing was cached
        for whole, part in zip(features, computed, strict=True):
            whole.index_copy_(0, to_device(torch.tensor(missing), device), select_rows(part, rows))
        return features

    def _text_digest(self, text: str) -> bytes:
        if text not in self._text_digests:
            self._text_digests[text] = _digest16(text.encode("utf-8", "surrogatepass"))
        return self._text_digests[text]

    def _setting_digest(self, modules: Sequence[nn.Module], samples: "Samples", reads_text: bool) -> str:
        """Digest of everything that decides the bits of the features, besides image and text."""
        images = samples.images
        described = {
            "format": FORMAT,
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
        parameters, buffers = parameters_and_buffers(module)
        tensors = [*parameters, *buffers]
        if any(tensor.is_inference() for tensor in tensors):
            raise _UntrackedError
        state = (id(module), getattr(module, "inference", ""), *tensor_versions(module))
        if state not in self._module_digests:
            # The entry keeps module and tensors alive, so that no others get their ids.
            # Images are normalised alike in training and evaluation; that module's mode is its owner's.
            digest = _digest_module(module, mode_counts=module is not samples.preprocessing)
            self._module_digests[state] = digest, (module, tensors)
        samples.digests[id(module)] = self._module_digests[state][0]
        return samples.digests[id(module)]

    def _table_for(self, setting: str, source: "ImageSource", ways: int) -> FeatureTable:
        """The table for a digest of settings and a source of images, with ``ways`` texts per image."""
        key = setting, source, ways
        if key not in self._tables:
            digest = _digest16(f"{setting} {source.digest} {source.images} {ways}".encode()).hex()
            if self.folder is None:
                raise RuntimeError("expected a folder for a table of features, got none")
            path = self.folder / f"{digest}.features"
            file = FeatureFile(path, digest, 2 * source.images, ways, self._warn_once)
            self._tables[key] = FeatureTable(file, 2 * source.images * ways, self.resident, self._grant)
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


def get_or_compute(modules: Sequence[nn.Module], images: Tensor, compute: Compute) -> Features:
    """Features of frozen modules for a batch; only those that are not cached are computed.

    Without :func:`addressed`, or for other images than it names, all are computed, with the same bits.

    Args:
        modules: Frozen modules in evaluation mode: all whose weights or configuration decide the features.
        images: The images, the same tensor that the network was given.
        compute: Indices in the batch -> features of these images, tensors of shape ``(indices, ...)``. The features of
            an image must not depend on the other images.

    Returns:
        The result of ``compute`` for all indices, contiguous, on the device of ``images``; without gradient unless
        ``images`` has one.
    """
    return _get_or_compute(modules, images, lambda indices, _: compute(indices), None)


def get_or_compute_by_text(
    modules: Sequence[nn.Module], images: Tensor, texts: Sequence[str], compute: ComputeByText
) -> Features:
    """As :func:`get_or_compute`, of features that also depend on a text. Up to 8 texts per image are cached.

    Args:
        modules: As there.
        images: As there.
        texts: One per image.
        compute: Indices in the batch, and a text for each -> features, tensors of shape ``(indices, ...)``. Pairs of an
            image follow each other. Features of a pair must not depend on the other pairs.
    """
    return _get_or_compute(modules, images, compute, texts)


def _get_or_compute(
    modules: Sequence[nn.Module], images: Tensor, compute: ComputeByText, texts: Sequence[str] | None
) -> Features:
    def compute_all() -> Features:
        read = [""] * len(images) if texts is None else texts
        return in_chunks(lambda indices: compute(indices, [read[i] for i in indices]), range(len(images)), device)

    device = images.device
    if torch.is_grad_enabled() and images.requires_grad:
        return compute_all()
    # Tensors created in inference mode could not be changed or trained on afterwards.
    with torch.inference_mode(False), torch.no_grad():
        samples = _samples.get()
        if samples is None or samples.images is not images:
            return compute_all()
        return samples.cache.get_or_compute(modules, samples, compute, texts)


def in_chunks(compute: Compute, indices: Sequence[int], device: torch.device) -> Features:
    """``compute`` of all indices in chunks of one size, padded if need be: the bits may depend on the size."""
    size = _CHUNK_SIZES.get(device.type, _CHUNK_SIZE_ELSEWHERE)
    chunks = []
    for start in range(0, len(indices), size):
        chunk = list(indices[start : start + size])
        features = compute(chunk + chunk[-1:] * (size - len(chunk)))
        chunks.append(tuple(tensor[: len(chunk)] for tensor in features))
    # The memory layout decides which kernels follow, so it is the same as for features that are read back. A CPU's
    # autocast refuses to concatenate in half precision.
    with torch.autocast(device.type, enabled=False):
        return tuple(torch.cat(column).contiguous() for column in zip(*chunks, strict=True))


def _digest16(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _digest_module(module: nn.Module, mode_counts: bool) -> str:
    """Digest of a module's weights and configuration; without ``mode_counts`` as in evaluation mode."""
    hasher = hashlib.blake2b(repr(module).encode(), digest_size=16)
    for name, child in module.named_modules():
        # repr does not show everything that decides the result, such as the number of attention heads.
        settings = {key: value for key, value in vars(child).items() if _is_setting(value)}
        settings["training"] &= mode_counts
        hasher.update(f"{name} {type(child).__qualname__} {sorted(settings.items())}".encode())
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()]):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}".encode())
        hasher.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def _is_setting(value: object) -> bool:
    """Whether an attribute of a module is a plain value, or a tuple of them."""
    if isinstance(value, tuple):
        return all(_is_setting(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


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
