import subprocess
import sys
from pathlib import Path

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
