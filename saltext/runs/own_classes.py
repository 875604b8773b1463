"""Import classes and functions from outside the package that a configuration names."""

import inspect
import sys
from pathlib import Path
from typing import Any

from hydra._internal.utils import _locate

from saltext.errors import ConfigError, near


def located(target: str) -> Any:
    """Import a class or function by its dotted name; the caller has checked that it may be imported.

    Searches as Python does and then the current folder, however the command was started: a script such as ``saltext``
    does not search that folder by itself, but the processes of a run do.

    Raises:
        ConfigError: It cannot be imported.
    """
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    try:
        return _locate(target)
    except Exception as error:  # importing its module can raise anything
        module, _, name = target.rpartition(".")
        if module in sys.modules and not hasattr(sys.modules[module], name):
            defined = inspect.getmembers(sys.modules[module], lambda value: getattr(value, "__module__", "") == module)
            own = [key for key, value in defined if inspect.isclass(value) or inspect.isfunction(value)]
            raise ConfigError(
                f"{target} cannot be imported: expected a class or function of {sys.modules[module].__file__} "
                f"({', '.join(own) or 'it has none'}), got {name!r}{near(name, own)}"
            ) from error
        lines = [line for line in str(error).splitlines() if not line.startswith("Error loading")]
        reason = lines[0] if lines else type(error).__name__
        is_missing = f"ModuleNotFoundError(\"No module named '{target.split('.')[0]}'\")" in str(error)
        where = f". Searched the installed packages, the folders in PYTHONPATH and in {here}" if is_missing else ""
        raise ConfigError(f"{target} cannot be imported: {reason}{where}") from error
