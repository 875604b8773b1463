"""Small data sets in layouts other than SJTU-TIS's: one described by a YAML file, and SALICON."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from saltext.data.density import density_from_points
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.synthetic import generate, generated_sigma
from tests.data.test_files import write_mat

LONGER_SIDE = 160
SIGMA = generated_sigma((LONGER_SIDE, LONGER_SIDE))
CONDITIONS = {"pure": "without text", "whole": "with text", "general": "with text", "salient": "with text",
              "non_salient": "with text"}  # fmt: skip


def write_table(path: Path, heading: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([heading, *rows])


def own_copy(folder: Path, images: int = 12, seed: int = 3) -> tuple[Path, Path]:
    """A generated data set as published, and the same one as somebody's own: texts and points in tables.

    Returns:
        Folder of the former, description of the latter.
    """
    published = generate(folder / "published", images=images, seed=seed, size_range=(LONGER_SIDE, LONGER_SIDE))
    own = folder / "own"
    (own / "images").mkdir(parents=True)
    texts, points = [], []
    for pair in SjtuTis(published).read().pairs:
        shutil.copyfile(pair.image, own / "images" / f"{pair.image_id}.png")
        if pair.text:
            texts.append((pair.image_id, pair.task, pair.text))
        with Image.open(pair.fixations) as picture:
            places = np.argwhere(np.asarray(picture.convert("L"))).tolist()
        points += [(f"{pair.image_id}.png", pair.task, x + 1, y + 1) for y, x in places]
    write_table(own / "texts.csv", ("image", "condition", "text"), texts)
    write_table(own / "fixations.csv", ("image", "kind", "x", "y"), points)
    description = {
        "images": "images",
        "conditions": CONDITIONS,
        "texts": {"table": "texts.csv"},
        "fixations": {"table": "fixations.csv", "columns": {"condition": "kind"}, "counted_from": 1},
        "density": {"sigma_pixels": SIGMA},
    }
    return published, write_description(own, description)


def write_description(folder: Path, content: Mapping[str, Any]) -> Path:
    path = folder / "description.yaml"
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
    return path


def random_points(size: tuple[int, int], count: int, seed: int) -> list[tuple[int, int]]:
    """(x, y), counted from 0."""
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(0, size[1])), int(rng.integers(0, size[0]))) for _ in range(count)]


def write_salicon(
    root: Path, train: int = 6, val: int = 3, size: tuple[int, int] = (48, 64)
) -> dict[str, list[tuple[int, int]]]:
    """A data set as SALICON is published, its maps blurred by 5 pixels; (x, y) counted from 0, by name."""
    found = {}
    for level, count, start in (("train", train, 0), ("val", val, 1000)):
        for kind in ("images", "maps", "fixations"):
            (root / kind / level).mkdir(parents=True)
        for number in range(start, start + count):
            name = f"COCO_{level}2014_{number:012d}"
            points = random_points(size, 30, number)
            pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / level / f"{name}.jpg")
            places = torch.tensor([(y, x) for x, y in points])
            density = density_from_points([places], size, 5.0)[0, 0]
            Image.fromarray((255 * density).round().byte().numpy()).save(root / "maps" / level / f"{name}.png")
            observers = [[(x + 1, y + 1) for x, y in points[k::3]] for k in range(3)]
            write_mat(root / "fixations" / level / f"{name}.mat", observers, size)
            found[name] = points
    return found
