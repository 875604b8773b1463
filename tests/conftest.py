"""What every test may ask for: the golden files and the real data set, where they are there."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from saltext.data import SyntheticDataModule
from saltext.runs.folder import RunFolder
from tests.command_line import command

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest file, so that one process does not go on alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_run.py")


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


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> SyntheticDataModule:
    """Twenty generated images, ready to serve."""
    folder = tmp_path_factory.mktemp("synthetic")
    module = SyntheticDataModule(
        folder / "data", images=20, image_size=(64, 96), map_size=(16, 24), batch_size=8, cache_dir=folder / "cache"
    )
    module.prepare_data()
    return module


@pytest.fixture(autouse=True)
def _the_suites_logger_is_as_it_comes() -> Iterator[None]:
    # Before the test as well: what a fixture of a whole module ran may have changed it.
    _reset_logger()
    yield
    _reset_logger()


def _reset_logger() -> None:
    logger = logging.getLogger("saltext")
    logger.setLevel(logging.NOTSET)
    logger.propagate, logger.handlers = True, []


@pytest.fixture(scope="module")
def outputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the runs that a module's tests share; kept only after a failure, for a run is some 80 MB."""
    folder = tmp_path_factory.mktemp("outputs")
    yield folder
    if not request.session.testsfailed:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of an epoch, tiny and random, that reads text; do not write into it."""
    outputs = tmp_path_factory.mktemp("smoke")
    folder = RunFolder(outputs / "run")
    settings = ["preset=smoke", f"output_dir={outputs}", f"hydra.run.dir={folder.root}", "trainer.max_epochs=1",
                "data.tasks=[salient,non_salient]", "evaluation.baselines=[]", "evaluation.paper=null",
                "evaluation.text_effect=false"]  # fmt: skip
    done = command(*settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
