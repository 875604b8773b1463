"""What scoring keeps of a data set: arrays in folders named by a digest of all they depend on, so none is ever stale.

They lie beside the decoded caches (:mod:`saltext.data.cache`) and are like them: complete or not there, compared with
their checksums, made again where they are damaged. They only help: where nothing can be kept, all is computed, and one
line says so.
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

# Sources of the package that decide what is kept, below its folder.
_SOURCES = ("baselines", "data", "evaluation", "metrics")

Arrays = Mapping[str, npt.NDArray[Any]]


class ScoreCache:
    """Named arrays by what they depend on.

    Args:
        folder: For the caches; each gets a sub-folder. None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._said = False

    def get(self, depends_on: Sequence[Any], names: Sequence[str]) -> Arrays | None:
        """What was kept; None if that is not there, or damaged.

        Args:
            depends_on: All that decides the arrays besides the code and the libraries, as JSON can write it.
            names: Of the arrays.
        """
        if self.folder is None:
            return None
        folder = self.folder / key_of(depends_on)
        if checksums.damage(folder, [f"{name}.npy" for name in names]):
            return None
        try:
            return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
        except (OSError, ValueError) as error:
            self._say(error)
            return None

    def put(self, depends_on: Sequence[Any], arrays: Arrays) -> None:
        """Keep arrays; nothing happens where that is not possible."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with checksums.building(self.folder / key_of(depends_on)) as part:
                for name, array in arrays.items():
                    np.save(part / f"{name}.npy", array, allow_pickle=False)
        except OSError as error:
            self._say(error)

    def _say(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            _log.warning("%s cannot be used as a cache (%s): everything is computed", self.folder, error)


def key_of(depends_on: Sequence[Any]) -> str:
    """The name of a cache's folder."""
    everything = [_code(), torch.get_num_threads(), depends_on]
    return hashlib.blake2b(json.dumps(everything).encode(), digest_size=12).hexdigest()


@cache
def _code() -> str:
    """Digest of the code that computes what is kept, and of the libraries it uses.

    A score that outlives a change of its metric would be worse than one that is computed again.
    """
    package = Path(__file__).resolve().parents[1]
    libraries = [torch.__version__, torch.backends.cpu.get_cpu_capability(), np.__version__, PIL.__version__]
    hasher = hashlib.blake2b(json.dumps(libraries).encode(), digest_size=16)
    for path in sorted([package / "images.py", *(p for room in _SOURCES for p in (package / room).rglob("*.py"))]):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()
