"""A trainer that trains and scores, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import lightning as L


def trainer(folder: Path, **changes: Any) -> L.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "default_root_dir": folder,
        "max_epochs": 1,
    }
    return L.Trainer(**{**settings, **changes})
