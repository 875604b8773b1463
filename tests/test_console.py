import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from saltext.console import bar, logged_to, not_essential
from saltext.errors import ConfigError

SAYS = """
import logging, sys, warnings
from pathlib import Path
from saltext.console import logged_to, quiet_libraries
with logged_to(Path(sys.argv[1])):
    quiet_libraries()
    logging.getLogger("saltext.runs").info("epoch 1/2")
    warnings.warn("the learning rate looks odd")
    warnings.warn("Found 3 module(s) in eval mode at the start of training.")
"""


def test_messages_reach_terminal_and_log_and_warnings_the_log_alone(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    done = subprocess.run([sys.executable, "-c", SAYS, str(log)], capture_output=True, text=True, check=True)
    assert done.stdout == "epoch 1/2\n"
    assert "learning rate" not in done.stderr
    text = log.read_text()
    assert "epoch 1/2" in text
    assert "the learning rate looks odd" in text
    assert "eval mode" not in text


class _GoneTerminal(io.StringIO):
    """Can be written to a few times."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise OSError(5, "Input/output error")
        return super().write(text)


@pytest.mark.parametrize("left", [0, 3, 1000])
def test_a_bar_on_a_terminal_that_is_gone_ends_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.setattr(sys, "stderr", _GoneTerminal(left))
    assert list(bar(range(100), "counting", 100)) == list(range(100))


SHOWS = """
import sys
from rich.console import Console
from rich.table import Table
from saltext.console import set_up_streams
set_up_streams()
table = Table("CC \\u2191", "\\u4e2d \\u00b1")
table.add_row("1", "2")
Console(width=60).print(table)
print("\\u2193 \\u4e2d", flush=True)
for number in range(20_000):
    print(number, "x" * 50)
print("\\u2193 ended", file=sys.stderr)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_a_terminal_lacks_is_replaced(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOWS],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    arrow, sign = ("↓", "中") if encoding == "utf-8" else ("v", "?")
    assert f"{arrow} {sign}".encode(encoding) in done.stdout.splitlines()
    assert f"{arrow} ended".encode(encoding) in done.stderr


WRITES = """
import sys
from pathlib import Path
from saltext.console import set_up_streams
set_up_streams()
path = Path(sys.argv[1], "\\u6587\\u672c.txt")
path.write_text("\\u2193 \\u4e2d")
print("\\u2193", path.name)
"""


def test_files_are_in_utf8_whatever_the_terminal_shows(tmp_path: Path) -> None:
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}
    done = subprocess.run(
        [sys.executable, "-c", WRITES, str(tmp_path)], capture_output=True, check=False, env={**environment, **old}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"v ??.txt\n"
    assert (tmp_path / "文本.txt").read_text(encoding="utf-8") == "↓ 中"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("into", ["| head -1", "> /dev/full", ">&-"])
def test_a_closed_pipe_or_a_full_disk_behind_the_output_ends_with_the_usual_status(into: str, unbuffered: str) -> None:
    if into == "> /dev/full" and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$0" -c "$1" {into}', sys.executable, SHOWS],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "↓ ended\n"


def test_what_is_not_essential_fails_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), not_essential("the picture"):
        raise RuntimeError("no\nglyph")
    assert caplog.messages == ["without the picture: RuntimeError: no glyph"]


def test_a_log_on_a_full_disk_leaves_the_line_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "run.log").symlink_to("/dev/full")
    with logged_to(tmp_path / "run.log"):
        logging.getLogger("saltext.runs").info("epoch 1/2")
    said = capsys.readouterr()
    assert said.out == "epoch 1/2\n"
    assert said.err == ""


def test_the_error_that_ends_a_run_is_in_its_log_and_the_loggers_are_as_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger("saltext")
    before = root.level, root.propagate, list(root.handlers)
    for error, said in (
        (ConfigError("expected a, got b"), "error: expected a, got b"),
        (KeyError("x"), "KeyError: 'x'"),
    ):
        with pytest.raises(type(error)), logged_to(tmp_path / "run.log"):
            raise error
        assert said in (tmp_path / "run.log").read_text()
    assert (root.level, root.propagate, root.handlers) == before
    assert capsys.readouterr().out == ""
