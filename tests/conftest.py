"""What every test may ask for: the golden files and the real data set, where they are there."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of values the authors' own code computed, beside the project."""
    folder = ROOT.parent / "shared" / "reference" / "golden"
    if not folder.is_dir():
        pytest.skip("the golden files are not beside the project")
    return folder


@pytest.fixture(scope="session")
def sjtu_root() -> Path:
    """The real SJTU-TIS data set."""
    folder = Path(os.environ.get("SALTEXT_DATA", ROOT / "data" / "sjtu-tis"))
    if not (folder / "map_1800").is_dir():
        pytest.skip(f"SJTU-TIS is not under {folder}; set SALTEXT_DATA")
    return folder
