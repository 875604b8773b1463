"""Resizing of an image to the size of a network's input."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from saltext.data.geometry import Box, Resize, Size, content_box


def fit(picture: Image.Image, target: Size, resize: Resize) -> tuple[npt.NDArray[np.uint8], Box]:
    """Resize a picture: bilinear with antialiasing, as torchvision's Resize does for PIL images.

    Args:
        picture: RGB or grey, 8 bits.
        target: Height and width of the input.
        resize: See :func:`saltext.data.geometry.content_box`.

    Returns:
        uint8 of shape ``(*target, 3)``, of a grey picture ``target``, zero outside the content; and where the content
        lies.
    """
    box = content_box((picture.height, picture.width), target, resize)
    content = np.asarray(picture.resize((box.width, box.height), Image.Resampling.BILINEAR))
    if content.shape[:2] == target:
        return content, box
    canvas = np.zeros(target + content.shape[2:], np.uint8)
    canvas[box.top : box.top + box.height, box.left : box.left + box.width] = content
    return canvas, box
