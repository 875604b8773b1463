"""Pseudo-referring pairs: images with a text that names a detected object, and synthetic fixations on it."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from saltext.data.geometry import Size
from saltext.data.index import DatasetIndex
from saltext.data.kept_results import computed_once
from saltext.data.pairs import FixationPoints, Pair
from saltext.errors import DataError
from saltext.images import read_photo
from saltext.models.freezing import freeze
from saltext.models.grounding.coco import NAMES
from saltext.models.grounding.detections import DetectionMaps
from saltext.models.grounding.nanodet import nanodet
from saltext.models.packaged_weights import NANODET

_FORMAT = 1  # of the file of boxes
_APART = 0.15  # of the image's width: boxes whose centres are closer are neither left nor right of each other
_QUANTILES = tuple(NormalDist().inv_cdf((i + 0.5) / 5) for i in range(5))
_SIGMAS = 4  # standard deviations of the fixations on a box across the box
_NUMBERS = ("two", "three", "four", "five")
_PLURALS = {"person": "people", "knife": "knives", "mouse": "mice", "bus": "buses", "bench": "benches",
            "couch": "couches", "toothbrush": "toothbrushes", "sandwich": "sandwiches", "wine glass": "wine glasses",
            "sheep": "sheep", "skis": "skis", "scissors": "scissors", "broccoli": "broccoli"}  # fmt: skip
_ALWAYS_PLURAL = ("skis", "scissors")


@dataclass(frozen=True)
class Box:
    """A detection; edges are fractions of the image's sides."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    name: str

    @property
    def x(self) -> float:
        """The centre's."""
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        """The centre's."""
        return (self.top + self.bottom) / 2

    @property
    def area(self) -> float:
        """As a fraction of the image's."""
        return (self.right - self.left) * (self.bottom - self.top)


class DetectedPairs:
    """Pseudo pairs of a data set's images: the text names a detected object, and synthetic fixations are on it.

    Such pairs train a network to ground names; no human wrote the texts or fixated the objects. Texts and boxes of an
    image depend on the image alone, so a split that keeps test images apart keeps their pairs apart as well.

    NanoDet-g detects the boxes once; a file keeps them, valid for the images' contents, the detector and its settings.

    Args:
        cache_dir: Folder of that file; not written if it cannot be.
        condition: Task of the pairs.
        min_score: Boxes with lower scores are not named.
        min_area: Nor are smaller ones, as a fraction of the image's area.
        most: Most pairs of an image, those of the largest objects first.

    Raises:
        CheckpointError: On use: the detector's weights are missing, or not the expected ones.
    """

    def __init__(
        self,
        cache_dir: Path | str,
        condition: str = "referring",
        min_score: float = 0.4,
        min_area: float = 0.003,
        most: int = 6,
    ) -> None:
        self.cache_dir = Path(cache_dir)
        self.condition = condition
        self.min_score = min_score
        self.min_area = min_area
        self.most = most

    def __call__(self, index: DatasetIndex) -> list[Pair]:
        """The pairs, sorted by image; images in which nothing is named have none.

        Raises:
            DataError: The data set has maps without images, or its maps' blur is unknown.
            InvalidFileError: An image cannot be read.
        """
        if index.blur is None:
            raise DataError(
                f"Expected a data set with a known blur, to blur synthetic fixations alike; got {index.root}"
            )
        images = {pair.image_id: pair.image for pair in index.pairs_with_images()}
        found = self._detected(list(images.values()))
        pairs = []
        for image_id, path in images.items():
            size, boxes = found[path]
            named = [box for box in boxes if box.score >= self.min_score and box.area >= self.min_area]
            texts = sorted(referring_texts(named), key=lambda each: -max(box.area for box in each[1]))
            for number, (text, targets) in enumerate(texts[: self.most]):
                pairs.append(
                    Pair(
                        image_id=image_id,
                        task=self.condition,
                        text=text,
                        image=path,
                        density=index.blur.sigma(size),
                        fixations=FixationPoints(fixations_on(targets, size)),
                        name=f"{image_id}_{self.condition}_{number}",
                    )
                )
        return pairs

    def _detected(self, images: Sequence[Path]) -> dict[Path, tuple[Size, list[Box]]]:
        """Size and boxes of each image, read from the file or detected now."""
        detector = freeze(DetectionMaps(nanodet())).eval()
        detector.renormalize.set_input_normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        settings = [detector.longer_side, detector.min_score, detector.max_boxes, detector.max_overlap]
        key = json.dumps([_FORMAT, *NANODET.digests.values(), *settings])
        file = self.cache_dir / f"detections-{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}.json"
        kept = computed_once(images, file, partial(_boxes_in, detector), _check_boxes, "detecting objects")
        return {
            path: ((found["size"][0], found["size"][1]), [Box(*box) for box in found["boxes"]])
            for path, found in kept.items()
        }


def _boxes_in(detector: DetectionMaps, path: Path) -> dict[str, Any]:
    """Size and boxes of an image, as they are kept in the file."""
    pixels = torch.tensor(read_photo(path).pixels)
    boxes, scores, numbers = detector.boxes(pixels.permute(2, 0, 1)[None].float() / 255)
    rows = torch.cat([boxes.clamp(0, 1), scores[:, None]], dim=1).double().round(decimals=4).tolist()
    found = [[*row, NAMES[number]] for row, number in zip(rows, numbers.tolist(), strict=True)]
    return {"size": list(pixels.shape[:2]), "boxes": found}


def _check_boxes(found: Any) -> None:
    """ValueError, TypeError or KeyError for what :func:`_boxes_in` cannot have given."""
    height, width = found["size"]
    if not all(isinstance(side, int) and side > 0 for side in (height, width)):
        raise ValueError(f"expected a size, got {found['size']}")
    for *numbers, name in found["boxes"]:
        in_range = [isinstance(number, int | float) and 0 <= number <= 1 for number in numbers]
        if name not in NAMES or in_range != [True] * 5:
            raise ValueError(f"expected four edges, a score and a name, got {numbers} and {name!r}")


def referring_texts(boxes: Sequence[Box]) -> Iterator[tuple[str, list[Box]]]:
    """Referring texts for detected objects, each with the boxes it refers to.

    "There is a dog" for the only object of a class, "There are two dogs" for several; "The dog on the left" for the
    outermost of several, where its centre is apart from the next one's; and "There is a dog next to a bench", which
    refers to the dog, for an only object near one of another class.

    Args:
        boxes: Of one image.

    Example:
        >>> list(referring_texts([Box(0.1, 0.2, 0.3, 0.6, 0.9, "dog")]))
        [('There is a dog', [Box(left=0.1, top=0.2, right=0.3, bottom=0.6, score=0.9, name='dog')])]
    """
    by_name: dict[str, list[Box]] = {}
    for box in sorted(boxes, key=lambda box: box.x):
        by_name.setdefault(box.name, []).append(box)
    for name, alike in by_name.items():
        plural = _PLURALS.get(name, f"{name}s")
        verb = "are" if name in _ALWAYS_PLURAL else "is"
        if len(alike) == 1:
            yield f"There {verb} {_with_article(name)}", alike
        else:
            number = _NUMBERS[len(alike) - 2] if len(alike) - 2 < len(_NUMBERS) else "many"
            yield f"There are {number} {plural}", alike
            if alike[1].x - alike[0].x > _APART:
                yield f"The {name} on the left", alike[:1]
            if alike[-1].x - alike[-2].x > _APART:
                yield f"The {name} on the right", alike[-1:]
        others = [box for box in boxes if box.name != name]
        if others and len(alike) == 1:
            nearest = min(others, key=lambda box: math.hypot(box.x - alike[0].x, box.y - alike[0].y))
            yield f"There {verb} {_with_article(name)} next to {_with_article(nearest.name)}", alike


def _with_article(name: str) -> str:
    """A name with its article, if it has one."""
    if name in _ALWAYS_PLURAL or name == "broccoli":
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def fixations_on(boxes: Sequence[Box], size: Size) -> npt.NDArray[np.int32]:
    """Synthetic fixations on boxes: the quantiles of a Gaussian a quarter as wide and as high as each box.

    Args:
        boxes: At least one.
        size: Height and width of the image.

    Returns:
        (y, x) in pixels inside the image, int32, shape ``(25 * len(boxes), 2)``.
    """
    points = []
    for box in boxes:
        ys = box.y + np.array(_QUANTILES) * (box.bottom - box.top) / _SIGMAS
        xs = box.x + np.array(_QUANTILES) * (box.right - box.left) / _SIGMAS
        points += [(y * size[0], x * size[1]) for y in ys for x in xs]
    return np.clip(np.array(points), 0, np.array(size) - 1).astype(np.int32)
