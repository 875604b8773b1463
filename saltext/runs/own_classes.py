"""Classes and functions of one's own, which a configuration names and no file of ``conf/`` does."""

import sys
from pathlib import Path
from typing import Any

from hydra._internal.utils import _locate

from saltext.errors import ConfigError


def located(target: str) -> Any:
    """Import what a dotted name stands for; who calls this has made sure that it may be imported.

    It is looked for as Python does, and after that in the current folder, however the command was started: a script
    such as ``saltext`` does not look there by itself, and the processes of a run do.

    Raises:
        ConfigError: It cannot be imported.
    """
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    try:
        return _locate(target)
    except Exception as error:  # whatever its module does when it is imported
        lines = [line for line in str(error).splitlines() if not line.startswith("Error loading")]
        said = lines[0] if lines else type(error).__name__
        missing = f"ModuleNotFoundError(\"No module named '{target.split('.')[0]}'\")" in str(error)
        where = f". It is looked for among what is installed, in PYTHONPATH and in {here}" if missing else ""
        raise ConfigError(f"{target} cannot be imported: {said}{where}") from error
