"""A small data set in the published layout, and copies of it to damage."""

import shutil
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from saltext.data.cache import CacheSettings
from saltext.data.pairs import Pair
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.synthetic import generate

WORKBOOK = "text最终版本.xlsx"


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images, 60 pairs. Not to be changed."""
    return generate(tmp_path_factory.mktemp("data") / "small", images=20, seed=3)


@pytest.fixture(scope="session")
def small_pairs(small_root: Path) -> list[Pair]:
    return SjtuTis(small_root).read().pairs


@pytest.fixture
def copied_root(small_root: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(small_root, tmp_path / "copy"))


@pytest.fixture(scope="session")
def small_settings() -> CacheSettings:
    return CacheSettings((72, 96), (36, 48))


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded arrays that tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def edit_workbook(copied_root: Path) -> Callable[[Callable[[openpyxl.Workbook], None]], None]:
    """Changes the workbook of ``copied_root``."""

    def edit(change: Callable[[openpyxl.Workbook], None]) -> None:
        book = openpyxl.load_workbook(copied_root / WORKBOOK)
        change(book)
        book.save(copied_root / WORKBOOK)

    return edit
