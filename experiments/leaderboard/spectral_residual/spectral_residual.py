"""Spectral residual saliency of every image of a folder, as 16-bit PNG of the image's size and name.

    python spectral_residual.py IMAGES MAPS

Hou and Zhang, Saliency detection: a spectral residual approach, CVPR 2007. Needs OpenCV and numpy.
"""

import sys
from pathlib import Path

import cv2
import numpy as np


def saliency(path: Path) -> np.ndarray:
    """Saliency map of an image, uint16 of the image's height and width."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float64)
    height, width = grey.shape
    scale = 64 / max(height, width)
    small_size = max(1, round(width * scale)), max(1, round(height * scale))
    spectrum = np.fft.fft2(cv2.resize(grey, small_size, interpolation=cv2.INTER_AREA))
    log_amplitude = np.log(np.abs(spectrum) + 1e-9)
    residual = log_amplitude - cv2.blur(log_amplitude, (3, 3), borderType=cv2.BORDER_WRAP)
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    found = cv2.resize(cv2.GaussianBlur(found, (0, 0), 2.5), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.round(65535 * (found - found.min()) / (found.max() - found.min())).astype(np.uint16)


if __name__ == "__main__":
    images, maps = Path(sys.argv[1]), Path(sys.argv[2])
    maps.mkdir(exist_ok=True)
    for image in sorted(images.glob("*.png")):
        cv2.imwrite(str(maps / image.name), saliency(image))
