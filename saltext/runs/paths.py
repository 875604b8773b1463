"""The relative paths in a run's configuration, as they are reached from the working directory."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saltext.system.run_folder import RunFolder

_FILES = ("root", "description", "weights")
_PATH_KEYS = (*_FILES, "cache_dir")


def reached(folder: RunFolder, cfg: DictConfig) -> DictConfig:
    """A run's configuration, the relative paths in it as they are reached from the working directory.

    A run that was started with relative paths may be asked about from another folder, or after its project moved. They
    start from the working directory if the data are there; otherwise from the first folder above the run's in which
    they are, or from where the run was started.

    Args:
        folder: The run's.
        cfg: Its configuration, as it was saved.
    """
    data = cfg.get("data") or {}
    named = [Path(data[key]) for key in ("root", "description") if isinstance(data.get(key), str)]
    relative = [path for path in named if not path.is_absolute()]
    bases = [Path(), *folder.root.resolve().parents, *_started_in(folder)]
    base = next((base for base in bases if all((base / path).exists() for path in relative)), Path())
    return cfg if base == Path() else _from(base, cfg)


def _started_in(folder: RunFolder) -> list[Path]:
    with suppress(OSError, ValueError, TypeError, AttributeError):  # it is a hint alone
        starts = json.loads(folder.provenance.read_text(encoding="utf-8"))
        return [Path(start["folder"]) for start in starts if isinstance(start.get("folder"), str)]
    return []


def _from(base: Path, cfg: DictConfig) -> DictConfig:
    """The configuration with the paths of data, caches and weights that are relative starting from ``base``."""
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
