"""The start of the demo: its process loads the model while this one imports the libraries of the page."""

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from saltext.demo.predictor import Predictor
from saltext.demo.settings import Settings
from saltext.errors import ConfigError
from saltext.models.packaged_weights import NAMED
from saltext.system.extras import install_command
from saltext.system.run_folder import RunFolder

if TYPE_CHECKING:
    from saltext.prediction.model import Model


def start(settings: Settings, folder: Path) -> None:
    """Say what is done, and serve the page until the process is stopped.

    Args:
        settings: The demo's settings.
        folder: For everything that is written; see :func:`saltext.commands.demo.confined`.

    Raises:
        SaltextError: The model or an example is invalid, the extra is not installed, or the address or the port cannot
            be used.
    """
    if find_spec("gradio") is None:
        raise ConfigError(f"The demo needs the extra `demo`: {install_command('demo')}")
    if settings.run is not None and settings.run not in NAMED:
        RunFolder.existing(settings.run)  # a repository on the hub would be downloaded, and nothing leaves the machine
    print("Loading the model and the page; the address follows ...", file=sys.stderr, flush=True)
    with Predictor(partial(_load_model, settings), settings.timeout) as predictor:
        from saltext.demo.server import serve  # brings Gradio and torch, which takes seconds

        serve(predictor, settings, folder)


def _load_model(settings: Settings) -> "Model":
    """Load the model, in the process that predicts."""
    from saltext.demo.answer import load_model

    return load_model(settings.run, settings.stage, settings.device, settings.trust)
