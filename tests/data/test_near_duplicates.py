from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from saltext.data.near_duplicates import difference_hash, nearest_images

Change = Callable[[Image.Image], Image.Image]

CHANGES: dict[str, Change] = {
    "smaller": lambda image: image.resize((image.width // 3, image.height // 3)),
    "stretched": lambda image: image.resize((image.width, image.height // 2)),
    "mirrored": ImageOps.mirror,
    "darker": lambda image: image.point(lambda value: value * 0.6),
    "grey": lambda image: image.convert("L"),
    "cut": lambda image: ImageOps.crop(image, image.width // 50),
}


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Smooth random images."""
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (8, 10, 3), np.uint8))
        coarse.resize((200, 150), Image.Resampling.BICUBIC).save(path)
    return paths


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_nearer_to_its_image_than_any_other_image(
    name: str, images: list[Path], tmp_path: Path
) -> None:
    copies = [tmp_path / f"copy {number}.jpg" for number in range(len(images))]
    for image, copy in zip(images, copies, strict=True):
        CHANGES[name](Image.open(image)).save(copy, quality=50)
    nearest = nearest_images(copies, images, tmp_path / "cache")
    assert [nearest[copy].image for copy in copies] == images
    assert max(found.distance for found in nearest.values()) < 48
    others = nearest_images(images[:3], images[3:], tmp_path / "cache")
    assert min(found.distance for found in others.values()) > 70


def test_the_distance_is_the_number_of_differing_bits_to_the_image_or_to_its_mirror_image(
    images: list[Path], tmp_path: Path
) -> None:
    mirrored = tmp_path / "mirrored.png"
    for other in images[1:]:
        ImageOps.mirror(Image.open(other)).save(mirrored)
        found = nearest_images(images[:1], [other], tmp_path / "cache")[images[0]]
        own, *others = (difference_hash(path) for path in (images[0], other, mirrored))
        # cells of equal brightness, which are rare, have the same bit in both directions
        assert found.distance == pytest.approx(min(int((own != bits).sum()) for bits in others), abs=4)


def test_a_hash_says_where_a_row_gets_brighter(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 170, 5, np.uint8), (32, 1))
    Image.fromarray(np.concatenate([ramp, ramp[:, ::-1]])).save(tmp_path / "ramps.png")
    assert difference_hash(tmp_path / "ramps.png").tolist() == [[True] * 16] * 8 + [[False] * 16] * 8
