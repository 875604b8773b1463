"""What is in the environment of a training before its libraries load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOWS = """
import json, os, sys
from saltext.runs.environment import restart_with_environment
starts = int(os.environ.get("STARTS", "0")) + 1
os.environ["STARTS"] = str(starts)
{before}
restart_with_environment()
names = ("GOMP_SPINCOUNT", "MALLOC_TOP_PAD_", "SALTEXT_ENVIRONMENT")
print(json.dumps([starts, sys.argv[1:], *(os.environ.get(name) for name in names)]))
"""


def shown(tmp_path: Path, before: str = "", **environment: str) -> list[object]:
    (tmp_path / "shows.py").write_text(SHOWS.format(before=before))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP", "MALLOC_", "OMP_WAIT"))}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "shows.py"), "a=1", "b c"],
        env={**kept, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: list[object] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.name != "posix", reason="started again on POSIX alone")
def test_a_command_starts_once_more_with_what_libraries_read_when_they_load(tmp_path: Path) -> None:
    assert shown(tmp_path) == [2, ["a=1", "b c"], "10000", str(2**28), None]


@pytest.mark.skipif(os.name != "posix", reason="started again on POSIX alone")
def test_what_the_user_set_stays(tmp_path: Path) -> None:
    assert shown(tmp_path, GOMP_SPINCOUNT="7")[2] == "7"
    assert shown(tmp_path, OMP_WAIT_POLICY="PASSIVE")[2] is None


@pytest.mark.parametrize("before", ["import pdb", "sys.settrace(lambda *_: None)", "sys.modules['torch'] = None"])
def test_nothing_is_started_again_under_a_debugger_or_too_late(tmp_path: Path, before: str) -> None:
    assert shown(tmp_path, before)[0] == 1
