"""Free viewing of another data set's images, to train on besides."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from saltext.data.index import DatasetIndex, Source
from saltext.data.near_duplicates import HASH_BITS, nearest_images
from saltext.data.pairs import Pair
from saltext.errors import ConfigError, DataError

_log = logging.getLogger(__name__)


class FurtherFreeViewing:
    """The pairs without a text of another data set, as auxiliary training pairs of a condition of its own.

    Two data sets differ in viewers, viewing time and blur, so that a network learns more from both if it knows which
    one a map is from (Kuemmerer et al. 2025, arXiv:2505.10169). Images that show the same picture as one of the data
    set that is trained and tested on are left out: they might be its test images.

    Args:
        source: Reader of the other data set, such as ``Osie("data/osie")``.
        cache_dir: Folder for the hashes of the images.
        condition: Task of these pairs.
        min_distance: Images with fewer differing bits of the difference hash, of 256, are left out, see
            :func:`saltext.data.near_duplicates.nearest_images`. Of SJTU-TIS, copies at a third of the size, mirrored,
            darker, or with 2 % cut off each side differ in up to 42 bits, two different images in 69 or more.

    Raises:
        ConfigError: ``min_distance`` is outside 0 to 256.

    Example:
        >>> from saltext.data.sources.osie import Osie
        >>> FurtherFreeViewing(Osie("data/osie"), "outputs/cache").condition
        'scenes'
    """

    def __init__(
        self, source: Source, cache_dir: Path | str, condition: str = "scenes", min_distance: int = 48
    ) -> None:
        if not 0 <= min_distance <= HASH_BITS:
            raise ConfigError(f"data.free_viewing.min_distance: expected 0 to {HASH_BITS}, got {min_distance}")
        self.source = source
        self.cache_dir = Path(cache_dir)
        self.condition = condition
        self.min_distance = min_distance

    def __call__(self, index: DatasetIndex) -> Sequence[Pair]:
        """The pairs, sorted as in the other data set; names and image IDs start with the condition.

        Raises:
            DataError: The other data set is missing or inconsistent, or nothing of it is left.
            InvalidFileError: An image cannot be read.
        """
        free = [pair for pair in self.source.read().pairs_with_images() if not pair.text]
        own = list(dict.fromkeys(pair.image for pair in index.pairs_with_images()))
        if not free:
            raise DataError(f"Expected pairs without a text under {self.source.root}, got none; see data.free_viewing")
        nearest = nearest_images([pair.image for pair in free], own, self.cache_dir)
        kept = [pair for pair in free if nearest[pair.image].distance >= self.min_distance]
        least = min(free, key=lambda pair: nearest[pair.image].distance)
        _log.info(
            "%s: %d of %d pairs of %s; the image most like one of %s is %s (%d of %d bits differ from %s)",
            self.condition, len(kept), len(free), self.source.root, index.root, least.image.name,
            nearest[least.image].distance, HASH_BITS, nearest[least.image].image.name,
        )  # fmt: skip
        if not kept:
            raise DataError(
                f"Expected images under {self.source.root} that are not in {index.root} too, got none: all differ in "
                f"fewer than data.free_viewing.min_distance={self.min_distance} of {HASH_BITS} bits"
            )
        return [
            replace(
                pair,
                image_id=f"{self.condition}/{pair.image_id}",
                task=self.condition,
                name=f"{self.condition}/{pair.name}",
            )
            for pair in kept
        ]
