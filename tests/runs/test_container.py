"""The README's command that trains, where docker, a cluster or a course puts it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from saltext.console import MISTAKE
from tests.command_line import ROOT, command

TRAIN = (
    "train", "preset=smoke", "trainer.max_epochs=1", "data.num_workers=1", "data.image_size=[64,96]",
    "data.map_size=[16,24]", "data.tasks=[salient,non_salient]", "evaluation.baselines=[uniform]",
    "evaluation.pictures=1", "hydra.run.dir=run",
)  # fmt: skip


@pytest.fixture
def contained() -> Iterator[Path]:
    """A folder for a container, with a path short enough for sockets; skips where none can be made."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        alone = ["unshare", "--mount", "--uts", "mount", "-t", "tmpfs", "none", folder]
        if os.getuid() or shutil.which("unshare") is None or subprocess.run(alone, capture_output=True).returncode:
            pytest.skip("only root can mount a file system that no other process sees")
        Path(folder).chmod(0o755)  # the container's user is another
        yield Path(folder)


def in_container(folder: Path, disk: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return command(
        str(folder), str(disk), *arguments, module="tests.runs.container", environment={"PYTHONPATH": str(ROOT)}
    )


@pytest.mark.slow
def test_a_run_ends_well_for_a_user_without_a_name_a_home_or_much_shared_memory(contained: Path) -> None:
    done = in_container(contained, 300, *TRAIN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "epoch 1/1" in done.stdout
    assert "CC ^" in done.stdout, "the terminal lacks an arrow"
    assert "done in" in done.stdout
    assert "without the" not in done.stdout, "nothing was left out"


@pytest.mark.slow
def test_a_run_whose_temporary_folder_has_too_long_a_path_for_sockets_loads_without_processes(tmp_path: Path) -> None:
    temporary = tmp_path / ("t" * 80)
    temporary.mkdir()
    done = command(*TRAIN[1:], cwd=tmp_path, environment={"TMPDIR": str(temporary)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "set TMPDIR to a shorter path" in done.stdout
    assert "done in" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("disk", [2, 6])
def test_a_run_on_a_small_disk_ends_in_words(contained: Path, disk: int) -> None:
    done = in_container(contained, disk, *TRAIN)
    assert done.returncode == MISTAKE, done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stdout + done.stderr
