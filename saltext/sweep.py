"""What a sweep says at its end."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from saltext.reporting.collect import summarise
from saltext.run_folder import finished_runs


class Summary(Callback):
    """Prints one table of all jobs that finished, so that a study is one command."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this after the last job."""
        folder = Path(config.hydra.sweep.dir)
        if finished_runs(folder):
            summarise(folder)
