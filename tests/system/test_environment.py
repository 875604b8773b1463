"""What is in the environment of a command before Python and its libraries load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOWS = """
import json, os, sys
from saltext.console import set_up_streams
from saltext.system.environment import restart_with_environment
starts = int(os.environ.get("STARTS", "0")) + 1
os.environ["STARTS"] = str(starts)
{before}
set_up_streams()
{trains}
names = ("GOMP_SPINCOUNT", "MALLOC_TOP_PAD_", "SALTEXT_RESTARTED")
print(json.dumps([starts, sys.argv[1:], *(os.environ.get(name) for name in names)]))
print(json.dumps([sys.getfilesystemencoding(), sys.stdout.encoding]))
"""
LATIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
TRAINS = "restart_with_environment(trains=True)"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="started again on POSIX alone")


def shown(folder: Path, before: str = "", trains: str = TRAINS, **environment: str) -> tuple[list[object], list[str]]:
    """How a command was started and with what, and its encodings of file names and of the terminal."""
    (folder / "shows.py").write_text(SHOWS.format(before=before, trains=trains))
    left_out = ("GOMP", "MALLOC_", "OMP_WAIT", "PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    done = subprocess.run(
        [sys.executable, str(folder / "shows.py"), "a=1", "b c"],
        env={**kept, "PYTHONUTF8": "1", **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    started, encodings = map(json.loads, done.stdout.splitlines())
    return started, encodings


def test_a_command_starts_once_more_with_what_libraries_read_when_they_load(tmp_path: Path) -> None:
    assert shown(tmp_path)[0] == [2, ["a=1", "b c"], "1000", str(2**28), None]


def test_a_command_that_trains_starts_once_more_for_the_locale_and_the_libraries_together(tmp_path: Path) -> None:
    started, encodings = shown(tmp_path, **LATIN)
    assert started == [2, ["a=1", "b c"], "1000", str(2**28), None]
    assert encodings[0] == "utf-8"
    assert encodings[1] != "utf-8", "the terminal is as it was"


def test_a_command_that_does_not_train_starts_once_more_for_the_locale_alone(tmp_path: Path) -> None:
    assert shown(tmp_path, trains="")[0][0] == 1
    started, encodings = shown(tmp_path, trains="", **LATIN)
    assert started[:2] == [2, ["a=1", "b c"]]
    assert encodings[0] == "utf-8"


def test_what_the_user_set_stays(tmp_path: Path) -> None:
    assert shown(tmp_path, GOMP_SPINCOUNT="7")[0][2] == "7"
    assert shown(tmp_path, OMP_WAIT_POLICY="PASSIVE")[0][2] is None
    assert shown(tmp_path, **LATIN, PYTHONIOENCODING="cp1252")[1] == ["utf-8", "cp1252"]


@pytest.mark.parametrize("before", ["import pdb", "sys.settrace(lambda *_: None)", "sys.modules['torch'] = None"])
def test_nothing_is_started_again_under_a_debugger_or_too_late(tmp_path: Path, before: str) -> None:
    assert shown(tmp_path, before)[0][0] == 1


@pytest.mark.parametrize("before", ["import pdb", "sys.settrace(lambda *_: None)"])
def test_nothing_is_started_again_under_a_debugger_for_the_locale(tmp_path: Path, before: str) -> None:
    assert shown(tmp_path, before, **LATIN)[0][0] == 1


FAULTS = """
import resource, sys
from saltext.system.environment import keep_memory
{before}
def issues(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2**26)
before = issues()
for _ in range(10): bytearray(2**26)
print(issues() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
@pytest.mark.parametrize(("before", "kept"), [("", False), ("keep_memory()", True)])
def test_memory_that_was_given_back_can_be_kept_for_what_comes_next(before: str, kept: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(before=before)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (int(done.stdout) < 100) == kept


SPINS = """
import json, os, sys
from saltext.system.environment import spin_briefly
{before}
spin_briefly()
print(json.dumps(sorted(name for name in os.environ if name.startswith(("GOMP", "MALLOC_")))))
"""


@pytest.mark.parametrize(
    ("before", "environment", "expected"),
    [
        ("", {}, ["GOMP_SPINCOUNT"]),
        ("", {"OMP_WAIT_POLICY": "ACTIVE"}, []),
        ("sys.modules['torch'] = None", {}, []),
    ],
)
def test_threads_spin_briefly_where_that_can_still_be_said(
    before: str, environment: dict[str, str], expected: list[str]
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP", "MALLOC_", "OMP_WAIT"))}
    done = subprocess.run(
        [sys.executable, "-c", SPINS.format(before=before)],
        env={**kept, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("module", ["predict", "score"])
def test_commands_that_compute_for_a_short_while_do_not_spin(module: str) -> None:
    code = (
        "import os, sys, saltext.commands.app\n"
        "assert 'torch' not in sys.modules\n"
        "try: saltext.commands.app.main(sys.argv[1:])\n"
        "except SystemExit: print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    words = {"predict": ["predict", "nothing.jpg", "--text", "a", "--model", "nowhere"], "score": ["score", "a", "b"]}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP", "OMP_WAIT"))}
    done = subprocess.run([sys.executable, "-c", code, *words[module]], env=kept, capture_output=True, text=True)
    assert done.stdout.split() == ["1000", "True"], done.stderr
