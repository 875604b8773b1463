"""Small data sets in layouts other than SJTU-TIS's: one described by a YAML file, SALICON, OSIE and MIT1003."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from scipy.io import savemat

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


Viewing = dict[str, list[list[tuple[int, int]]]]
"""Image -> (x, y), counted from 0, of each viewer."""


def viewings(names: Sequence[str], size: tuple[int, int], viewers: int = 5, fixations: int = 6) -> Viewing:
    """Random fixations around a point of each image."""
    found = {}
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        centre = rng.uniform(0.3, 0.7, 2) * size[::-1]
        drawn = rng.normal(centre, min(size) / 10, (viewers, fixations, 2))
        kept = np.clip(drawn, 2, np.array(size[::-1]) - 3).astype(int)
        found[name] = [[(int(x), int(y)) for x, y in of_viewer] for of_viewer in kept]
    return found


def _picture(path: Path, size: tuple[int, int], seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="JPEG")


def write_osie(root: Path, images: int = 4, size: tuple[int, int] = (60, 80)) -> Viewing:
    """A data set as OSIE is published: a cell array of structures, coordinates counted from 1."""
    names = [str(1001 + number) for number in range(images)]
    found = viewings(names, size)
    (root / "stimuli").mkdir(parents=True)
    (root / "eye").mkdir()
    cells = np.empty((images, 1), object)
    for number, name in enumerate(names):
        _picture(root / "stimuli" / f"{name}.jpg", size, number)
        subjects = np.empty((len(found[name]), 1), object)
        for viewer, points in enumerate(found[name]):
            x, y = (np.array(values, float) + 1 for values in zip(*points, strict=True))
            subjects[viewer, 0] = {"fix_x": x, "fix_y": y, "fix_duration": np.full(len(points), 200.0)}
        cells[number, 0] = {"img": f"{name}.jpg", "subjects": subjects}
    savemat(root / "eye" / "fixations.mat", {"fixations": cells})
    return found


def write_mit1003(root: Path, images: int = 4, size: tuple[int, int] = (60, 80), gaze: bool = True) -> Viewing:
    """A data set as MIT1003 is published; each recording rests on each fixation for a quarter of a second."""
    names = [f"i{number:03d}" for number in range(images)]
    found = viewings(names, size)
    for folder in ("ALLSTIMULI", "ALLFIXATIONMAPS"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        _picture(root / "ALLSTIMULI" / f"{name}.jpeg", size, number)
        everything = sorted({point for points in found[name] for point in points})
        places = torch.tensor([(y, x) for x, y in everything])
        density = density_from_points([places], size, 4.0)[0, 0]
        maps = root / "ALLFIXATIONMAPS"
        Image.fromarray((255 * density).round().byte().numpy()).save(maps / f"{name}_fixMap.jpg")
        marked = np.zeros(size, np.uint8)
        marked[tuple(places.T.numpy())] = 255
        Image.fromarray(marked).save(maps / f"{name}_fixPts.jpg")
        for viewer, points in enumerate(found[name] if gaze else ()):
            # As people start at the centre, the first fixation is not one on the image.
            samples = np.repeat(np.array([(size[1] // 2, size[0] // 2), *points], float) + 1, 60, axis=0)
            samples[70:74] = -1  # a blink
            folder = root / "DATA" / f"viewer{viewer}"
            folder.mkdir(parents=True, exist_ok=True)
            savemat(folder / f"{name}.mat", {name: {"DATA": {"eyeData": samples}}})
    return found
