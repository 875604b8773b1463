"""Where a number comes from: versions, commit, hardware."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

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
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


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
    """Versions of the packages that decide a result, git commit (None outside a checkout), working folder, and the hardware."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "folder": str(Path.cwd()),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in _PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def write(path: Path) -> None:
    """Append a description of this start to the run's record: a resumed run has several."""
    starts = json.loads(path.read_text()) if path.is_file() else []
    path.write_text(json.dumps([*starts, describe()], indent=1) + "\n")
