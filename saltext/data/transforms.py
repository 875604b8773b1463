"""Augmentation of training samples; the only module that uses albumentations.

It avoids two pitfalls of albumentations 2.0.8. Its random state is copied into every loader worker, so workers repeat
each other: here each sample has its own seed. And ``Compose.set_random_seed`` gives every transform the same random
stream, so exactly the flipped images would also change colour: here each transform has its own seed.
"""

import warnings

import albumentations as A
import cv2
import numpy as np

from saltext.data.geometry import Box
from saltext.data.mirrored_text import mirror_text
from saltext.data.view import View
from saltext.errors import ConfigError
from saltext.system.watched import watch_parent_process


class Augment:
    """Mirrors a sample left to right and changes its colours slightly.

    Mirroring is exact: image, density and fixation counts are flipped cell by cell, without resampling, and "left" and
    "right" are exchanged in the text. Colour changes apply to the image alone, and in a letterboxed image only to its
    content.

    Args:
        flip: Probability of mirroring.
        brightness: Largest change of brightness, as a fraction of the full range.
        contrast: Largest relative change of contrast.
        hue: Largest shift of hue, in degrees of OpenCV's half circle (0 to 180).
        saturation: Largest shift of saturation, of 255.
        noise: Largest standard deviation of Gaussian noise, as a fraction of the full range; 0 for none.
        blur: Largest sigma of a Gaussian blur, in pixels of the network's input; 0 for none.

    Attributes:
        images_come_back: Whether each image has two forms only, itself and its mirror image.

    Raises:
        ConfigError: A value is outside its range; names all of them.
    """

    def __init__(
        self,
        flip: float = 0.5,
        brightness: float = 0.1,
        contrast: float = 0.1,
        hue: float = 4.0,
        saturation: float = 15.0,
        noise: float = 0.0,
        blur: float = 0.0,
    ) -> None:
        bounds = {
            "flip": (flip, 1.0),
            "brightness": (brightness, 1.0),
            "contrast": (contrast, 1.0),
            "hue": (hue, 180.0),
            "saturation": (saturation, 255.0),
            "noise": (noise, 1.0),
            "blur": (blur, 10.0),
        }
        wrong = [f"{name}={value} (0 to {top:g})" for name, (value, top) in bounds.items() if not 0 <= value <= top]
        if wrong:
            raise ConfigError(f"augmentation values outside their range: {', '.join(wrong)}")
        steps = [A.HorizontalFlip(p=flip)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations only warns of arguments it does not know
            if brightness or contrast:
                steps.append(A.RandomBrightnessContrast(brightness, contrast, p=1.0))
            if hue or saturation:
                steps.append(A.HueSaturationValue(hue, saturation, 0.0, p=1.0))
            if noise:
                steps.append(A.GaussNoise(std_range=(0.0, noise), p=1.0))
            if blur:
                steps.append(A.GaussianBlur(blur_limit=0, sigma_limit=(0.0, blur), p=1.0))
            # No shape check: the maps may be smaller than the image, and are only mirrored.
            self._compose = A.Compose(steps, is_check_shapes=False, save_applied_params=True)
        self._steps = steps
        self.images_come_back = not (brightness or contrast or hue or saturation or noise or blur)

    def __call__(self, view: View, seed: tuple[int, int, int]) -> View:
        """A changed copy of ``view``.

        Args:
            view: The sample; not changed.
            seed: Run seed, epoch and the sample's number, each at least 0. Equal seeds give equal results.
        """
        states = np.random.SeedSequence(seed).generate_state(len(self._steps)).tolist()
        for step, state in zip(self._steps, states, strict=True):
            step.set_random_seed(state)
        top, left, height, width = view.box
        content = np.ascontiguousarray(view.image[top : top + height, left : left + width])
        changed = self._compose(image=content, masks=[view.density, view.fixations])
        flipped = any(name == A.HorizontalFlip.__name__ for name, _ in changed["applied_transforms"])
        columns = view.image.shape[1]
        box = Box(top, columns - left - width, height, width) if flipped else view.box
        image = changed["image"]
        if image.shape != view.image.shape:
            image = np.zeros_like(view.image)
            image[box.top : box.top + height, box.left : box.left + width] = changed["image"]
        density, fixations = changed["masks"]
        return View(image, density, fixations, mirror_text(view.text) if flipped else view.text, box)


def single_threaded_worker(_: int) -> None:
    """Set-up of a loader worker: OpenCV's own threads would compete with the other workers. It ends with its parent."""
    cv2.setNumThreads(0)
    watch_parent_process()
