"""The notebooks are stored as they were written, without results, and run from top to bottom on generated data."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.command_line import forking
from tests.conftest import ROOT
from tests.forked import Forked, write_programs

FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))
_CELL_SECONDS = 600  # on a machine that does other things as well; a whole notebook takes a minute of one core
# Fewer images and epochs than a reader sees, in the sources of the cells; `make notebooks` opens them as they are.
_SMALLER = {
    "images=120": "images=48", "trainer.max_epochs=5": "trainer.max_epochs=1", "[:40]": "[:12]", "3 * 40": "3 * 12",
}  # fmt: skip
each_notebook = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def read(file: Path) -> NotebookNode:
    return nbformat.read(file, as_version=nbformat.NO_CONVERT)


@each_notebook
def test_a_notebook_is_valid_and_written_as_the_format_writes_it(file: Path) -> None:
    notebook = read(file)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert file.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"


@each_notebook
def test_a_notebook_is_stored_without_results_and_traces_of_who_ran_it(file: Path) -> None:
    notebook = read(file)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    for cell in notebook.cells:
        assert not cell.metadata
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@each_notebook
def test_the_cells_of_a_notebook_are_called_what_they_show(file: Path) -> None:
    # Editors give random names to new cells.
    names = [cell.id for cell in read(file).cells]
    assert all(name.replace("-", "").isalpha() and name.islower() for name in names)
    assert len(set(names)) == len(names)


def test_the_page_about_the_notebooks_lists_them_all() -> None:
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert [file.name for file in FILES if f"]({file.name})" not in page] == []


def smaller(notebook: NotebookNode) -> NotebookNode:
    """The same cells with the sizes of a test."""
    for cell in notebook.cells:
        for size, less in _SMALLER.items():
            cell.source = cell.source.replace(size, less)
    return notebook


def test_what_a_notebook_runs_with_here_is_smaller_than_what_a_reader_runs() -> None:
    sources = "".join(cell.source for file in FILES for cell in read(file).cells)
    assert [size for size in _SMALLER if size not in sources] == []


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One thread, no GPU, this checkout, and nothing of Jupyter's outside the test's folder."""
    jupyter = {f"JUPYTER_{kind}_DIR": str(tmp_path / "jupyter" / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    kept = {name: value for name, value in os.environ.items() if name != "SALTEXT_DATA"}
    return {
        **kept,
        **jupyter,
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def forked_kernel(programs: Path) -> Callable[..., Forked]:
    """Starts a kernel that costs no import, and whose commands cost none; takes what Jupyter's own function takes."""

    def start(command: Sequence[str], *, env: dict[str, str], cwd: str, **_: Any) -> Forked:
        words = ["tests.forked_kernel", str(programs), *command[command.index("ipykernel_launcher") + 1 :]]
        with Path(os.devnull).open("rb") as nothing:
            return Forked(forking(), words, cwd, env, (nothing.fileno(), 1, 2))

    return start


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs_from_top_to_bottom_and_writes_below_outputs_alone(
    file: Path, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)  # the client writes files of its own
    programs = write_programs(tmp_path / "bin", forking())
    monkeypatch.setattr("jupyter_client.provisioning.local_provisioner.launch_kernel", forked_kernel(programs))
    folder = tmp_path / "notebook"
    folder.mkdir()
    notebook = smaller(read(file))
    NotebookClient(notebook, timeout=_CELL_SECONDS, resources={"metadata": {"path": str(folder)}}).execute(
        env=environment
    )
    assert [path.name for path in folder.iterdir()] == ["outputs"]
    said = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output.text for output in said if output.output_type == "stream" and "Traceback" in output.text]
