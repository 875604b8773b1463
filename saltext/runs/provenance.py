"""Provenance of a run: versions, commit, hardware."""

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
    """What a git command prints in this file's folder; None where it fails."""
    here = Path(__file__).resolve().parent
    # GIT_DIR and the like, which git sets for hooks, can name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=here, env=environment, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _commit_and_changes() -> tuple[str | None, bool | None]:
    """The commit of this code and whether there are uncommitted changes; (None, None) outside its own repository.

    A package that is installed or copied below another repository does not belong to that one's commit.
    """
    here = Path(__file__).resolve()
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != here.parents[2] or _git("ls-files", "--error-unmatch", str(here)) is None:
        return None, None
    return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain"))


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def describe() -> dict[str, Any]:
    """Versions of the packages that decide a result, git commit (None outside a checkout), working folder, hardware."""
    commit, has_changes = _commit_and_changes()
    versions: dict[str, str | None] = {}
    for package in (*_PACKAGES, *(plugin.name for plugin in plugins())):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "uncommitted_changes": has_changes,
        "folder": str(Path.cwd()),
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def write(path: Path) -> None:
    """Append a description of this start to the run's record; a resumed run has several.

    A damaged record is kept under another name, and a new one is begun.
    """
    starts: list[dict[str, Any]] = []
    try:
        if path.exists():
            starts = storage.read_json(path, list)
    except DamagedFileError as error:
        aside = path.with_name(f"{path.stem}.damaged{path.suffix}")
        path.replace(aside)
        _log.warning("%s; kept as %s, beginning a new record", error, aside.name)
    storage.write_json(path, [*starts, describe()], durable=True)
