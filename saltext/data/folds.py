"""The fixed folds as a file: which images each fold tests, for models that are trained elsewhere.

They are the test sets of :func:`saltext.data.splits.kfold` with five folds and seed 0, as ``experiments/embedded`` has
them: every image is tested in exactly one fold, with all its texts. The file holds names of images and digests alone.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from saltext import storage
from saltext.data.index import DatasetIndex
from saltext.data.report import DataReport
from saltext.data.splits import kfold
from saltext.errors import DamagedFileError, DataError

FOLDS, SEED = 5, 0
"""Number of folds and seed of the split, as ``conf/data/sjtu_tis.yaml`` has them."""

_METHOD = "test images of {} folds, grouped by image, with the same fraction of each set of images"
_FORM = (
    "Expected what `saltext folds export` writes: JSON with method, seed, digest and folds, a list of digest and images"
)


def digest_of(names: Iterable[str]) -> str:
    """SHA-256 of names in ascending order, a newline (UTF-8) after each, in hexadecimal.

    Example:
        >>> digest_of(["b", "a"]) == hashlib.sha256(b"a\\nb\\n").hexdigest()
        True
    """
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


@dataclass(frozen=True)
class Folds:
    """The test images of each fold.

    Attributes:
        images: For each fold, the IDs of its test images, ascending.
        seed: Seed of the split.
        method: How they were made.
    """

    images: tuple[tuple[str, ...], ...]
    seed: int = SEED
    method: str = _METHOD.format(FOLDS)

    @classmethod
    def of(cls, index: DatasetIndex) -> "Folds":
        """The folds of a data set.

        Raises:
            ConfigError: It has a set of fewer images than folds.
        """
        tests = (kfold(index.image_sets, FOLDS, fold, 0, SEED).parts["test"] for fold in range(FOLDS))
        return cls(tuple(tests))

    @property
    def digest(self) -> str:
        """:func:`digest_of` of the digests of all folds."""
        return digest_of(map(digest_of, self.images))

    @cached_property
    def fold_of(self) -> Mapping[str, int]:
        """Image ID -> its fold, from 0."""
        return {image: number for number, images in enumerate(self.images) for image in images}

    def write(self, path: Path | str) -> None:
        """Write the file."""
        storage.write_json(
            path,
            {
                "method": self.method,
                "seed": self.seed,
                "digest": self.digest,
                "folds": [{"digest": digest_of(images), "images": list(images)} for images in self.images],
            },
            durable=True,
        )

    @classmethod
    def read(cls, path: Path | str, issues: DataReport) -> "Folds":
        """Read a file that :meth:`write` wrote.

        Args:
            path: The file.
            issues: Digests that do not fit and images that are listed more than once are added to it.

        Raises:
            DataError: The file is missing or has another form.
        """
        try:
            content: dict[str, Any] = storage.read_json(path, dict, ["method", "seed", "digest", "folds"])
            folds = cls(
                tuple(tuple(_text(image) for image in fold["images"]) for fold in content["folds"]),
                int(content["seed"]),
                _text(content["method"]),
            )
            written = [_text(fold["digest"]) for fold in content["folds"]]
        except (DamagedFileError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is no file of folds ({error}). {_FORM}.") from error
        names = Counter(image for images in folds.images for image in images)
        issues.add("images in two folds, or twice in one", *(name for name, count in names.items() if count > 1))
        wrong = [number for number, images in enumerate(folds.images) if digest_of(images) != written[number]]
        issues.add("folds whose images do not fit their digest", *(f"fold {number} of {path}" for number in wrong))
        if not wrong and folds.digest != content["digest"]:
            issues.add("files of folds whose digest does not fit", str(path))
        return folds

    def check_against(self, index: DatasetIndex, issues: DataReport) -> None:
        """Add the images that a data set lacks to ``issues``."""
        known = {pair.image_id for pair in index.pairs}
        issues.add("images of the folds that the data set lacks", *sorted(set(self.fold_of) - known))

    def indices(self, index: DatasetIndex, chosen: Sequence[int]) -> list[int]:
        """Those of some indices of pairs whose image is in a fold, in their order."""
        return [number for number in chosen if index.pairs[number].image_id in self.fold_of]

    def begun(self, index: DatasetIndex, predicted: Iterable[int]) -> set[int]:
        """The folds of which at least one of some pairs, given by their indices, is part."""
        images = (index.pairs[number].image_id for number in predicted)
        return {self.fold_of[image] for image in images if image in self.fold_of}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r:.80}")
    return value
