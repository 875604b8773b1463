"""Keys of images in the feature cache: they identify pixels without reading them."""

from typing import NamedTuple


class ImageSource(NamedTuple):
    """A set of images: a decoded cache, or a single photo.

    Attributes:
        digest: Digest of the pixels of all of them, at the size of the network's input, before normalisation.
        images: Number of images.
    """

    digest: str
    images: int


class ImageKey(NamedTuple):
    """Identifies the pixels of an image: equal keys, equal pixels.

    Attributes:
        source: The set of images it belongs to.
        row: Its index in that set, from 0.
        mirrored: Whether it is that image mirrored left to right.
    """

    source: ImageSource
    row: int
    mirrored: bool = False

    def flipped(self) -> "ImageKey":
        """The key of this image mirrored left to right."""
        return self._replace(mirrored=not self.mirrored)
