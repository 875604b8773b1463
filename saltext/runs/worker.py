"""A process of a sweep's job or of a run with several processes: ``python -m saltext.runs.worker RUN_FOLDER``.

Independent of how the configuration was composed. Starting it again on the same folder resumes the run.
"""

import os
import sys
from pathlib import Path

from saltext.console import ending_in_words, set_up_streams
from saltext.runs.train import train_folder
from saltext.runs.trust import STARTED_WITH
from saltext.system.run_folder import RunFolder


def main() -> None:
    """Entry point; the only argument is a run's folder."""
    set_up_streams()
    with ending_in_words():
        train_folder(RunFolder(Path(sys.argv[1])), os.environ.get(STARTED_WITH))


if __name__ == "__main__":
    main()
