"""Relative paths in a run's configuration, made to work from the current working directory."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saltext.system.run_folder import RunFolder

_FILES = ("root", "description", "weights")
_PATH_KEYS = (*_FILES, "cache_dir")


def reached(folder: RunFolder, cfg: DictConfig) -> DictConfig:
    """A run's configuration with relative paths that work from the current working directory.

    A run that was started with relative paths may be used from another folder, or after its project moved. Its data are
    searched for from the working directory, from each folder above the run's, and from where the run was started; the
    first of them that has the data becomes the base of the relative paths of data, caches and weights.

    Args:
        folder: The run's.
        cfg: Its configuration, as saved.

    Returns:
        ``cfg`` itself where the working directory has the data, or no folder does.
    """
    data = cfg.get("data") or {}
    paths = [Path(data[key]) for key in ("root", "description") if isinstance(data.get(key), str)]
    relative = [path for path in paths if not path.is_absolute()]
    started_in = [Path(start["folder"]) for start in folder.read_starts() if isinstance(start.get("folder"), str)]
    bases = [Path(), *folder.root.resolve().parents, *started_in]
    base = next((base for base in bases if all((base / path).exists() for path in relative)), Path())
    if base == Path():
        return cfg
    values: dict[str, Any] = OmegaConf.to_container(cfg)  # type: ignore[assignment]
    nodes = [values]
    while nodes:
        node = nodes.pop()
        for key, value in node.items():
            if isinstance(value, dict):
                nodes.append(value)
            elif key in _PATH_KEYS and isinstance(value, str) and (key not in _FILES or (base / value).exists()):
                node[key] = str(base / value)
    return OmegaConf.create(values)
