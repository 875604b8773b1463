"""What tells the images of the decoded cache, and single photos, from each other without looking at their pixels."""

from typing import NamedTuple


class ImageSource(NamedTuple):
    """Where images come from.

    Attributes:
        digest: Of the content of all of them, as the network's input shows them before normalisation.
        images: How many there are.
    """

    digest: str
    images: int


class ImageKey(NamedTuple):
    """Stands for the pixels of an image: equal keys, equal pixels.

    Attributes:
        source: Where it comes from.
        row: Its index there, from 0.
        mirrored: Whether it is that image mirrored left to right.
    """

    source: ImageSource
    row: int
    mirrored: bool = False

    def flipped(self) -> "ImageKey":
        """The key of this image mirrored left to right."""
        return self._replace(mirrored=not self.mirrored)
