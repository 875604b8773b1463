"""What every test may ask for: the golden files and the real data set, where they are there."""

import ctypes
import gc
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from saltext.system.environment import keep_memory
from saltext.system.run_folder import RunFolder
from tests.command_line import command

if TYPE_CHECKING:  # the process that hands out the tests needs nothing of what takes seconds to import
    from saltext.data.datamodule import SaliencyDataModule
    from tests.hub_server import Hub

ROOT = Path(__file__).resolve().parents[1]


# The files that take longest, the longest first.
LONGEST = (
    "test_doc_examples.py", "commands/test_run.py", "test_sweep.py", "tranblend/test_network.py",
    "test_reference_table.py", "test_notebooks.py", "test_experiments.py", "training/test_adversarial.py",
    "demo/test_browser.py", "runs/test_plugins.py", "runs/test_own_metrics.py", "runs/test_jobs.py", "test_trust.py",
    "test_launch.py", "benchmarks/test_training.py",
    "test_kills.py", "test_config.py", "test_schema.py", "test_tracking.py", "test_every_family.py",
    "demo/test_page.py", "runs/test_reproduce.py", "runs/test_composition.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest files, so that no process goes on alone at the end with one of them."""

    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((number for number, name in enumerate(LONGEST) if path.endswith(f"/{name}")), len(LONGEST))

    items.sort(key=place)


def pytest_sessionstart() -> None:
    """Collect no garbage while tests are collected: there is little, among much that stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exempt what is there by now from garbage collection, which would go through all of it again and again."""
    gc.freeze()
    gc.enable()


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
def data(tmp_path_factory: pytest.TempPathFactory) -> "SaliencyDataModule":
    """Twenty generated images, ready to serve."""
    from saltext.data.datamodule import SaliencyDataModule
    from saltext.data.sources.synthetic import Synthetic

    folder = tmp_path_factory.mktemp("synthetic")
    source = Synthetic(folder / "data", images=20)
    module = SaliencyDataModule(
        source, image_size=(64, 96), map_size=(16, 24), batch_size=8, cache_dir=folder / "cache"
    )
    module.prepare_data()
    return module


@pytest.fixture
def kept_memory() -> Iterator[None]:
    """Memory that a test frees stays with the process until the test ends: a third of a step in float64 is new pages.

    Afterwards all that is free goes back to the system, and malloc does as before (glibc's malloc.h has the numbers).
    """
    keep_memory()
    yield
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "malloc_trim"):
        for option, value in ((-4, 65536), (-3, 2**25), (-1, 2**26), (-2, 2**17)):
            libc.mallopt(option, value)
        gc.collect()
        libc.malloc_trim(0)


@pytest.fixture(autouse=True)
def _the_suites_logger_is_as_it_comes() -> Iterator[None]:
    # Before the test as well: what a fixture of a whole module ran may have changed it.
    _reset_logger()
    yield
    _reset_logger()


@pytest.fixture(autouse=True)
def _the_metrics_are_those_of_the_package() -> Iterator[None]:
    from saltext.metrics.scores import _REGISTERED

    before = dict(_REGISTERED)
    yield
    _REGISTERED.clear()
    _REGISTERED.update(before)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Makes the modules of a folder importable, and forgets them afterwards: other tests may use the same names."""
    folders: list[Path] = []

    def make(folder: Path) -> None:
        folders.append(folder)
        monkeypatch.syspath_prepend(str(folder))

    yield make
    _forget_modules(folders)


@pytest.fixture(autouse=True)
def _the_search_path_is_that_of_python() -> Iterator[None]:
    """Takes back what a command adds to it (the folder that it was started in), with the modules found there."""
    before = sys.path.copy()
    yield
    added = [Path(folder) for folder in sys.path if folder not in before]
    sys.path[:] = before
    if added:
        _forget_modules(added)


def _forget_modules(folders: Sequence[Path]) -> None:
    for name, module in list(sys.modules.items()):
        # A package without an __init__.py has no file.
        spec = getattr(module, "__spec__", None)
        places = [getattr(module, "__file__", None), *(getattr(spec, "submodule_search_locations", None) or ())]
        if any(isinstance(place, str) and Path(place).is_relative_to(folder) for place in places for folder in folders):
            del sys.modules[name]


def _reset_logger() -> None:
    logger = logging.getLogger("saltext")
    logger.setLevel(logging.NOTSET)
    logger.propagate, logger.handlers = True, []


@pytest.fixture(scope="module")
def outputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the runs that a module's tests share; kept only after a failure, for a run is some 10 MB."""
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
                "evaluation.text_ablation=false"]  # fmt: skip
    done = command(*settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def without_weight_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the pip packages with weights of others were not installed."""
    from saltext.models import packaged_weights

    absent = [package.module for package in packaged_weights.BY_TARGET.values() if package.extra]
    find_spec = packaged_weights.find_spec
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None if name in absent else find_spec(name))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Hub]":
    """A Hugging Face hub on this machine, empty, with a cache of its own; nobody is logged in."""
    from huggingface_hub import constants

    from tests.hub_server import served

    with served() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a second protocol for large files
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield hub
