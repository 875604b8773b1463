"""The package ``mine`` of docs/extending.md, as its author has it and as pip installs it."""

import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.doc_pages import titled

PAGE = "docs/extending.md"


def written(folder: Path) -> Path:
    """Write the files that the page shows into a folder, with a tiny data set in the layout of its example."""
    for name, content in titled(PAGE).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    rng, data = np.random.default_rng(0), folder / "triples"
    data.mkdir()
    for number in range(12):
        for name in (f"{number}.jpg", f"{number}_map.png"):
            shape = (72, 96, 3) if name.endswith("jpg") else (72, 96)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(data / name)
        points = "".join(f"{x},{y}\n" for x, y in rng.integers(0, 72, (9, 2)))
        (data / f"{number}_points.csv").write_text(f"x,y\n{points}")
        (data / f"{number}.txt").write_text(f"lamp {number}\n")
    return folder


def installed(folder: Path) -> Path:
    """Write what pip leaves beside an installed package, so that a folder on Python's path has it installed."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return entered(folder, project["name"], project["version"], project["entry-points"]["saltext.conf"])


def entered(folder: Path, name: str, version: str, points: dict[str, str]) -> Path:
    """Write the record of an installed distribution with entry points of configuration files."""
    record = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    listed = "".join(f"{key} = {value}\n" for key, value in points.items())
    (record / "entry_points.txt").write_text(f"[saltext.conf]\n{listed}")
    return folder
