"""What a process of joblib is asked; of a module that imports nothing, for the process imports it."""

import threading
import time


def thread_names() -> list[str]:
    """The names of the threads of the process that runs this, which it does for some time."""
    time.sleep(0.2)  # until the other process has a job as well
    return [thread.name for thread in threading.enumerate()]
