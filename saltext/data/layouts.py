"""Data sets other than SJTU-TIS: your own as a YAML file describes them, and SALICON.

A further layout is a function like :func:`saltext.data.salicon.find_salicon`, a class like :class:`SaliconDataModule`,
its name in ``saltext/data/__init__.py`` and a file like ``conf/data/salicon.yaml``. Checking, decoding, splits, scores
and tables ask for no more.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from saltext.data import splits
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.described import find_described
from saltext.data.description import Description, read_description
from saltext.data.geometry import Size
from saltext.data.pairs import Found, Pair
from saltext.data.salicon import CONDITION, find_salicon
from saltext.data.splits import Split
from saltext.data.truth import fitted_blur
from saltext.errors import ConfigError

_FEW = 10  # images; a fifth of fewer is one or none


class LayoutDataModule(SaliencyDataModule):
    """A data set in a layout of its own.

    Args:
        tasks: Names of :attr:`conditions`; None for all. Unknown ones are refused at set-up: to construct it, as for
            predictions of a model that was trained on it, the data set need not be there.
        split: As for :class:`SaliencyDataModule` but ``"published"``; and ``"given"``: the data set's own division,
            with ``val_fraction`` of its training images to choose the epoch where it keeps none for that. None:
            ``"given"`` if there is one, otherwise ``"80/20"``.
        **settings: As for :class:`SaliencyDataModule`.
    """

    published = None

    def __init__(self, *, tasks: str | Sequence[str] | None = None, split: str | None = None, **settings: Any) -> None:
        super().__init__(tasks=tasks, split=split or "", **settings)

    @property
    def conditions(self) -> Sequence[str]:
        """Names of all tasks of the data set, in the order of tables."""
        raise NotImplementedError(f"{type(self).__name__} has to name its conditions")

    def _find(self) -> Found:
        """Look for the data set; one error names everything that is wrong with it."""
        raise NotImplementedError(f"{type(self).__name__} has to look for its data set")

    @cached_property
    def _found(self) -> Found:
        return self._find()

    @cached_property
    def _fitted(self) -> Callable[[Size], float]:
        return fitted_blur(self.cache)

    def sigma(self, size: Size) -> float:
        """As the data set says; otherwise the blur whose maps are most like its maps."""
        return self._fitted(size) if self._found.sigma is None else self._found.sigma

    def _check_tasks(self) -> None:
        """Later: the conditions are known once the data set is there."""

    def _read_pairs(self) -> list[Pair]:
        return self._found.pairs

    def _image_sets(self) -> Mapping[str, str]:
        """Images seen under the same conditions; few ones of a kind are counted with the most frequent kind."""
        seen: dict[str, list[str]] = {}
        for pair in self.pairs:
            seen.setdefault(pair.image_id, []).append(pair.task)
        kinds = {image_id: " ".join(tasks) for image_id, tasks in seen.items()}
        (largest, _), *others = Counter(kinds.values()).most_common()
        few = {kind for kind, count in others if count < _FEW}
        return {image_id: largest if kind in few else kind for image_id, kind in kinds.items()}

    def _splits(self) -> dict[str, Callable[[], Split]]:
        ways = super()._splits()
        del ways["published"]  # a paper's, of SJTU-TIS
        parts = self._found.parts
        if parts is not None:
            ways["given"] = lambda: splits.given(parts, self.val_fraction, self.split_seed)
        return ways

    def _make_split(self) -> Split:
        self.split_name = self.split_name or ("80/20" if self._found.parts is None else "given")
        return super()._make_split()


class OwnDataModule(LayoutDataModule):
    """Images, fixations and texts of your own, described in a YAML file: docs/own-data.md.

    Args:
        description: The file.
        root: Folder from which the file's paths start; its own by default.
        **settings: As for :class:`LayoutDataModule`.

    Raises:
        ConfigError: At construction: no file is named.
        DataError: At set-up: the description, or what it describes, cannot be used.
    """

    def __init__(self, description: str | Path | None = None, root: str | Path | None = None, **settings: Any) -> None:
        if description is None:
            raise ConfigError(
                "data=own needs the file that describes your data: data.description=FILE (docs/own-data.md)"
            )
        super().__init__(root=Path(description).parent if root is None else root, **settings)
        self._path = Path(description)

    @cached_property
    def _description(self) -> Description:
        return read_description(self._path, self.root)

    @property
    def conditions(self) -> Sequence[str]:
        """As described."""
        return tuple(self._description.conditions)

    def _find(self) -> Found:
        return find_described(self._description, self.settings.max_pixels)


class SaliconDataModule(LayoutDataModule):
    """SALICON, on which TranSalNet is trained before anything else: see :func:`saltext.data.salicon.find_salicon`."""

    @property
    def conditions(self) -> Sequence[str]:
        """Free viewing."""
        return (CONDITION,)

    def _find(self) -> Found:
        return find_salicon(self.root)
