"""What the documentation shows is what the package does."""

import csv
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltext.data.sources.custom import Custom
from tests.conftest import ROOT
from tests.marked_tables import filled

PAGE = ROOT / "docs" / "own-data.md"
MARKDOWN = [ROOT / "README.md", *sorted((ROOT / "experiments").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r'^```\w+ title="(?P<name>[^"]+)"\n(?P<content>.*?)^```$', re.MULTILINE | re.DOTALL)
EXPECTED = {
    "my_data.yaml": {("kitchen", "free"), ("kitchen", "described"), ("street", "free"), ("street", "described")},
    "other.yaml": {("kitchen", "text"), ("street", "text")},
    "folders.yaml": {(name, task) for name in ("kitchen", "street") for task in ("free", "salient", "non_salient")},
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file the page shows, and the pictures and folders it speaks of."""
    folder = tmp_path_factory.mktemp("shown")
    for block in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        (folder / block["name"]).write_text(block["content"], encoding="utf-8")
    fixated = np.zeros((240, 480), np.uint8)
    fixated[20:24, 30] = 255
    for kind in ("images", "fixated", "maps", *(f"looked/{task}" for task in ("free", "salient", "non_salient"))):
        (folder / kind).mkdir(parents=True)
    for name in ("kitchen", "street"):
        Image.fromarray(np.repeat(fixated[..., None], 3, axis=2)).save(folder / "images" / f"{name}.jpg")
        Image.fromarray(fixated).save(folder / "maps" / f"{name}.png")
        for task in ("free", "salient", "non_salient"):
            (folder / "looked" / task / f"{name}.csv").write_text("x,y\n12,40.5\n")
    Image.fromarray(fixated).save(folder / "fixated" / "kitchen.png")
    np.save(folder / "fixated" / "street.npy", fixated // 255)
    return folder


@pytest.mark.parametrize("name", EXPECTED)
def test_the_descriptions_of_the_page_on_own_data_describe_data(shown: Path, name: str) -> None:
    found = Custom(shown / name).read()
    assert {(pair.image_id, pair.task) for pair in found.pairs} == EXPECTED[name]


def test_every_description_of_the_page_is_tested() -> None:
    titles = [block["name"] for block in _BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]
    assert {name for name in titles if name.endswith(".yaml")} == set(EXPECTED)


def test_the_points_of_the_example_are_where_it_says(shown: Path) -> None:
    with (shown / "fixations.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if (row["image"], row["condition"]) == ("kitchen.jpg", "free")]
    pair = next(p for p in Custom(shown / "my_data.yaml").read().pairs if not p.text)
    assert pair.fixations.coordinates.tolist() == [[int(float(row["y"])), int(float(row["x"]))] for row in rows]


def test_every_extra_is_explained_on_the_page_on_installing() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    explained = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE)))
    assert sorted(explained) == sorted(extras)


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda file: str(file.relative_to(ROOT)))
def test_marked_tables_are_what_the_kept_scores_give(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert filled(text) == text, f"write them again: python -m tests.marked_tables {file.relative_to(ROOT)}"


# Columns of the README's table, and where its figures come from: study and line.
README_COLUMNS = {
    "trained without text": ("embedded", "no text"),
    "with text": ("embedded", "with text"),
    "with all aids": ("five_folds", "all aids"),
    "human map, free viewing": ("embedded", "human map, free viewing"),
    "split-half": ("embedded", "split-half fixations"),
}


def _table(lines: list[str], first: str) -> dict[str, dict[str, str]]:
    """The cells of the table whose heading begins with a word: those of a row by its name in `quotes`, or its first."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("|")]
    (start,) = (place for place, cells in enumerate(rows) if cells[0] == first)
    found = {}
    for cells in rows[start + 2 :]:
        if len(cells) != len(rows[start]):
            break
        quoted = re.search(r"`(\w+)`", cells[0])
        found[quoted[1] if quoted else cells[0]] = dict(zip(rows[start][1:], cells[1:], strict=True))
    return found


def test_the_figures_of_the_readme_are_those_of_the_marked_tables_of_their_studies() -> None:
    of_readme = _table((ROOT / "README.md").read_text(encoding="utf-8").splitlines(), "text")
    of_study = {}
    for study in {study for study, _ in README_COLUMNS.values()}:
        page = (ROOT / "experiments" / study / "README.md").read_text(encoding="utf-8")
        block = page.partition(f"<!-- table: {study} cc -->")[2].partition("<!-- /table -->")[0]
        of_study[study] = _table(block.splitlines(), "CC ↑")
        assert list(of_readme) == list(of_study[study])
    for task, cells in of_readme.items():
        assert set(cells) == set(README_COLUMNS)
        for column, (study, line) in README_COLUMNS.items():
            mean = of_study[study][task][line].partition(" ")[0]
            assert cells[column] == mean.removeprefix("0"), (task, column)
