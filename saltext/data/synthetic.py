"""Generator of a small synthetic data set in the published layout, in which the text decides the fixations.

Each image shows two large bright objects and two or three small dim ones on a textured background, all of different
colours. A text names some of them, and most fixations fall on those. A model that ignores the text can only learn the
large objects and the centre.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from saltext.data.geometry import Size
from saltext.data.tasks import FOLDERS, PART_SHEET, TASK_BY_NAME, TASKS, WHOLE_SHEET
from saltext.errors import ConfigError, DataError

_log = logging.getLogger(__name__)

_FORMAT = 1
_SETTINGS_FILE = "synthetic.json"
_WORKBOOK = "text最终版本.xlsx"
_WRITTEN_NAMES = {_SETTINGS_FILE, _WORKBOOK, *(names[0] for names in FOLDERS.values())}

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 35),
    "yellow": (240, 220, 40),
    "green": (40, 190, 60),
    "cyan": (40, 210, 225),
    "blue": (45, 75, 235),
    "pink": (240, 70, 200),
}
SHAPES = ("circle", "square", "triangle", "star")

_BLUR = 32 / 640  # of the longer side: the published maps' sigma is 32 px at 640 px
_NAMED_FRACTION = 0.8  # of the fixations fall on the objects that the text names
_FIXATIONS = (40, 200)
_SALIENT_RADIUS = (0.105, 0.13)  # of the longer side
_DIM_RADIUS = (0.055, 0.065)
_DIM_STRENGTH = 0.6  # opacity of a dim object over the background
_MIN_SIDE = 96

_SALIENT_TEXTS = (
    "A large {0} stands out in the scene{1}.",
    "There is a big {0}{1}",
    "The bright {0} catches the eye{1}.",
    "Someone placed a {0} in the foreground{1}",
    "A {0} can be seen{1}.",
)
_DIM_TEXTS = (
    "A small {0} sits in the background{1}.",
    "There is a little {0}{1}",
    "The dim {0} is easy to miss{1}.",
    "Someone hid a {0} in the scene{1}",
    "A {0} can be seen{1}.",
)
_GENERAL_TEXTS = (
    "There is a {0} and a {1}.",
    "A {0} lies not far from a {1}",
    "Besides the {0} there is a {1}.",
    "The picture shows a {0} as well as a {1}",
)
_WHOLE_TEXTS = (
    "A {0} and a {1} on a textured ground.",
    "A scene with a large {0} and a large {1}",
    "Two big objects, a {0} and a {1}, among smaller ones.",
)

_Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _SceneObject:
    colour: str
    shape: str
    salient: bool
    y: float
    x: float
    radius: float

    @property
    def words(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class _Condition:
    """One image-text pair before it is drawn: the text, and the objects it names."""

    task: str
    text: str
    named: tuple[_SceneObject, ...]


def generate(root: Path | str, images: int = 240, seed: int = 0, size_range: tuple[int, int] = (144, 176)) -> Path:
    """Write the data set under ``root``, unless it is there already with the same settings.

    Half of the images are of set A (tasks pure, whole), half of set B (pure, general, salient, non_salient). Files are
    like the published ones: RGBA images that are equal for all tasks of one image, grey maps with maximum 255, RGB
    fixations, and the workbook. A map is the binary fixation map blurred with a Gaussian of 32 px at 640 px, with zero
    padding, then scaled to 0..255, like the published maps.

    Args:
        root: A new or empty folder, or one this function wrote; then other settings replace its content.
        images: Number of images, at least 4.
        seed: Equal seeds give equal files.
        size_range: Smallest and largest length of an image's longer side.

    Returns:
        ``root``.

    Raises:
        DataError: ``root`` holds files this function did not write; nothing is touched then.
        ConfigError: Too few images, a negative seed, or images too small to hold the objects.
    """
    root = Path(root)
    if images < 4 or seed < 0 or not _MIN_SIDE <= size_range[0] <= size_range[1]:
        raise ConfigError(
            f"synthetic data: expected at least 4 images, a seed of at least 0 and {_MIN_SIDE} <= size_range[0] <= "
            f"size_range[1], got images={images}, seed={seed}, size_range={tuple(size_range)}"
        )
    settings = {"format": _FORMAT, "images": images, "seed": seed, "size_range": list(size_range)}
    if _written_settings(root) == settings:
        return root
    _check_not_foreign(root)
    part = root.resolve().with_name(f".{root.resolve().name}-{uuid.uuid4().hex}")
    try:
        _write_data_set(part, settings, images, seed, size_range)
        if root.exists() and _written_settings(root) != settings:
            _check_not_foreign(root)
            shutil.rmtree(root)
        try:
            part.rename(root)
        except OSError:
            if _written_settings(root) != settings:  # otherwise another process was first
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root


def is_generated(root: Path) -> bool:
    """Whether :func:`generate` wrote the data set under a folder."""
    return _written_settings(root) is not None


def generated_sigma(size: Size) -> float:
    """Standard deviation in pixels of the blur of the maps of an image of this height and width."""
    return _BLUR * max(size)


def _written_settings(root: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads((root / _SETTINGS_FILE).read_text())
    except (OSError, ValueError):
        return None
    return content


def _check_not_foreign(root: Path) -> None:
    """Raise a DataError for a folder with files that this module did not write."""
    if not root.exists():
        return
    content = {path.name for path in root.iterdir()} if root.is_dir() else {root.name}
    if content and (_SETTINGS_FILE not in content or content - _WRITTEN_NAMES):
        raise DataError(
            f"{root} holds files that the synthetic generator did not write ({', '.join(sorted(content)[:5])}). Choose "
            "a new folder as data.root of the synthetic data; nothing was changed."
        )


def _write_data_set(root: Path, settings: dict[str, Any], images: int, seed: int, size_range: tuple[int, int]) -> None:
    for names in FOLDERS.values():
        (root / names[0]).mkdir(parents=True)
    ids = _image_ids(images, seed)
    work = [(root, image_id, position, seed, size_range) for position, image_id in enumerate(ids)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        conditions = list(pool.map(lambda arguments: _write_image(*arguments), work))
    _write_workbook(root / _WORKBOOK, dict(zip(ids, conditions, strict=True)))
    (root / _SETTINGS_FILE).write_text(json.dumps(settings))
    _log.info("generated %d images with %d image-text pairs", images, sum(map(len, conditions)))


def _image_ids(images: int, seed: int) -> list[str]:
    """IDs as published: mostly 12 digits with leading zeros, some 9 or 10 digits without."""
    numbers = np.random.default_rng((seed, 0)).choice(90_000, size=images, replace=False)
    offsets = {4: 1_000_000_000, 9: 100_000_000}
    return [
        str(offsets[position % 10] + number) if position % 10 in offsets else f"{number:012d}"
        for position, number in enumerate(numbers.tolist())
    ]


def _write_image(root: Path, image_id: str, position: int, seed: int, size_range: tuple[int, int]) -> list[_Condition]:
    rng = np.random.default_rng((seed, 1, position))
    size = _draw_size(rng, size_range)
    objects = _place_objects(rng, size)
    picture = _paint_scene(rng, size, objects)
    conditions = _draw_conditions(rng, "AB"[position % 2], objects, size)
    folders = {kind: root / names[0] for kind, names in FOLDERS.items()}
    encoded: bytes | None = None
    for condition in conditions:
        name = f"{image_id}{TASK_BY_NAME[condition.task].suffix}.png"
        if encoded is None:
            picture.convert("RGBA").save(folders["image"] / name, compress_level=1)
            encoded = (folders["image"] / name).read_bytes()
        (folders["image"] / name).write_bytes(encoded)
        fixations = _draw_fixations(rng, size, objects, condition.named)
        Image.fromarray(np.repeat(fixations[..., None] * np.uint8(255), 3, axis=2)).save(
            folders["fixation"] / name, compress_level=1
        )
        Image.fromarray(_blurred_map(fixations)).save(folders["map"] / name, compress_level=1)
    return conditions


def _draw_size(rng: np.random.Generator, size_range: tuple[int, int]) -> tuple[int, int]:
    """Height and width; few distinct ones, a quarter of them portrait."""
    longer = int(rng.choice(np.linspace(*size_range, 3).round().astype(int)))
    shorter = round(longer * float(rng.choice([3 / 4, 2 / 3])))
    return (longer, shorter) if rng.random() < 0.25 else (shorter, longer)


def _place_objects(rng: np.random.Generator, size: tuple[int, int]) -> tuple[_SceneObject, ...]:
    """Two salient objects and two or three others, apart from each other, of different colours."""
    count = int(rng.integers(4, 6))
    colours = rng.permutation(list(COLOURS)).tolist()
    longer = max(size)
    while True:  # few tries: the objects cover about a tenth of the image
        objects: list[_SceneObject] = []
        for number in range(count):
            salient = number < 2
            radius = longer * rng.uniform(*(_SALIENT_RADIUS if salient else _DIM_RADIUS))
            for _ in range(30):
                y, x = (float(rng.uniform(radius + 2, side - radius - 2)) for side in size)
                if all(np.hypot(y - o.y, x - o.x) > radius + o.radius + 0.03 * longer for o in objects):
                    objects.append(_SceneObject(colours[number], str(rng.choice(SHAPES)), salient, y, x, float(radius)))
                    break
        if len(objects) == count:
            return tuple(objects)


def _paint_scene(rng: np.random.Generator, size: tuple[int, int], objects: Sequence[_SceneObject]) -> Image.Image:
    ground = np.asarray(_textured_background(rng, size))
    picture = ground.astype(np.float64)
    for item in objects:
        mask = np.asarray(_object_mask(item, size), dtype=np.float64)[..., None] / 255
        strength = mask * (1.0 if item.salient else _DIM_STRENGTH)
        picture = picture * (1 - strength) + np.array(COLOURS[item.colour]) * strength
    return Image.fromarray(picture.round().astype(np.uint8))


def _textured_background(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A background of nearly grey blotches with fine noise."""
    coarse = rng.uniform(70, 150) + rng.normal(0, 16, (9, 12, 1)) + rng.normal(0, 5, (9, 12, 3))
    blotches = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(size[::-1], Image.Resampling.BICUBIC)
    noisy = np.asarray(blotches, dtype=np.float64) + rng.normal(0, 6, (*size, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _object_mask(item: _SceneObject, size: tuple[int, int]) -> Image.Image:
    """A grey mask: 255 inside the object, antialiased at its edge."""
    fine = 3
    canvas = Image.new("L", (size[1] * fine, size[0] * fine))
    draw = ImageDraw.Draw(canvas)
    y, x, radius = item.y * fine, item.x * fine, item.radius * fine
    if item.shape == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    else:
        draw.polygon([(x + radius * dx, y + radius * dy) for dy, dx in _polygon_corners(item.shape)], fill=255)
    return canvas.resize(size[::-1], Image.Resampling.BOX)


@lru_cache
def _polygon_corners(shape: str) -> tuple[tuple[float, float], ...]:
    """(y, x) of a polygon's corners around the origin, on or within the unit circle, one corner up."""
    if shape == "square":
        return (-0.85, -0.85), (-0.85, 0.85), (0.85, 0.85), (0.85, -0.85)
    reach = (1.0,) * 3 if shape == "triangle" else (1.0, 0.5) * 5
    angles = 2 * np.pi * np.arange(len(reach)) / len(reach)
    return tuple((float(-r * np.cos(a)), float(r * np.sin(a))) for r, a in zip(reach, angles, strict=True))


def _draw_conditions(
    rng: np.random.Generator, image_set: str, objects: Sequence[_SceneObject], size: tuple[int, int]
) -> list[_Condition]:
    """The conditions of an image of a set, with random texts and the objects they name."""
    salient = [item for item in objects if item.salient]
    large = salient[int(rng.integers(len(salient)))]
    small = objects[int(rng.integers(len(salient), len(objects)))]
    both = [large, small] if rng.random() < 0.5 else [small, large]
    whole = [salient[position] for position in rng.permutation(len(salient))]
    named = {"pure": salient, "whole": whole, "general": both, "salient": [large], "non_salient": [small]}
    templates = {
        "whole": _WHOLE_TEXTS,
        "general": _GENERAL_TEXTS,
        "salient": _SALIENT_TEXTS,
        "non_salient": _DIM_TEXTS,
    }
    conditions = []
    for task in (task.name for task in TASKS if image_set in task.image_sets):
        words = [item.words for item in named[task]]
        if len(words) == 1:
            words.append(_side_in_words(rng, named[task][0], size))
        text = str(rng.choice(templates[task])).format(*words) if task in templates else ""
        conditions.append(_Condition(task, text, tuple(named[task])))
    return conditions


def _side_in_words(rng: np.random.Generator, item: _SceneObject, size: tuple[int, int]) -> str:
    """For some objects, the side of the image they are on: a mirrored image then needs a mirrored text."""
    position = item.x / size[1]
    if rng.random() > 0.3 or 0.4 < position < 0.6:
        return ""
    return " on the left" if position < 0.5 else " on the right"


def _draw_fixations(
    rng: np.random.Generator, size: tuple[int, int], objects: Sequence[_SceneObject], named: Sequence[_SceneObject]
) -> npt.NDArray[np.uint8]:
    """1 at the fixated pixels: most on the named objects, the rest on the salient ones and around the centre."""
    count = int(rng.integers(_FIXATIONS[0], _FIXATIONS[1] + 1))
    salient = [item for item in objects if item.salient]
    weighted = [(item, _NAMED_FRACTION / len(named)) for item in named]
    weighted += [(item, (1 - _NAMED_FRACTION) / 2 / len(salient)) for item in salient]
    centres = np.array([(item.y, item.x) for item, _ in weighted] + [(size[0] / 2, size[1] / 2)])
    spreads = np.array([(item.radius / 2,) * 2 for item, _ in weighted] + [(size[0] / 6, size[1] / 6)])
    weights = np.array([weight for _, weight in weighted] + [(1 - _NAMED_FRACTION) / 2])
    chosen = rng.choice(len(weights), size=count, p=weights / weights.sum())
    points = rng.normal(centres[chosen], spreads[chosen])
    positions = points.clip(0, np.array(size) - 1).astype(int)
    fixations = np.zeros(size, np.uint8)
    fixations[positions[:, 0], positions[:, 1]] = 1
    return fixations


def _blurred_map(fixations: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The density map of binary fixations, 0 to 255."""
    sigma = generated_sigma((fixations.shape[0], fixations.shape[1]))
    blurred = _blur_matrix(fixations.shape[0], sigma) @ fixations @ _blur_matrix(fixations.shape[1], sigma)
    blurred = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    scaled: npt.NDArray[np.uint8] = (255 * blurred).round().astype(np.uint8)
    return scaled


@lru_cache
def _blur_matrix(length: int, sigma: float) -> _Float:
    """Matrix that blurs a vector with zeros outside; unnormalised, since maps are scaled afterwards."""
    positions = np.arange(length)
    kernel: _Float = np.exp(-((positions[:, None] - positions) ** 2) / (2 * sigma**2))
    return kernel


def _write_workbook(path: Path, conditions: dict[str, list[_Condition]]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    whole = book.worksheets[0]
    whole.title = WHOLE_SHEET
    whole.append(["image", "text"])
    parts = book.create_sheet(PART_SHEET)
    parts.append(["image", "描述种类", "text"])
    for image_id, of_image in sorted(conditions.items(), key=lambda item: int(item[0])):
        for condition in of_image:
            task = TASK_BY_NAME[condition.task]
            if task.sheet == WHOLE_SHEET:
                whole.append([int(image_id), condition.text])
            elif task.sheet == PART_SHEET:
                parts.append([int(image_id), task.label, condition.text])
    book.save(path)
