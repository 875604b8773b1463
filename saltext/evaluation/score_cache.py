"""On-disk cache of scoring: arrays in folders named by a digest of all they depend on, so no entry is ever stale.

The folders lie beside the decoded caches (:mod:`saltext.data.cache`) and follow the same rules: an entry is complete or
absent, is compared with its checksums, and is computed again where it is damaged. Without a usable cache everything is
computed, and one warning says so.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import torch

from saltext.data import checksums

_log = logging.getLogger(__name__)

# Folders of the package whose code decides the cached arrays.
_SOURCES = ("baselines", "data", "evaluation", "metrics")

Arrays = Mapping[str, npt.NDArray[Any]]


class ScoreCache:
    """Named arrays, found by what they depend on.

    Args:
        folder: Holds a sub-folder for each entry. None turns the cache off.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._warned = False

    def get(self, depends_on: Sequence[Any], names: Sequence[str]) -> Arrays | None:
        """The cached arrays; None where there is no entry, or a damaged one.

        Args:
            depends_on: JSON values that, with the code and the libraries, decide the arrays.
            names: Names of the arrays.
        """
        if self.folder is None:
            return None
        folder = self.folder / key_of(depends_on)
        if checksums.damage(folder, [f"{name}.npy" for name in names]):
            return None
        try:
            return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
        except (OSError, ValueError) as error:
            self._warn_once(error)
            return None

    def put(self, depends_on: Sequence[Any], arrays: Arrays) -> None:
        """Write an entry; where that fails, only a warning follows."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with checksums.building(self.folder / key_of(depends_on)) as part:
                for name, array in arrays.items():
                    np.save(part / f"{name}.npy", array, allow_pickle=False)
        except OSError as error:
            self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("%s cannot be used as a cache (%s): everything is computed", self.folder, error)


def key_of(depends_on: Sequence[Any]) -> str:
    """The name of an entry's folder: a digest of the code, the libraries, the threads and ``depends_on``."""
    everything = [_code_digest(), torch.get_num_threads(), depends_on]
    return hashlib.blake2b(json.dumps(everything).encode(), digest_size=12).hexdigest()


@cache
def _code_digest() -> str:
    """Digest of the code that computes the cached arrays, and of the libraries it uses.

    Without it, a cached score would outlive a change of its metric.
    """
    package = Path(__file__).resolve().parents[1]
    libraries = [torch.__version__, torch.backends.cpu.get_cpu_capability(), np.__version__, PIL.__version__]
    hasher = hashlib.blake2b(json.dumps(libraries).encode(), digest_size=16)
    for path in sorted([package / "images.py", *(p for room in _SOURCES for p in (package / room).rglob("*.py"))]):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()
