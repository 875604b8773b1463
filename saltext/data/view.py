"""The arrays of one sample, before and after augmentation."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saltext.data.geometry import Box


@dataclass(frozen=True)
class View:
    """The arrays and the text of one sample.

    Attributes:
        image: RGB, uint8, ``(height, width, 3)``.
        density: float32, ``(rows, columns)``.
        fixations: Counts, float32, ``(rows, columns)``.
        text: The text that was read.
        box: The image content inside ``image``.
    """

    image: npt.NDArray[np.uint8]
    density: npt.NDArray[np.float32]
    fixations: npt.NDArray[np.float32]
    text: str
    box: Box
