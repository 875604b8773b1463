"""What a data set holds, as its reader finds it on a disk: the same for training and for scoring."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from saltext.data.geometry import Size
from saltext.data.pairs import Pair, Recording
from saltext.errors import DataError

Layout = Literal["sjtu-tis", "salicon", "own"]
"""How the files of a data set are laid out."""


@dataclass(frozen=True)
class BlurRule:
    """How wide a data set's maps are blurred.

    Attributes:
        name: Equal for equal rules; kept scores depend on it.
        sigma: Height and width of an image -> deviation of the Gaussian in pixels.
    """

    name: str
    sigma: Callable[[Size], float]


@dataclass(frozen=True)
class DatasetIndex:
    """A data set as it lies on a disk; no picture of it is decoded yet.

    Attributes:
        layout: How its files are laid out.
        root: Its folder, or the file that describes it.
        pairs: All of it, sorted by image. A pair's position in this list is its index everywhere.
        conditions: Names of its tasks, in the order of tables.
        levels: Of each pair, the name of the part of the data set it was published in; empty where there are none.
        image_sets: Image ID -> the set of images it belongs to. A split takes the same fraction of each set.
        parts: The data set's own division: image IDs of ``train``, ``test`` and perhaps ``val``; None if it has none.
        blur: How its maps were made of fixations; None where it has to be found by a look at the maps.
    """

    layout: Layout
    root: Path
    pairs: Sequence[Pair | Recording]
    conditions: Sequence[str]
    levels: Sequence[str]
    image_sets: Mapping[str, str]
    parts: Mapping[str, Sequence[str]] | None = None
    blur: BlurRule | None = None

    def pairs_with_images(self) -> list[Pair]:
        """The pairs as training needs them.

        Raises:
            DataError: The data set has maps and fixations, but no images.
        """
        found = [pair for pair in self.pairs if isinstance(pair, Pair)]
        if len(found) < len(self.pairs):
            raise DataError(
                f"Expected an image for each of the {len(self.pairs)} maps under {self.root}, but it has no folder of "
                "images: maps can be scored without, a network cannot be trained. Put the images there."
            )
        return found


class Source(Protocol):
    """A data set's one reader, for training and for scoring."""

    @property
    def root(self) -> Path | str:
        """Folder of the data set."""

    @property
    def conditions(self) -> Sequence[str] | None:
        """Names of its tasks, in the order of tables; None where only a look at the data tells."""

    @property
    def published(self) -> str | None:
        """The data set's name among the published values; None where nothing was published."""

    def read(self) -> DatasetIndex:
        """Look for the data set and check its names and tables; no picture is decoded.

        Raises:
            DataError: It is not there, or does not belong together. One error names all problems.
        """


def sets_by_conditions(pairs: Iterable[Pair | Recording], few: int = 10) -> dict[str, str]:
    """Sets of images that have the same conditions.

    Args:
        pairs: The whole data set.
        few: Sets of fewer images are counted with the largest set, since a fifth of them is one image or none.

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
