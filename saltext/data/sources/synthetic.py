"""The synthetic data set: generated where it is not there yet, then read as SJTU-TIS is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from saltext.data.index import DatasetIndex
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.synthetic import generate


@dataclass(frozen=True)
class Synthetic:
    """A small generated data set in the published layout, where the text decides the map.

    Attributes:
        root: Folder to generate into; must be new, empty, or generated before.
        images: Number of images.
        data_seed: Another seed gives other images and texts.
    """

    root: Path | str
    images: int = 240
    data_seed: int = 0
    published: ClassVar[str | None] = None
    conditions: ClassVar[Sequence[str]] = SjtuTis.conditions

    def read(self) -> DatasetIndex:
        """Generate what is not there with these settings, and read it.

        Raises:
            DataError: ``root`` holds other files.
            ConfigError: Too few images, or a negative seed.
        """
        return SjtuTis(generate(self.root, images=self.images, seed=self.data_seed)).read()
