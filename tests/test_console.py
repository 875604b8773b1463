import io
import subprocess
import sys
from pathlib import Path

import pytest

from saltext.console import bar

SAYS = """
import logging, sys, warnings
from pathlib import Path
from saltext.console import log_to, quiet_libraries
log_to(Path(sys.argv[1]))
quiet_libraries()
logging.getLogger("saltext.worker").info("epoch 1/2")
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
