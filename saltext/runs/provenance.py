"""Where a number comes from: versions, commit, hardware."""

import logging
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from saltext import storage
from saltext.errors import DamagedFileError
from saltext.runs.plugins import plugins

_log = logging.getLogger(__name__)

_PACKAGES = (
    "saltext",
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "omegaconf",
    "transformers",
    "open_clip_torch",
    "timm",
    "torchmetrics",
    "wandb",
    "albumentations",
    "numpy",
    "pandas",
)


def _git(*arguments: str) -> str | None:
    here = Path(__file__).resolve().parent
    # GIT_DIR and the like, which git sets for hooks, name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=here, env=environment, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _commit() -> tuple[str | None, bool | None]:
    """The commit of this code and whether anything differs from it; None where it is in no repository of its own.

    A package that is installed, or copied, below another repository is not of that one's commit.
    """
    here = Path(__file__).resolve()
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != here.parents[2] or _git("ls-files", "--error-unmatch", str(here)) is None:
        return None, None
    return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain"))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def describe() -> dict[str, Any]:
    """Versions of the packages that decide a result, git commit (None outside a checkout), working folder, hardware."""
    commit, changed = _commit()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "uncommitted_changes": changed,
        "folder": str(Path.cwd()),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in (*_PACKAGES, *(plugin.name for plugin in plugins()))},
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def write(path: Path) -> None:
    """Append a description of this start to the run's record: a resumed run has several.

    A record that cannot be read is kept under another name, and a new one begun.
    """
    starts: list[dict[str, Any]] = []
    try:
        if path.exists():
            starts = storage.read_json(path, list)
    except DamagedFileError as error:
        aside = path.with_name(f"{path.stem}.damaged{path.suffix}")
        path.replace(aside)
        _log.warning("%s; it is kept as %s, and a new record begun", error, aside.name)
    storage.write_json(path, [*starts, describe()], durable=True)
