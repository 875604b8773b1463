"""Each command once as a user's shell starts it: a process that imports what it needs, with nothing forked.

Training, predicting, reporting and the page are started so by ``.ci/newcomer``.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from saltext.console import MISTAKE
from saltext.system.run_folder import RunFolder
from tests.command_line import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow

COMMANDS = {
    "evaluate": (("evaluate", "RUN", "evaluation.baselines=[]", "evaluation.pictures=0"), "CC"),
    "score": (
        ("score", "DATA/map_1800", "DATA", "--allow-missing", "--beside", "uniform", "--metric", "cc"),
        "uniform",
    ),
    "compare": (("compare", "RUN", "RUN"), "salient"),
    "sweep": (("sweep", "RUNS"), "no job was begun"),
    "reproduce": (("reproduce", "--list"), "table2"),
    "export": (("export", "RUN", "exported"), "exported"),
    "data": (("data", "check", "DATA"), "72"),
    "cache": (("cache",), "cache"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_in_a_process_that_starts_from_nothing(
    command: str, smoke_run: RunFolder, tmp_path: Path
) -> None:
    run, data = tmp_path / "runs" / "run", smoke_run.root.parent / "synthetic-smoke"
    shutil.copytree(smoke_run.root, run)
    arguments, shown = COMMANDS[command]
    words = [
        {"RUN": str(run), "RUNS": str(run.parent)}.get(word, word).replace("DATA", str(data)) for word in arguments
    ]
    done = subprocess.run(
        [sys.executable, "-m", "saltext", *words, *([f"data.root={data}"] if command == "evaluate" else [])],
        cwd=tmp_path, env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == (MISTAKE if command == "sweep" else 0), done.stdout + done.stderr
    assert shown in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
