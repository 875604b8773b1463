"""Results of frozen computation, computed once and read back afterwards.

On disk, shared by processes and runs; or in this process alone, where only the last few come back.

Everything is found by content: the key of a result is a digest of what came in, of the weights that made it and of
their configuration. Other weights or inputs have other keys, so a result is never stale.
"""

import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

Features = tuple[Tensor, ...]

_WAIT_S = 120.0  # for another process that is writing
_AT_ONCE = 4  # samples


class Store(Protocol):
    """Tuples of tensors by key."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Features]:
        """What is known of some keys, on the CPU."""

    def put(self, items: Mapping[bytes, Features]) -> None:
        """Keep results."""


class RecentFeatures:
    """Tuples of tensors by key in memory, those that were used last. For one thread.

    Args:
        most_bytes: Bound of what they take together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, Features] = OrderedDict()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Features]:
        """What is kept of some keys, on the CPU."""
        found = {key: self._kept[key] for key in keys if key in self._kept}
        for key in found:
            self._kept.move_to_end(key)
        return found

    def put(self, items: Mapping[bytes, Features]) -> None:
        """Keep results in the place of those that were not asked for the longest."""
        for key in [key for key in items if key not in self._kept]:
            # A copy: rows of a batch would keep all of it alive.
            self._kept[key] = tuple(tensor.clone() for tensor in items[key])
            self._bytes += _size(items[key])
        while self._bytes > self._most_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(value: Features) -> int:
    return sum(tensor.nbytes for tensor in value)


class FeatureStore:
    """Tuples of tensors by key, in one SQLite file. Several processes may use it at once.

    Args:
        path: The file; created with its folder when it is first needed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None

    def __getstate__(self) -> dict[str, object]:
        # A connection belongs to one process.
        return {"path": self.path, "_connection": None}

    @property
    def disk_bytes(self) -> int:
        """Size on disk."""
        return sum(p.stat().st_size for p in self.path.parent.glob(f"{self.path.name}*"))

    def __len__(self) -> int:
        (number,) = self._open().execute("SELECT COUNT(*) FROM features").fetchone()
        return int(number)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Features]:
        """What is known of some keys, float tensors on the CPU."""
        found: dict[bytes, Features] = {}
        for key in dict.fromkeys(keys):
            row = self._open().execute("SELECT value FROM features WHERE key = ?", (key,)).fetchone()
            if row is not None:
                tensors = load(row[0])
                found[key] = tuple(tensors[str(place)] for place in range(len(tensors)))
        return found

    def put(self, items: Mapping[bytes, Features]) -> None:
        """Keep results; of a key that is known already, the first one stays."""
        rows = [(key, save({str(i): t.contiguous() for i, t in enumerate(value)})) for key, value in items.items()]
        with self._open() as connection:
            connection.executemany("INSERT OR IGNORE INTO features VALUES (?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_WAIT_S)
            connection.execute("PRAGMA journal_mode=WAL")
            # A result lost to a power cut is computed again.
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
            self._connection = connection
        return self._connection


class Memory:
    """Remembers what frozen modules make of single samples.

    Args:
        store: Where results are kept.
        in_training: Whether training inputs come back, so that remembering them pays; not where each epoch changes
            their colours anew.
        salt: Whatever else results depend on, besides weights and input.
    """

    def __init__(self, store: Store, in_training: bool = True, salt: str = "") -> None:
        self.store = store
        self.in_training = in_training
        self._salt = salt.encode()
        self._digests: dict[object, bytes] = {}  # by the state of a module's tensors: the digest of their content

    def serves(self, network: nn.Module) -> bool:
        """Whether to ask, given the mode of the network around the frozen part."""
        return self.in_training or not network.training

    def recall(
        self, module: nn.Module, inputs: Tensor, compute: Callable[..., Features], texts: Sequence[str] | None = None
    ) -> Features:
        """The module's results for a batch, of which only those that are not known yet are computed.

        Args:
            module: The frozen module, in evaluation mode, whose weights ``compute`` uses.
            inputs: Shape ``(batch, ...)``, any dtype.
            compute: ``(n, ...) -> tensors of shape (n, ...)``; a sample's result may not depend on the others. It is
                given the texts, too, if there are any.
            texts: One a sample, where the result depends on them.

        Returns:
            As ``compute(inputs)`` or ``compute(inputs, texts)``, without gradient.
        """
        keys = self._keys(module, inputs, texts)
        known = self.store.get(keys)
        missing = {key: place for place, key in enumerate(keys) if key not in known}
        if missing:
            made = _computed(compute, inputs, texts, list(missing.values()))
            fresh = dict(zip(missing, made, strict=True))
            self.store.put(fresh)
            known |= fresh
        columns = zip(*(known[key] for key in keys), strict=True)
        return tuple(torch.stack(column).to(inputs.device) for column in columns)

    def _keys(self, module: nn.Module, inputs: Tensor, texts: Sequence[str] | None) -> list[bytes]:
        kind = f"{tuple(inputs.shape[1:])} {inputs.dtype}{'' if texts is None else ' and a text'}"
        head = _short(self._weights(module) + kind.encode())
        rows = inputs.detach().cpu().contiguous().numpy()
        read = [""] * len(rows) if texts is None else texts
        return [
            hashlib.blake2b(row.tobytes() + text.encode(), digest_size=16, key=head).digest()
            for row, text in zip(rows, read, strict=True)
        ]

    def _weights(self, module: nn.Module) -> bytes:
        """Digest of the module's weights, made again when one of its tensors was written to."""
        state = tuple((t.data_ptr(), t._version) for t in (*module.parameters(), *module.buffers()))
        if state not in self._digests:
            self._digests[state] = _digest_weights(module, self._salt)
        return self._digests[state]


def _computed(
    compute: Callable[..., Features], inputs: Tensor, texts: Sequence[str] | None, rows: Sequence[int]
) -> Iterator[Features]:
    """Results of some rows, a few at a time: what is computed once need not be fast, but has to fit into memory."""
    for start in range(0, len(rows), _AT_ONCE):
        few = list(rows[start : start + _AT_ONCE])
        read = () if texts is None else ([texts[row] for row in few],)
        with torch.no_grad():
            made = compute(inputs[few], *read)
        yield from zip(*(t.cpu().unbind() for t in made), strict=True)


def _short(head: bytes) -> bytes:
    return hashlib.blake2b(head, digest_size=32).digest()


def _digest_weights(module: nn.Module, salt: bytes) -> bytes:
    hasher = hashlib.blake2b(salt + repr(module).encode(), digest_size=16)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in sorted(tensors):
        hasher.update(name.encode())
        hasher.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return hasher.digest()
