"""The index of a data set: its pairs, conditions and splits, the same for training and for scoring."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from saltext.data.geometry import Size
from saltext.data.pairs import Pair, Recording
from saltext.data.report import DataReport
from saltext.errors import DataError


@dataclass(frozen=True)
class BlurRule:
    """How a data set's maps are blurred.

    Attributes:
        name: Equal for equal rules; part of the key of cached scores.
        sigma: Height and width of an image -> standard deviation of the Gaussian in pixels.
    """

    name: str
    sigma: Callable[[Size], float]


@dataclass(frozen=True)
class DatasetIndex:
    """The content of a data set on disk; no image of it is decoded yet.

    Attributes:
        root: Its folder, or the YAML file that describes it.
        pairs: All pairs, sorted by image. A pair's position in this list is its index everywhere.
        conditions: Names of its tasks, in the order of tables.
        levels: Of each pair, the name of the published part (such as ``train``) it is in, or an empty text. By default
            there are none.
        image_sets: Image ID -> the set of images it belongs to. A split takes the same fraction of each set. By
            default those of :func:`sets_by_conditions`. Images of auxiliary pairs alone are in none.
        parts: The data set's own split: image IDs of ``train``, ``test`` and perhaps ``val``; None if it has none.
        blur: How its maps are blurred; None where the blur has to be fitted to the maps.
        is_sjtu_tis: Whether it has the pairs of SJTU-TIS, which the papers' split is drawn from, or generated ones.
        auxiliary_conditions: Those of the conditions that are trained on, and never validated or tested, see
            :class:`AuxiliaryPairs`. An image may have several pairs of one.

    Raises:
        DataError: Pairs that share a name, or an image and a condition.
    """

    root: Path
    pairs: Sequence[Pair | Recording]
    conditions: Sequence[str]
    levels: Sequence[str] = ()
    image_sets: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Sequence[str]] | None = None
    blur: BlurRule | None = None
    is_sjtu_tis: bool = False
    auxiliary_conditions: Sequence[str] = ()

    def __post_init__(self) -> None:
        report = DataReport()
        for what, keys in (
            ("names of several pairs", [pair.name for pair in self.pairs]),
            (
                "images with two pairs of one condition",
                [f"{pair.image_id} ({pair.task})" for pair in self.pairs if pair.task not in self.auxiliary_conditions],
            ),
        ):
            report.add(what, *(key for key, count in Counter(keys).items() if count > 1))
        report.raise_if_any(f"The data set under {self.root}", "Each pair of an image and a condition is listed once.")
        if not self.levels:
            object.__setattr__(self, "levels", [""] * len(self.pairs))
        if not self.image_sets:
            object.__setattr__(self, "image_sets", sets_by_conditions(self.pairs))

    def with_auxiliary_pairs(self, condition: str, pairs: Sequence[Pair]) -> "DatasetIndex":
        """The same data set with further pairs to train on; its splits stay the same.

        Args:
            condition: Condition of these pairs.
            pairs: Of images of the data set, which follow their image into a part of a split, or of other images.

        Raises:
            DataError: The condition is one of the data set's own, or a name is taken.
        """
        if condition in self.conditions:
            raise DataError(f"The data set under {self.root} has a condition {condition!r} of its own")
        level_of = {pair.image_id: level for pair, level in zip(self.pairs, self.levels, strict=True)}
        return replace(
            self,
            pairs=[*self.pairs, *pairs],
            conditions=[*self.conditions, condition],
            levels=[*self.levels, *(level_of.get(pair.image_id, "") for pair in pairs)],
            auxiliary_conditions=[*self.auxiliary_conditions, condition],
        )

    def pairs_with_images(self) -> list[Pair]:
        """All pairs, each with its image, as training needs them.

        Raises:
            DataError: The data set has maps and fixations, but no images.
        """
        with_images = [pair for pair in self.pairs if isinstance(pair, Pair)]
        if len(with_images) < len(self.pairs):
            raise DataError(
                f"Expected an image for each of the {len(self.pairs)} maps under {self.root}, but it has no folder of "
                "images: maps can be scored without, a network cannot be trained. Put the images there."
            )
        return with_images


@runtime_checkable
class AuxiliaryPairs(Protocol):
    """Further pairs to train on, never validated or tested: a detector's boxes with their names, or another data set.

    Pairs of images of the data set are trained on where their image is; those of other images always.
    """

    condition: str
    """The task of these pairs."""

    def __call__(self, index: DatasetIndex) -> Sequence[Pair]:
        """The pairs, with names and, for other images, image IDs that the data set does not have."""


@runtime_checkable
class Source(Protocol):
    """The reader of a data set, for training and for scoring.

    ``conf/data/NAME.yaml`` names its class as ``_target_``, beside the values of its arguments and those of
    :class:`saltext.data.datamodule.SaliencyDataModule`.
    """

    @property
    def root(self) -> Path | str:
        """Folder of the data set."""

    @property
    def conditions(self) -> Sequence[str] | None:
        """Names of its tasks, in the order of tables; None where they are known only after reading."""

    @property
    def published(self) -> str | None:
        """The data set's name among the published values; None where nothing was published."""

    def read(self) -> DatasetIndex:
        """Index the data set and check its names and tables; no image is decoded.

        Raises:
            DataError: The data set is missing or inconsistent. One error names all problems.
        """


def sets_by_conditions(pairs: Iterable[Pair | Recording], few: int = 10) -> dict[str, str]:
    """Sets of images that have the same conditions.

    Args:
        pairs: All pairs of the data set.
        few: Sets of fewer images are merged with the largest set, since a fifth of them is one image or none.

    Returns:
        Image ID -> the conditions of its set.
    """
    tasks_of: dict[str, list[str]] = {}
    for pair in pairs:
        tasks_of.setdefault(pair.image_id, []).append(pair.task)
    kinds = {image_id: " ".join(tasks) for image_id, tasks in tasks_of.items()}
    counts = Counter(kinds.values())
    largest = max(counts, key=lambda kind: counts[kind], default="")
    return {image_id: kind if counts[kind] >= few else largest for image_id, kind in kinds.items()}
