"""Processes that are forked for commands (tests/forked.py)."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.command_line import ENVIRONMENT, ROOT, forking
from tests.forked import Forked


@pytest.mark.slow
def test_a_process_that_has_ended_leaves_no_open_file_though_somebody_still_has_it(tmp_path: Path) -> None:
    """An open one would be collected with what has it, at some other test, and warn there."""
    words = ["json.tool", "--help"]
    at = forking()
    open_before = set(Path("/proc/self/fd").iterdir())
    with (tmp_path / "output").open("wb") as output:
        process = Forked(at, words, str(ROOT), {**os.environ, **ENVIRONMENT}, (0, output.fileno(), output.fileno()))
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1e-6)
        status = process.wait(60)
    assert status == 0
    assert set(Path("/proc/self/fd").iterdir()) == open_before
